// The rules that the schema and the collection of operations keep. `node lint.mjs SCHEMA OPERATIONS` applies them.
import graphql from "@graphql-eslint/eslint-plugin";

const WHEN = /removed (in \d+\.\d+|after \d{4}-\d{2}-\d{2})/i;

/** Whoever uses what goes has to know until when. */
const deprecationSaysWhen = {
  meta: { type: "problem", schema: [], messages: { when: "The reason says neither “Removed in 1.2” nor “Removed after 2027-01-31”." } },
  create: (context) => ({
    "Directive[name.value=deprecated]"(node) {
      const reason = node.arguments.find((one) => one.name.value === "reason");
      if (!WHEN.test(reason?.value.value ?? "")) {
        context.report({ node: node.name, messageId: "when" });
      }
    },
  }),
};

/** Only what implements Node has an id: clients' caches find an object again by it. */
const idsAreOfNodes = {
  meta: { type: "problem", schema: [], messages: { node: "{{ name }} has an id, and does not implement Node." } },
  create: (context) => ({
    ObjectTypeDefinition(node) {
      const implemented = node.interfaces.map((one) => one.name.value);
      if (node.fields.some((one) => one.name.value === "id") && !implemented.includes("Node")) {
        context.report({ node: node.name, messageId: "node", data: { name: node.name.value } });
      }
    },
  }),
};

const house = { rules: { "deprecation-says-when": deprecationSaysWhen, "ids-are-of-nodes": idsAreOfNodes } };

/** The configuration for one schema, which is linted as well, and the operations that use it. */
export const configuration = (schema, operations) => {
  const common = {
    plugins: { "@graphql-eslint": graphql, house },
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema, documents: operations } },
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
  };
  return [
    {
      ...common,
      files: ["**/*schema.graphql"],
      rules: {
        // Words.
        "@graphql-eslint/require-description": [
          "error",
          {
            types: true,
            rootField: true,
            DirectiveDefinition: true,
            EnumValueDefinition: true,
            FieldDefinition: true,
            InputValueDefinition: true,
          },
        ],
        "@graphql-eslint/description-style": ["error", { style: "block" }],
        "@graphql-eslint/no-hashtag-description": "error",
        // Names.
        "@graphql-eslint/naming-convention": [
          "error",
          {
            types: "PascalCase",
            FieldDefinition: "camelCase",
            InputValueDefinition: "camelCase",
            Argument: "camelCase",
            DirectiveDefinition: "camelCase",
            EnumValueDefinition: "UPPER_CASE",
            "FieldDefinition[parent.name.value=Query]": { forbiddenPrefixes: ["get", "list", "query"] },
            "FieldDefinition[parent.name.value=Mutation]": { forbiddenPrefixes: ["mutate", "do"] },
            "InputObjectTypeDefinition": { style: "PascalCase" },
          },
        ],
        "@graphql-eslint/no-typename-prefix": "error",
        "@graphql-eslint/unique-enum-value-names": "error",
        // What goes, goes with notice.
        "@graphql-eslint/require-deprecation-reason": "error",
        "house/deprecation-says-when": "error",
        // Lists. Nodes stand beside edges, and rows without an id of their own are pages too.
        "@graphql-eslint/relay-connection-types": "error",
        "@graphql-eslint/relay-edge-types": ["error", { listTypeCanWrapOnlyEdgeType: false, shouldImplementNode: false }],
        "@graphql-eslint/relay-page-info": "error",
        "@graphql-eslint/relay-arguments": ["error", { includeBoth: true }],
        // Form. Not here: strict-id-in-types (values have no id), input-name and require-nullable-result-in-root (an
        // answer that may be null would say nothing: what can fail stands in `errors`).
        "house/ids-are-of-nodes": "error",
        "@graphql-eslint/no-scalar-result-type-on-mutation": "error",
        "@graphql-eslint/no-unreachable-types": "error",
      },
    },
    {
      ...common,
      files: ["**/operations/**/*.graphql"],
      rules: {
        // The recommended ones: what does not fit the schema, what is not used, names, depth.
        ...graphql.configs["flat/operations-recommended"].rules,
        "@graphql-eslint/lone-executable-definition": "error",
        "@graphql-eslint/naming-convention": [
          "error",
          { OperationDefinition: "PascalCase", VariableDefinition: "camelCase", FragmentDefinition: "PascalCase" },
        ],
        // A cache knows what it may keep together by the id.
        "@graphql-eslint/require-selections": "error",
      },
    },
  ];
};
