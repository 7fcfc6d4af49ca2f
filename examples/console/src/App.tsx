// The frame of every page: whose console this is, the way around, and the end of the sign-in when it is near.
import { useEffect, useRef, useState } from "react";
import { useMutation, useQuery } from "urql";

import { CustomerList } from "./customers/CustomerList";
import { CustomerPage } from "./customers/CustomerPage";
import { SignOutDocument, TokenRenewDocument, ViewerDocument } from "./gql/graphql";
import { Failure, Loading } from "./parts";
import { href, useRoute, useTitle } from "./route";
import { ended, renewed, session, signedOut } from "./session";
import { useStore } from "./store";
import { type Viewer, ViewerProvider } from "./viewer";
import { Drafts } from "./wizard/Drafts";
import { Wizard } from "./wizard/Wizard";
import { words } from "./words";

export function App() {
  const [{ data, error }, again] = useQuery({ query: ViewerDocument });
  if (data) return <Frame viewer={data.viewer} />;
  return (
    <main className="page">{error ? <Failure error={error} again={again} /> : <Loading what="the console" />}</main>
  );
}

function Frame({ viewer }: { viewer: Viewer }) {
  const { path } = useRoute();
  const main = useRef<HTMLElement>(null);
  const place = path.slice(0, 2).join("/") || "customers";
  const first = useRef(true);
  useEffect(() => {
    // Who hears pages, or goes through them by the keyboard, begins a new one at its top.
    if (!first.current) main.current?.focus();
    first.current = false;
  }, [place]);
  return (
    <ViewerProvider value={viewer}>
      <button type="button" className="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <Top viewer={viewer} />
      <Ending />
      <main className="page" ref={main} tabIndex={-1} key={place}>
        <Place path={path} />
      </main>
    </ViewerProvider>
  );
}

function Place({ path: [place = "customers", id] }: { path: string[] }) {
  if (place === "customers") return id === undefined ? <CustomerList /> : <CustomerPage id={id} />;
  if (place === "new") return id === undefined ? <Drafts /> : <Wizard id={id} />;
  return <Nowhere />;
}

function Nowhere() {
  useTitle("Not found");
  return (
    <div className="empty">
      <h1>There is no such page</h1>
      <p>
        <a href={href("customers")}>Go to the customers</a>
      </p>
    </div>
  );
}

function Top({ viewer }: { viewer: Viewer }) {
  const { path } = useRoute();
  const [, signOut] = useMutation(SignOutDocument);
  const here = path[0] ?? "customers";
  const leave = async () => {
    const { error } = await signOut({});
    signedOut(
      error?.networkError ? "The API cannot be reached: the token is forgotten here, and good until it ends." : null,
    );
  };
  return (
    <header className="top">
      <span className="brand">{viewer.tenant.name}</span>
      <nav aria-label="Console">
        <a href={href("customers")} aria-current={here === "customers" ? "page" : undefined}>
          Customers
        </a>
        {viewer.permissions.includes("CREATE_CUSTOMERS") && (
          <a href={href("new")} aria-current={here === "new" ? "page" : undefined}>
            New customer
          </a>
        )}
      </nav>
      <span className="who">
        <strong>{viewer.operator?.name}</strong>
        {viewer.operator && <small>{words(viewer.operator.role)}</small>}
      </span>
      <button type="button" onClick={() => void leave()}>
        Sign out
      </button>
    </header>
  );
}

const SOON = 120_000;

/** The token lives for minutes. Who does something gets another; who does not is told, and can stay. */
function Ending() {
  const { token } = useStore(session);
  const [, renew] = useMutation(TokenRenewDocument);
  const [left, setLeft] = useState(Infinity);
  const acted = useRef(false);
  const asking = useRef(false);
  useEffect(() => {
    const act = () => {
      acted.current = true;
    };
    const kinds = ["pointerdown", "keydown"] as const;
    for (const kind of kinds) addEventListener(kind, act);
    return () => {
      for (const kind of kinds) removeEventListener(kind, act);
    };
  }, []);
  const stay = async () => {
    if (asking.current) return;
    asking.current = true;
    acted.current = false;
    const { data } = await renew({});
    asking.current = false;
    if (data?.tokenRenew.token && data.tokenRenew.expiresAt) {
      renewed({ token: data.tokenRenew.token, expiresAt: data.tokenRenew.expiresAt });
    }
  };
  useEffect(() => {
    if (token === null) return undefined;
    const look = () => {
      const now = Date.parse(token.expiresAt) - Date.now();
      setLeft(now);
      if (now <= 0) ended();
      else if (now < 2 * SOON && acted.current) void stay();
    };
    acted.current = false;
    look();
    const timer = setInterval(look, 1000);
    return () => clearInterval(timer);
  }, [token]);
  if (left > SOON) return null;
  const minutes = Math.max(1, Math.ceil(left / 60_000));
  return (
    <div className="ending" role="alert">
      <p>Your sign-in ends in {minutes === 1 ? "a minute" : `${minutes} minutes`}.</p>
      <button type="button" className="primary" onClick={() => void stay()}>
        Stay signed in
      </button>
    </div>
  );
}
