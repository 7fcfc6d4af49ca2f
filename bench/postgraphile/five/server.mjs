// PostGraphile 5 on the tables of the benchmark: the schema of version 4, amber, lists instead of connections.
import { createServer } from "node:http";
import { grafserv } from "postgraphile/grafserv/node";
import { postgraphile } from "postgraphile";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { makeV4Preset } from "postgraphile/presets/v4";
import { makePgService } from "postgraphile/adaptors/pg";

// What PostGraphile 5 uses of Node 22, for Node 20.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((done, failed) => { resolve = done; reject = failed; });
  return { promise, resolve, reject };
};

const { DATABASE_URL, PORT, PG_SETTINGS } = process.env;
const pgSettings = JSON.parse(PG_SETTINGS);

const preset = {
  extends: [
    PostGraphileAmberPreset,
    makeV4Preset({
      simpleCollections: "only",
      setofFunctionsContainNulls: false,
      disableDefaultMutations: true,
      dynamicJson: true,
      ignoreIndexes: true,
      graphiql: false,
    }),
  ],
  pgServices: [
    makePgService({ connectionString: DATABASE_URL, schemas: ["public"], poolConfig: { max: 8 } }),
  ],
  grafserv: { graphqlPath: "/graphql", graphiql: false, watch: false, websockets: false },
  grafast: { explain: false, context: () => ({ pgSettings }) },
};

const served = postgraphile(preset).createServ(grafserv);
const server = createServer();
server.once("listening", () => {
  server.on("error", (error) => console.error(error));
  console.log("ready");
});
await served.addTo(server);
server.listen(Number(PORT), "127.0.0.1");
