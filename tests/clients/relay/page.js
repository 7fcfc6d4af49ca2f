import { graphql } from "relay-runtime";

export const firstPage = graphql`
  query pageQuery($first: Int!, $after: String) {
    viewer {
      operator {
        id
        name
      }
    }
    ...pageCustomers @arguments(first: $first, after: $after)
  }
`;

export const customers = graphql`
  fragment pageCustomers on Query
  @argumentDefinitions(first: { type: "Int!" }, after: { type: "String" })
  @refetchable(queryName: "pageCustomersPaginationQuery") {
    customers(first: $first, after: $after, orderBy: { field: NAME }) @connection(key: "page_customers") {
      edges {
        node {
          id
          name
          ...pageInvoices
        }
      }
    }
  }
`;

// A list below a node: Relay fetches its next page by node(id:).
export const invoices = graphql`
  fragment pageInvoices on Customer
  @argumentDefinitions(first: { type: "Int", defaultValue: 2 }, after: { type: "String" })
  @refetchable(queryName: "pageInvoicesPaginationQuery") {
    invoices(first: $first, after: $after) @connection(key: "page_invoices") {
      edges {
        node {
          id
          number
        }
      }
    }
  }
`;

export const followed = graphql`
  subscription pageSubscription($customerId: ID!) {
    customerChanged(customerId: $customerId) {
      id
      name
    }
  }
`;

export const renamed = graphql`
  mutation pageMutation($input: CustomerUpdateInput!) {
    customerUpdate(input: $input) {
      customer {
        id
        name
      }
      errors {
        code
        message
      }
    }
  }
`;
