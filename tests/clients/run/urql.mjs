// urql with graphcache, which knows the schema: pages put together, objects found again by id.
import { Client, fetchExchange, gql, subscriptionExchange } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { createClient } from "graphql-ws";
import { introspectionFromSchema, isObjectType } from "graphql";
import WebSocket from "ws";
import { firstWhileRenaming, FOLLOW, given, headers, PAGE, RENAME } from "./given.mjs";

export const urql = async (schema) => {
  const complaints = [];
  const { warn, error } = console;
  console.warn = console.error = (...words) => complaints.push(words.join(" "));
  // Values have no id: they are kept within what they belong to.
  const values = Object.values(schema.getTypeMap()).filter((type) => isObjectType(type) && !type.getFields().id);
  const sockets = createClient({ url: given.socketUrl, webSocketImpl: WebSocket, connectionParams: headers });
  const client = new Client({
    url: given.url,
    fetchOptions: { headers },
    preferGetMethod: false,
    exchanges: [
      cacheExchange({
        schema: introspectionFromSchema(schema, { descriptions: false }),
        keys: Object.fromEntries(values.map(({ name }) => [name, () => null])),
        resolvers: { Query: { customers: relayPagination() } },
      }),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (request) => ({
          subscribe: (sink) => ({ unsubscribe: sockets.subscribe({ ...request, query: request.query ?? "" }, sink) }),
        }),
      }),
    ],
  });
  const page = gql(PAGE);
  const first = await client.query(page, { first: 2 }).toPromise();
  const after = first.data.customers.pageInfo.endCursor;
  const second = await client.query(page, { first: 2, after }).toPromise();
  const input = { customerId: given.customerId, name: "Aa of urql" };
  const changed = await client.mutation(gql(RENAME), { input }).toPromise();
  const cached = await client.query(page, { first: 2, after }, { requestPolicy: "cache-only" }).toPromise();
  const followed = await firstWhileRenaming("Urql", (next) =>
    client.subscription(gql(FOLLOW), { id: given.customerId }).subscribe(({ data }) => next(data.customerChanged)),
  );
  await sockets.dispose();
  Object.assign(console, { warn, error });
  return {
    ids: second.data.customers.edges.map(({ node }) => node.id),
    problem: String(first.error ?? second.error ?? changed.error ?? ""),
    renamed: cached.data.customers.edges
      .filter(({ node }) => node.id === given.customerId)
      .map(({ node }) => node.name),
    followed,
    complaints,
  };
};
