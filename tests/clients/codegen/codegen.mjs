// graphql-codegen's client preset over the whole collection of operations; OUT says where to.
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "../../..");
const out = process.env.OUT;

export default {
  schema: `${root}/schema.graphql`,
  documents: [`${root}/examples/operations/**/*.graphql`, `${out}/src/**/*.ts`, `!${out}/src/gql/**`],
  generates: {
    [`${out}/src/gql/`]: {
      preset: "client",
      presetConfig: { persistedDocuments: { hashAlgorithm: "sha256" } },
      config: {
        // Every scalar of the schema travels as text, but for what JSON knows itself.
        strictScalars: true,
        scalars: {
          BigInt: "string",
          CurrencyCode: "string",
          Date: "string",
          DateTime: "string",
          Decimal: "string",
          EmailAddress: "string",
          IpAddress: "string",
          IpNetwork: "string",
          JSON: "unknown",
          MacAddress: "string",
          PhoneNumber: "string",
          Time: "string",
          Upload: "File",
        },
        useTypeImports: true,
        enumsAsTypes: true,
      },
    },
  },
};
