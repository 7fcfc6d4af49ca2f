import type { ResultOf, VariablesOf } from "@graphql-typed-document-node/core";
import { graphql } from "./gql";

const Page = graphql(`
  query TypedPage($after: String) {
    customers(first: 2, after: $after, where: { status: [ACTIVE] }, orderBy: { field: NAME }) {
      nodes {
        id
        name
        mobile
        balance {
          amount
        }
        service {
          expiresAt
        }
      }
      pageInfo {
        endCursor
      }
    }
  }
`);

type Row = ResultOf<typeof Page>["customers"]["nodes"][number];

// Never null, text, and null where the schema says so.
export const told = (row: Row): string => `${row.name} ${row.balance.amount} ${row.service?.expiresAt ?? "no end"}`;
export const variables: VariablesOf<typeof Page> = { after: null };
