import "./style/frame.css";
import "./style/forms.css";
import "./style/customers.css";
import "./style/work.css";
import "./style/narrow.css";

import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Provider } from "urql";

import { App } from "./App";
import { connect, type Connection } from "./client";
import { session } from "./session";
import { SignIn } from "./SignIn";
import { useStore } from "./store";

/** A connection of one's own for every sign-in: what one has read is not kept for the next. */
function Console() {
  const { visit, token } = useStore(session);
  const [made, setMade] = useState<{ visit: number; connection: Connection }>();
  useEffect(() => {
    const connection = connect();
    setMade({ visit, connection });
    return () => connection.close();
  }, [visit]);
  if (made?.visit !== visit) return null;
  return (
    <Provider value={made.connection.client} key={visit}>
      {token ? <App /> : <SignIn />}
    </Provider>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <Console />
  </StrictMode>,
);
