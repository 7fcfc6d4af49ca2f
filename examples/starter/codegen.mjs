// Types for the operations in src/, from the schema of this repository. An API that tells its schema does as well:
// put its address in the place of the file.
/** @type {import("@graphql-codegen/cli").CodegenConfig} */
export default {
  schema: "../../schema.graphql",
  documents: ["src/**/*.ts", "!src/gql/**"],
  importExtension: ".js",
  generates: {
    "src/gql/": {
      preset: "client",
      config: {
        documentMode: "string",
        enumsAsTypes: true,
        useTypeImports: true,
        // What JSON has no word for travels as text.
        strictScalars: true,
        scalars: {
          ...Object.fromEntries(
            ["BigInt", "CurrencyCode", "Date", "DateTime", "Decimal", "EmailAddress", "IpAddress", "IpNetwork"]
              .concat(["MacAddress", "PhoneNumber", "Time"])
              .map((name) => [name, "string"]),
          ),
          JSON: "unknown",
          Upload: "File",
        },
      },
    },
  },
};
