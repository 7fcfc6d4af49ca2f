// How the console reaches the API: HTTP for queries and mutations, one WebSocket for subscriptions, both with the token.
import { createClient as createSocket } from "graphql-ws";
import { cacheExchange, Client, fetchExchange, mapExchange, subscriptionExchange } from "urql";

import { ended, session } from "./session";
import { Store } from "./store";

/** Whether what is shown as live is so: the socket of the subscriptions is open. */
export const connected = new Store(true);

export interface Connection {
  client: Client;
  close: () => void;
}

export function connect(): Connection {
  const url = new URL("/graphql", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const authorization = () => {
    const { token } = session.get();
    return token ? { Authorization: `Bearer ${token.token}` } : {};
  };
  const socket = createSocket({
    url: url.href,
    connectionParams: authorization,
    retryAttempts: Infinity,
    retryWait: async (tries) => {
      const most = Math.min(30_000, 250 * 2 ** tries);
      await new Promise((done) => setTimeout(done, most * (0.5 + Math.random() / 2)));
    },
    // The API may be away for a while; only what it says itself is final.
    shouldRetry: () => true,
    on: {
      connected: () => connected.set(true),
      closed: (event) => {
        const { code } = event as CloseEvent;
        connected.set(code === 1000);
        if (code === 4401) ended();
      },
    },
  });
  // A token that was renewed is not the one of the open socket, which the API closes when that one ends.
  let { token } = session.get();
  const stop = session.subscribe(() => {
    const now = session.get().token;
    if (now !== null && token !== null && now.token !== token.token) socket.terminate();
    token = now;
  });
  const client = new Client({
    url: "/graphql",
    preferGetMethod: false,
    fetchOptions: () => ({ headers: authorization() }),
    exchanges: [
      mapExchange({
        onResult: ({ error }) => {
          if (error?.graphQLErrors.some((one) => one.extensions["code"] === "UNAUTHENTICATED")) ended();
        },
      }),
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (request) => ({
          subscribe: (sink) => ({
            unsubscribe: socket.subscribe(
              { ...request, query: request.query ?? "" },
              { ...sink, next: ({ data = null, errors = [] }) => sink.next({ data, errors }) },
            ),
          }),
        }),
      }),
    ],
  });
  return {
    client,
    close: () => {
      stop();
      void socket.dispose();
    },
  };
}
