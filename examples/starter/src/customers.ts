import { actAs, ask, credentials } from "./ask.js";
import { graphql } from "./gql/gql.js";

const SIGN_IN = graphql(`
  mutation SignIn($input: SignInInput!) {
    signIn(input: $input) {
      token
      errors {
        message
      }
    }
  }
`);

const CUSTOMERS = graphql(`
  query Customers($first: Int!) {
    customers(first: $first, orderBy: { field: NAME }) {
      nodes {
        id
        name
        balance {
          amount
          currency
        }
        service {
          status
          expiresAt
        }
      }
    }
  }
`);

const { signIn } = await ask(SIGN_IN, { input: credentials() });
if (!signIn.token) {
  throw new Error(signIn.errors.map(({ message }) => message).join("; ") || "a second factor is asked for");
}
actAs(signIn.token);

const { customers } = await ask(CUSTOMERS, { first: 5 });
for (const { name, balance, service } of customers.nodes) {
  console.log(`${name}: ${balance.amount} ${balance.currency}, ${service?.status ?? "no service"}`);
}
