// node all.mjs HTTP_URL WEBSOCKET_URL TOKEN CUSTOMER SCHEMA RELAY_FOLDER: what each client made of the API, as JSON.
import { readFileSync } from "node:fs";
import { buildSchema, isAbstractType } from "graphql";
import { apollo } from "./apollo.mjs";
import { given, PAGE, post } from "./given.mjs";
import { relay } from "./relay.mjs";
import { streams } from "./streams.mjs";
import { urql } from "./urql.mjs";

const schema = buildSchema(readFileSync(given.schemaFile, "utf8"));
const abstract = Object.values(schema.getTypeMap()).filter(isAbstractType);
const possibleTypes = Object.fromEntries(
  abstract.map((type) => [type.name, schema.getPossibleTypes(type).map(({ name }) => name)]),
);
const page = await post(PAGE, { first: 4 });
const found = {
  ids: page.customers.edges.map(({ node }) => node.id),
  apollo: await apollo(possibleTypes),
  urql: await urql(schema),
  relay: await relay(),
  streams: await streams(),
};
console.log(JSON.stringify(found));
