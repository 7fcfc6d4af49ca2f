// Relay: what its compiler made of relay/page.js, run against the API, with connections in its store.
import { createRequire } from "node:module";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { firstWhileRenaming, given, headers } from "./given.mjs";

const require = createRequire(import.meta.url);
const { commitMutation, createOperationDescriptor, Environment, fetchQuery, getSingularSelector } = require("relay-runtime");
const { Network, RecordSource, requestSubscription, Store } = require("relay-runtime");
const artifact = (name) => {
  const made = require(`${given.relayFolder}/src/__generated__/${name}.graphql.js`);
  return made.default ?? made;
};

export const relay = async () => {
  const sockets = createClient({ url: given.socketUrl, webSocketImpl: WebSocket, connectionParams: headers });
  const send = async ({ text: query }, variables) => {
    const answer = await fetch(given.url, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json" },
      body: JSON.stringify({ query, variables }),
    });
    return await answer.json();
  };
  const follow = ({ text: query }, variables) => ({
    subscribe: (sink) => ({ unsubscribe: sockets.subscribe({ query, variables }, sink) }),
  });
  const { Observable } = require("relay-runtime");
  const environment = new Environment({
    network: Network.create(send, (...how) => Observable.create((sink) => follow(...how).subscribe(sink).unsubscribe)),
    store: new Store(new RecordSource()),
  });
  const query = artifact("pageQuery");
  const operation = createOperationDescriptor(query, { first: 2 });
  environment.retain(operation);
  await fetchQuery(environment, query, { first: 2 }).toPromise();
  const read = (fragment, reference) => environment.lookup(getSingularSelector(fragment, reference)).data;
  const customers = () => read(artifact("pageCustomers"), environment.lookup(operation.fragment).data).customers;
  const { endCursor } = customers().pageInfo;
  await fetchQuery(environment, artifact("pageCustomersPaginationQuery"), { first: 2, after: endCursor }).toPromise();
  // The next page of a list below a node, by node(id:).
  const edges = customers().edges;
  const invoices = (node) => read(artifact("pageInvoices"), node).invoices;
  const aster = edges.find(({ node }) => node.id === given.customerId).node;
  const before = invoices(aster);
  const { pageInfo } = before;
  await fetchQuery(environment, artifact("pageInvoicesPaginationQuery"), {
    id: aster.id,
    first: 2,
    after: pageInfo.endCursor,
  }).toPromise();
  const input = { customerId: given.customerId, name: "Aa of Relay" };
  const errors = await new Promise((resolve, reject) =>
    commitMutation(environment, {
      mutation: artifact("pageMutation"),
      variables: { input },
      onCompleted: (answer) => resolve(answer.customerUpdate.errors),
      onError: reject,
    }),
  );
  const renamed = customers().edges.filter(({ node }) => node.id === given.customerId);
  let following;
  const followed = await firstWhileRenaming("Relay", (next, onError) => {
    following = requestSubscription(environment, {
      subscription: artifact("pageSubscription"),
      variables: { customerId: given.customerId },
      onNext: (value) => next(value.customerChanged),
      onError,
    });
  });
  following.dispose();
  await sockets.dispose();
  return {
    ids: edges.map(({ node }) => node.id),
    invoices: [before.edges.length, invoices(aster).edges.length],
    errors,
    renamed: renamed.map(({ node }) => node.name),
    followed,
  };
};
