import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./style.css";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { useGraphiQLActions } from "@graphiql/react";
import { GraphiQL } from "graphiql";
import { StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";

import { Account } from "./Account";
import { fetcher } from "./fetcher";
import { OPERATIONS, WELCOME } from "./Operations";
import { session } from "./session";
import { useStore } from "./store";

const PLUGINS = [OPERATIONS, explorerPlugin(), HISTORY_PLUGIN];

// Tabs and history hold what was typed, passwords among it: they end with the browser's tab, as the token does.
const storage = {
  getItem: (key: string) => sessionStorage.getItem(key),
  setItem: (key: string, value: string) => sessionStorage.setItem(key, value),
  removeItem: (key: string) => sessionStorage.removeItem(key),
  clear: () => sessionStorage.clear(),
  get length() {
    return sessionStorage.length;
  },
};

/** Who signs in may read more of the schema: it is read again. */
function Reading() {
  const { viewer } = useStore(session);
  const { introspect } = useGraphiQLActions();
  useEffect(() => {
    if (viewer) void introspect();
  }, [viewer, introspect]);
  return null;
}

function Playground() {
  return (
    <>
      <Account />
      <main>
        <GraphiQL
          fetcher={fetcher}
          storage={storage}
          plugins={PLUGINS}
          visiblePlugin={OPERATIONS.title}
          defaultQuery={WELCOME}
          defaultEditorToolsVisibility="variables"
          showPersistHeadersSettings={false}
        >
          <GraphiQL.Logo>
            <Reading />
          </GraphiQL.Logo>
        </GraphiQL>
      </main>
    </>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <Playground />
  </StrictMode>,
);
