// node run.mjs HTTP_URL WEBSOCKET_URL TOKEN: prints one JSON object with what the audits and the clients found.
import { auditServer } from "graphql-http";
import { createClient as createSocketClient } from "graphql-ws";
import { createClient as createEventClient } from "graphql-sse";
import WebSocket from "ws";

const [url, socketUrl, token] = process.argv.slice(2);
const SUBSCRIPTION = { query: "subscription { count(to: 3) }" };

/** Everything one subscription delivers, or what went wrong. */
const collect = (client, request) =>
  new Promise((resolve) => {
    const results = [];
    client.subscribe(request, {
      next: (result) => results.push(result),
      error: (problem) => resolve({ results, problem: String(problem.message ?? JSON.stringify(problem)) }),
      complete: () => resolve({ results }),
    });
  });

const audits = (await auditServer({ url, fetchFn: fetch })).map(({ id, name, status, reason }) => ({
  id,
  name,
  status,
  ...(reason ? { reason } : {}),
}));

const sockets = createSocketClient({
  url: socketUrl,
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: `Bearer ${token}` },
});
const events = createEventClient({ url, headers: { Authorization: `Bearer ${token}` } });
const found = {
  audits,
  socket: await collect(sockets, SUBSCRIPTION),
  socketQuery: await collect(sockets, { query: "{ hello }" }),
  socketRefusal: await collect(sockets, { query: "{ nope }" }),
  events: await collect(events, SUBSCRIPTION),
};
await sockets.dispose();
events.dispose();
console.log(JSON.stringify(found));
