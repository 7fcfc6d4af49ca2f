import { readFileSync } from "node:fs";
import type { TypedDocumentString } from "./gql/graphql.js";

/** What `ispgraph up` writes when it is ready. */
const up = JSON.parse(readFileSync(process.env.ISPGRAPH_UP ?? "../../.ispgraph/up.json", "utf8")) as {
  graphql: string;
  operators: { email: string; password: string; tenant: string }[];
};
let token = "";

/** Send a document. The answer has the type of the document, and the variables have to. */
export async function ask<Answer, Variables>(
  document: TypedDocumentString<Answer, Variables>,
  variables: Variables,
): Promise<Answer> {
  const response = await fetch(up.graphql, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query: document.toString(), variables }),
  });
  const { data, errors } = (await response.json()) as { data?: Answer; errors?: { message: string }[] };
  if (errors || !data) {
    throw new Error(errors?.map(({ message }) => message).join("; ") ?? `${response.status} without data`);
  }
  return data;
}

/** The sign-in of the demo's first operator; what is asked from now on is asked by that one. */
export function credentials(): { email: string; password: string; tenant: string } {
  const [{ email, password, tenant }] = up.operators as [(typeof up.operators)[0]];
  return { email, password, tenant };
}

export function actAs(given: string): void {
  token = given;
}
