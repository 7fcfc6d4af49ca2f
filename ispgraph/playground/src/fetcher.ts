// How the editor reaches the API: HTTP for queries and mutations, one WebSocket for subscriptions, both with the token.
import type { Fetcher, FetcherParams } from "@graphiql/toolkit";
import { Kind, parse } from "graphql";
import { type Client, createClient } from "graphql-ws";

import { remember } from "./memory";
import { notice, session } from "./session";

let socket: { token: string | null; client: Client } | undefined;

/** The connection of whoever is signed in; another one's is closed. */
function connection(): Client {
  const { token } = session.get();
  if (!socket || socket.token !== token) {
    void socket?.client.dispose();
    const url = new URL("/graphql", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const connectionParams = token ? { Authorization: `Bearer ${token}` } : {};
    socket = { token, client: createClient({ url: url.href, connectionParams, retryAttempts: 5 }) };
  }
  return socket.client;
}

session.subscribe(() => {
  if (socket && socket.token !== session.get().token) {
    void socket.client.dispose();
    socket = undefined;
  }
});

/** The operation that is asked for. Right after a change the editor may still name the one that was there before. */
function named({ query, operationName }: FetcherParams) {
  const operations = parse(query).definitions.filter((one) => one.kind === Kind.OPERATION_DEFINITION);
  const asked = operations.find((one) => one.name?.value === operationName);
  return asked ?? (operations.length === 1 ? operations[0] : undefined);
}

async function* listen(sent: { query: string; variables?: Record<string, unknown> }) {
  for await (const event of connection().iterate(sent)) {
    remember(event.data);
    yield event;
  }
}

export const fetcher: Fetcher = async (params, options) => {
  const operation = named(params);
  const { operationName, ...rest } = params;
  const name = operation?.name?.value ?? operationName;
  const sent = { ...rest, ...(name ? { operationName: name } : {}) };
  if (operation?.operation === "subscription") return listen(sent);
  const { token } = session.get();
  const response = await fetch("/graphql", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
      ...options?.headers,
    },
    body: JSON.stringify(sent),
  });
  const answer = await response.json();
  if (name !== "IntrospectionQuery") {
    remember(answer.data);
    notice(answer);
  }
  return answer;
};
