// Types for every document, made from the printed schema: a document that the schema no longer carries ends this with an error.
import type { CodegenConfig } from "@graphql-codegen/cli";

// Of the collection, what the console does. Some operations stand there several times, with other variables.
const OPERATIONS = [
  "01-signing-in/{sign-in,second-factor,sign-out,renew-token,who-am-i}",
  "02-customers/{list,page,usage,stats}",
  "03-wizard/{1-start,2-basics,3-connection-pppoe,4-package,5-address,6-custom-fields,7-payment,9-confirm,cancel,resume}",
  "04-actions/{activate,change-package,disconnect,quote-package-change,set-speed-limit,suspend}",
  "05-billing/advance-payment",
  "06-catalogue/{custom-fields,packages,zones}",
  "13-watching/{customer,jobs,live-usage}",
];

const config: CodegenConfig = {
  // As in the schema, where the steps of the wizard stand one after another.
  config: { sort: false },
  schema: "../../schema.graphql",
  documents: [...OPERATIONS.map((path) => `../operations/${path}.graphql`), "src/**/*.{ts,tsx}", "!src/gql/**"],
  generates: {
    "src/gql/": {
      preset: "client",
      presetConfig: { fragmentMasking: { unmaskFunctionName: "read" } },
      config: {
        // The values of an enum are there when the program runs: lists to choose from are the schema's.
        enumType: "const",
        useTypeImports: true,
        immutableTypes: true,
        // Money and bytes are text: a number of JavaScript cannot hold all of them.
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
      },
    },
  },
};

export default config;
