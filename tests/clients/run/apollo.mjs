// Apollo Client: pages put together in the cache, objects found again by id, documents sent by hash.
import { createHash } from "node:crypto";
import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { relayStylePagination } from "@apollo/client/utilities";
import { filter, firstValueFrom } from "rxjs";
import { given, headers, PAGE, RENAME } from "./given.mjs";

export const apollo = async (possibleTypes) => {
  const sent = [];
  const client = new ApolloClient({
    cache: new InMemoryCache({
      possibleTypes,
      typePolicies: { Query: { fields: { customers: relayStylePagination(["where", "search", "orderBy"]) } } },
    }),
    link: new PersistedQueryLink({ sha256: (text) => createHash("sha256").update(text).digest("hex") }).concat(
      new HttpLink({
        uri: given.url,
        headers,
        fetch: async (where, how) => {
          sent.push(Object.keys(JSON.parse(how.body)).includes("query") ? "document" : "hash");
          return await fetch(where, how);
        },
      }),
    ),
  });
  const query = gql(PAGE);
  const page = client.watchQuery({ query, variables: { first: 2 } });
  const watching = page.subscribe({});
  const first = await firstValueFrom(page.pipe(filter(({ dataState }) => dataState === "complete")));
  await page.fetchMore({ variables: { after: first.data.customers.pageInfo.endCursor } });
  const cached = client.cache.readQuery({ query, variables: { first: 2 } });
  const before = cached.customers.edges.map(({ node }) => node.id);
  const input = { customerId: given.customerId, name: "Aa of Apollo" };
  const changed = await client.mutate({ mutation: gql(RENAME), variables: { input } });
  const renamed = client.cache.readQuery({ query, variables: { first: 2 } }).customers.edges;
  watching.unsubscribe();
  client.stop();
  return {
    ids: before,
    errors: changed.data.customerUpdate.errors,
    renamed: renamed.filter(({ node }) => node.id === given.customerId).map(({ node }) => node.name),
    sent,
  };
};
