// PostGraphile 4 on the tables of the benchmark: lists instead of connections.
import { createServer } from "node:http";
import pg from "pg";
import { createPostGraphileSchema, postgraphile } from "postgraphile";

const { DATABASE_URL, PORT, PG_SETTINGS } = process.env;
const pgSettings = JSON.parse(PG_SETTINGS);
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 8 });
const options = {
  simpleCollections: "only",
  setofFunctionsContainNulls: false,
  disableDefaultMutations: true,
  dynamicJson: true,
  ignoreRBAC: false,
  graphiql: false,
  disableQueryLog: true,
  queryCacheMaxSize: 100 * 1024 * 1024,
  pgSettings,
};
// Made once before listening, so that the first request does not wait for it.
await createPostGraphileSchema(pool, "public", options);
const server = createServer(postgraphile(pool, "public", options));
server.listen(Number(PORT), "127.0.0.1", () => console.log("ready"));
