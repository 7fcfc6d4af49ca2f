// The reference clients of the two protocols of subscriptions, against the product's own schema.
import { createClient as createSocketClient } from "graphql-ws";
import { createClient as createEventClient } from "graphql-sse";
import WebSocket from "ws";
import { firstWhileRenaming, FOLLOW, given, headers } from "./given.mjs";

const followed = async (name, client) => {
  let end;
  const value = await firstWhileRenaming(name, (next, error) => {
    end = client.subscribe(
      { query: FOLLOW, variables: { id: given.customerId } },
      { next: ({ data }) => next(data.customerChanged), error, complete: () => error(new Error("it ended")) },
    );
  });
  end();
  return value;
};

export const streams = async () => {
  const sockets = createSocketClient({ url: given.socketUrl, webSocketImpl: WebSocket, connectionParams: headers });
  const events = createEventClient({ url: given.url, headers });
  const found = {
    socket: await followed("Socket", sockets),
    events: await followed("Events", events),
  };
  await sockets.dispose();
  events.dispose();
  return found;
};
