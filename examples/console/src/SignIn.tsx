// The way in: e-mail and password, and where there is one the second factor.
import { useState } from "react";

import { SignInConfirmDocument, SignInDocument } from "./gql/graphql";
import { Field, Form, maybe, text, useAct } from "./form";
import { useTitle } from "./route";
import { session, signedIn, type Token } from "./session";
import { useStore } from "./store";

export function SignIn() {
  useTitle("Sign in");
  const { notice } = useStore(session);
  const [challenge, setChallenge] = useState<string>();
  return (
    <main className="sign-in">
      <h1>Console</h1>
      {notice && (
        <p className="alert" role="alert">
          {notice}
        </p>
      )}
      {challenge === undefined ? <Password onChallenge={setChallenge} /> : <SecondFactor challenge={challenge} />}
      <p className="hint">
        You stay signed in on this tab until you sign out, close it, or leave it alone for a while.
      </p>
    </main>
  );
}

function take({ token, expiresAt }: { token?: string | null; expiresAt?: string | null }): void {
  if (token && expiresAt) signedIn({ token, expiresAt } satisfies Token);
}

function Password({ onChallenge }: { onChallenge: (challenge: string) => void }) {
  const { act, busy, faults } = useAct(SignInDocument);
  const submit = async (form: FormData) => {
    const input = {
      email: text(form, "email"),
      password: String(form.get("password")),
      tenant: maybe(form, "tenant"),
    };
    const answer = await act({ input });
    if (answer?.signIn.challenge) onChallenge(answer.signIn.challenge);
    else if (answer) take(answer.signIn);
  };
  return (
    <Form faults={faults} busy={busy} onSubmit={(form) => void submit(form)} label="Sign in">
      <Field name="email" label="E-mail" type="email" autoComplete="username" autoFocus />
      <Field name="password" label="Password" type="password" autoComplete="current-password" />
      <Field
        name="tenant"
        label="Provider"
        autoComplete="organization"
        hint="Only if your address is used at several providers."
      />
      <button className="primary wide" disabled={busy}>
        {busy ? "Signing in …" : "Sign in"}
      </button>
    </Form>
  );
}

function SecondFactor({ challenge }: { challenge: string }) {
  const { act, busy, faults } = useAct(SignInConfirmDocument);
  const submit = async (form: FormData) => {
    const answer = await act({ input: { challenge, code: text(form, "code") } });
    if (answer) take(answer.signInConfirm);
  };
  return (
    <Form faults={faults} busy={busy} onSubmit={(form) => void submit(form)} label="Second factor">
      <Field
        name="code"
        label="Code"
        autoComplete="one-time-code"
        hint="Of your device, or a recovery code."
        autoFocus
      />
      <button className="primary wide" disabled={busy}>
        Confirm
      </button>
    </Form>
  );
}
