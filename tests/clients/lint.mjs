// node lint.mjs SCHEMA [OPERATIONS]: prints what the rules find in both, as JSON. OPERATIONS is a folder named `operations`.
import { dirname, resolve } from "node:path";
import { ESLint } from "eslint";
import { configuration } from "./rules.mjs";

const [schema, operations] = process.argv.slice(2).map((path) => resolve(path));

/** ESLint looks only below its own folder. */
const found = async (folder, patterns) => {
  const linter = new ESLint({
    cwd: folder,
    overrideConfigFile: true,
    overrideConfig: configuration(schema, operations && `${operations}/**/*.graphql`),
  });
  return await linter.lintFiles(patterns);
};

const results = await found(dirname(schema), [schema]);
if (operations) {
  results.push(...(await found(dirname(operations), [`${operations}/**/*.graphql`])));
}
console.log(
  JSON.stringify({
    files: results.length,
    found: results.flatMap(({ filePath, messages }) =>
      messages.map(({ ruleId, message, line }) => ({ file: filePath, rule: ruleId, message, line })),
    ),
  }),
);
