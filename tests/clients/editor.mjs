// node editor.mjs FOLDER: what an editor's language server finds by the configuration in a folder, as JSON.
import { createRequire } from "node:module";

const require = createRequire(import.meta.resolve("@graphql-eslint/eslint-plugin"));
const { loadConfig } = require("graphql-config");

const { CodeFileLoader } = require("@graphql-tools/code-file-loader");

const config = await loadConfig({
  rootDir: process.argv[2],
  extensions: [
    (api) => {
      // As language servers do, so that documents within programs are found.
      api.loaders.documents.register(new CodeFileLoader());
      return { name: "programs" };
    },
  ],
});
const found = {};
for (const name of ["default", "starter"]) {
  const project = config.getProject(name);
  const schema = await project.getSchema();
  const documents = await project.getDocuments();
  found[name] = {
    types: Object.keys(schema.getTypeMap()).filter((type) => !type.startsWith("__")).length,
    operations: documents.flatMap(({ document }) => document.definitions.map((one) => one.name.value)),
  };
}
console.log(JSON.stringify(found));
