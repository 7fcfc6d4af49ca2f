// The collection beside the editor: what there is, what it is for, who may; a click opens it with its variables filled.
import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useState } from "react";

import { byPath, found, type Operation, shown } from "./collection";
import { filled, ids, lacking } from "./memory";
import { session } from "./session";
import { useStore } from "./store";

export const WELCOME = shown(byPath.get("01-signing-in/who-am-i") as Operation);

let last: string | undefined;

/** Put an operation into the editor: in a tab of its own, unless this one holds nothing of anybody's. */
function useOpen() {
  const editor = useGraphiQL((state) => state.queryEditor);
  const variables = useGraphiQL((state) => state.variableEditor);
  const answer = useGraphiQL((state) => state.responseEditor);
  const { addTab, stop } = useGraphiQLActions();
  return (one: Operation) => {
    const now = editor?.getValue() ?? "";
    stop();
    if (now.trim() !== "" && now !== last && now !== WELCOME) addTab();
    last = shown(one);
    editor?.setValue(last);
    answer?.setValue("");
    const given = Object.keys(one.variables).length > 0;
    variables?.setValue(given ? JSON.stringify(filled(one.variables), null, 2) : "");
  };
}

function About({ one, open }: { one: Operation; open: (one: Operation) => void }) {
  const { viewer } = useStore(session);
  useStore(ids);
  const wanted = one.permission.split(", ").filter((name) => /^[A-Z_]+$/.test(name));
  const missing = viewer ? wanted.filter((name) => !viewer.permissions.includes(name)) : [];
  const first = one.first.flatMap((path) => byPath.get(path) ?? []);
  return (
    <div className="about">
      <p>{one.about}</p>
      <p>
        Permission: <code>{one.permission}</code>
        {missing.length > 0 && <em> (not one of yours)</em>}
      </p>
      {first.length > 0 && (
        <p>
          {lacking(filled(one.variables)) ? "Its ids come from any answer that has one, such as of: " : "Ids are those of the last answers, such as of: "}
          {first.map((other) => (
            <button key={other.path} type="button" className="link" onClick={() => open(other)}>
              {other.title}
            </button>
          ))}
        </p>
      )}
    </div>
  );
}

function Operations() {
  const [search, setSearch] = useState("");
  const [chosen, setChosen] = useState<string>();
  const put = useOpen();
  const open = (one: Operation) => {
    setChosen(one.path);
    put(one);
  };
  const folders = found(search);
  return (
    <section className="operations" aria-label="Operations">
      <h2>Operations</h2>
      <input
        type="search"
        aria-label="Search operations"
        placeholder="Search, such as suspend or invoice"
        value={search}
        onChange={(event) => setSearch(event.target.value)}
      />
      {folders.length === 0 && <p className="empty">No operation has these words.</p>}
      {folders.map((folder) => {
        const inside = folder.operations.some((one) => one.path === chosen);
        return (
          <details key={`${folder.title} ${search !== ""}`} open={search !== "" || inside || undefined}>
            <summary>
              {folder.title} <small>{folder.operations.length}</small>
            </summary>
            <ul>
              {folder.operations.map((one) => (
                <li key={one.path} className={one.path === chosen ? "chosen" : ""}>
                  <button type="button" onClick={() => open(one)}>
                    {one.title}
                  </button>
                  {one.path === chosen && <About one={one} open={open} />}
                </li>
              ))}
            </ul>
          </details>
        );
      })}
    </section>
  );
}

function Icon() {
  return (
    <svg viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.6" aria-hidden="true">
      <path d="M2.5 5.5v10h15V7.5h-8l-2-2z M6 11h8 M6 13.3h5" strokeLinejoin="round" strokeLinecap="round" />
    </svg>
  );
}

export const OPERATIONS = { title: "Operations", icon: Icon, content: Operations };
