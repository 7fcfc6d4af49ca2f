// The line on top: whose playground this is, who is signed in, and the way in and out.
import { type FormEvent, useEffect, useRef, useState } from "react";

import { confirmSignIn, session, signIn, signOut, useToken } from "./session";
import { useStore } from "./store";

export function Account() {
  const { viewer, token, notice } = useStore(session);
  const [asking, setAsking] = useState(token === null);
  useEffect(() => {
    if (viewer) setAsking(false);
    if (notice) setAsking(true);
  }, [viewer, notice]);
  return (
    <header className="account">
      <h1>ispgraph</h1>
      {viewer ? (
        <>
          <span className="tenant">{viewer.tenant}</span>
          <span className="who" title={viewer.permissions.join(", ")}>
            <strong>{viewer.actingFor ? `${viewer.actingFor}, as ${viewer.name}` : viewer.name}</strong>
            <small>{viewer.role.toLowerCase().replaceAll("_", " ")}</small>
          </span>
          <button type="button" onClick={() => void signOut()}>
            Sign out
          </button>
        </>
      ) : (
        <button type="button" className="primary" onClick={() => setAsking(true)}>
          Sign in
        </button>
      )}
      {asking && <SignIn notice={notice} close={() => setAsking(false)} />}
    </header>
  );
}

function SignIn({ notice, close }: { notice: string | null; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState(notice);
  const [challenge, setChallenge] = useState<string>();
  const [busy, setBusy] = useState(false);
  useEffect(() => dialog.current?.showModal(), []);

  const submit = (work: (given: (name: string) => string) => Promise<string | null>) => async (event: FormEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    setBusy(true);
    try {
      setProblem(await work((name) => String(form.get(name) ?? "").trim()));
    } catch {
      setProblem("The API cannot be reached.");
    } finally {
      setBusy(false);
    }
  };
  const begin = submit(async (given) => {
    const outcome = await signIn(given("email"), given("password"), given("tenant"));
    if ("problem" in outcome) return outcome.problem;
    setChallenge(outcome.challenge);
    return null;
  });
  const confirm = submit(async (given) => {
    const outcome = await confirmSignIn(challenge ?? "", given("code"));
    return "problem" in outcome ? outcome.problem : null;
  });
  const paste = submit((given) => useToken(given("token")));

  return (
    <dialog ref={dialog} className="sign-in" onClose={close} aria-labelledby="sign-in-title">
      <h2 id="sign-in-title">Sign in</h2>
      {problem && <p role="alert">{problem}</p>}
      {challenge === undefined ? (
        <form onSubmit={begin}>
          <label>
            E-mail <input name="email" type="email" autoComplete="username" required autoFocus />
          </label>
          <label>
            Password <input name="password" type="password" autoComplete="current-password" required />
          </label>
          <label>
            Provider <input name="tenant" autoComplete="organization" placeholder="only if the address is used by several" />
          </label>
          <button className="primary" disabled={busy}>
            Sign in
          </button>
        </form>
      ) : (
        <form onSubmit={confirm}>
          <label>
            Code of the second factor <input name="code" autoComplete="one-time-code" required autoFocus />
          </label>
          <button className="primary" disabled={busy}>
            Confirm
          </button>
        </form>
      )}
      <details>
        <summary>Use a token that you have</summary>
        <form onSubmit={paste}>
          <label>
            Token <input name="token" autoComplete="off" spellCheck={false} required />
          </label>
          <button disabled={busy}>Use it</button>
        </form>
      </details>
      <p className="hint">
        The token is kept in this tab until you sign out or close it. Without signing in you can read the documentation,
        where the provider allows it.
      </p>
      <button type="button" className="close" aria-label="Close" onClick={() => dialog.current?.close()}>
        ×
      </button>
    </dialog>
  );
}
