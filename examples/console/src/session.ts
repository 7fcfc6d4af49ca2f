// Who is signed in: the token of this tab. It is gone with the tab, and nothing else is kept of anybody.
import { Store } from "./store";

export interface Token {
  token: string;
  /** When it ends, as the API says. */
  expiresAt: string;
}

export interface Session {
  token: Token | null;
  /** Another number for everybody who signs in: what was read for one is not shown to the next. */
  visit: number;
  /** Why nobody is signed in any more. */
  notice: string | null;
}

const KEY = "ispgraph.console";

function kept(): Token | null {
  const text = sessionStorage.getItem(KEY);
  return text === null ? null : (JSON.parse(text) as Token);
}

export const session = new Store<Session>({ token: kept(), visit: 0, notice: null });

export function signedIn(token: Token): void {
  sessionStorage.setItem(KEY, JSON.stringify(token));
  session.set({ token, visit: session.get().visit + 1, notice: null });
}

/** The same sign-in by another token, which ends later. */
export function renewed(token: Token): void {
  sessionStorage.setItem(KEY, JSON.stringify(token));
  session.set({ ...session.get(), token });
}

export function signedOut(notice: string | null): void {
  sessionStorage.removeItem(KEY);
  if (session.get().token !== null) session.set({ token: null, visit: session.get().visit + 1, notice });
}

/** The token has ended, or somebody has ended the sign-in elsewhere. */
export function ended(): void {
  signedOut("Your sign-in has ended. Sign in again to go on where you were.");
}
