// Who is signed in. The token is kept for this tab only, and is gone with it.
import { forget } from "./memory";
import { Store } from "./store";

export interface Viewer {
  name: string;
  role: string;
  tenant: string;
  actingFor: string | null;
  permissions: string[];
}

export interface Session {
  token: string | null;
  viewer: Viewer | null;
  /** Why nobody is signed in any more. */
  notice: string | null;
}

interface Problem {
  message: string;
  extensions?: { code?: string };
}

interface Answer<T> {
  data?: T | null;
  errors?: Problem[];
}

interface SignIn {
  token: string | null;
  challenge?: string | null;
  errors: { message: string }[];
}

const KEY = "ispgraph.token";
const VIEWER = `{ viewer { tenant { name } operator { name role } actingOperator { name } permissions } }`;
const SIGN_IN = `mutation ($input: SignInInput!) { signIn(input: $input) { token challenge errors { message } } }`;
const CONFIRM = `mutation ($input: SignInConfirmInput!) { signInConfirm(input: $input) { token errors { message } } }`;

export const session = new Store<Session>({ token: sessionStorage.getItem(KEY), viewer: null, notice: null });

async function ask<T>(query: string, variables: object = {}): Promise<Answer<T>> {
  const { token } = session.get();
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()) as Answer<T>;
}

/** Go on with a token, if it is good for something; what is wrong with it. */
export async function useToken(token: string): Promise<string | null> {
  const before = session.get();
  session.set({ token, viewer: null, notice: null });
  interface Found {
    viewer: {
      tenant: { name: string };
      operator: { name: string; role: string } | null;
      actingOperator: { name: string } | null;
      permissions: string[];
    };
  }
  let answer: Answer<Found>;
  try {
    answer = await ask<Found>(VIEWER);
  } catch {
    session.set(before);
    return "The API cannot be reached.";
  }
  if (!answer.data) {
    signedOut("The sign-in has ended.");
    return answer.errors?.[0]?.message ?? "The token is not good.";
  }
  const { tenant, operator, actingOperator, permissions } = answer.data.viewer;
  sessionStorage.setItem(KEY, token);
  session.set({
    token,
    viewer: {
      name: operator?.name ?? "A program",
      role: operator?.role ?? "",
      tenant: tenant.name,
      actingFor: actingOperator?.name ?? null,
      permissions,
    },
    notice: null,
  });
  return null;
}

/** A token's new place: nobody is signed in by it any more. */
export function signedOut(notice: string | null): void {
  sessionStorage.removeItem(KEY);
  forget();
  session.set({ token: null, viewer: null, notice });
}

export async function signOut(): Promise<void> {
  try {
    await ask("mutation { signOut { errors { message } } }");
    signedOut(null);
  } catch {
    signedOut("The API cannot be reached: the token is forgotten here, and good until it ends.");
  }
}

type Outcome = { challenge: string } | { problem: string | null };

export async function signIn(email: string, password: string, tenant: string): Promise<Outcome> {
  const input = { email, password, ...(tenant ? { tenant } : {}) };
  const answer = await ask<{ signIn: SignIn }>(SIGN_IN, { input });
  const found = answer.data?.signIn;
  return found?.challenge ? { challenge: found.challenge } : outcome(found, answer);
}

export async function confirmSignIn(challenge: string, code: string): Promise<Outcome> {
  const answer = await ask<{ signInConfirm: SignIn }>(CONFIRM, { input: { challenge, code } });
  return outcome(answer.data?.signInConfirm, answer);
}

async function outcome(found: SignIn | undefined, answer: Answer<unknown>): Promise<Outcome> {
  if (found?.token) return { problem: await useToken(found.token) };
  return { problem: (found?.errors[0] ?? answer.errors?.[0])?.message ?? "Nobody was signed in." };
}

/** Take note of what an operation of the editor did to the sign-in. */
export function notice(answer: Answer<{ [field: string]: unknown }>): void {
  if (answer.errors?.some((error) => error.extensions?.code === "UNAUTHENTICATED") && session.get().token) {
    signedOut("The sign-in has ended.");
    return;
  }
  for (const [field, value] of Object.entries(answer.data ?? {})) {
    const payload = value as Partial<SignIn> | null;
    if (field === "signOut" && payload?.errors?.length === 0) signedOut(null);
    if (/^(signIn|signInConfirm|signInAs|tokenRenew|passwordChange)$/.test(field) && payload?.token) {
      void useToken(payload.token);
    }
  }
}

const kept = session.get().token;
if (kept) void useToken(kept);
