// A customer's invoices, page by page, each with its PDF.
import { useState } from "react";
import { useQuery } from "urql";

import { graphql, read, type FragmentType } from "../gql";
import { type Cursor, Failure, Loading, Pager, rowsAt, Section, State } from "../parts";
import { day, money } from "../words";

const CustomerInvoices = graphql(`
  query CustomerInvoices($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {
    customer(by: { id: $id }) {
      id
      invoices(first: $first, after: $after, last: $last, before: $before) {
        nodes {
          id
          ...InvoiceRow
        }
        pageInfo {
          hasNextPage
          hasPreviousPage
          startCursor
          endCursor
        }
      }
    }
  }
`);

const InvoiceRow = graphql(`
  fragment InvoiceRow on Invoice {
    number
    kind
    status
    overdue
    issuedOn
    dueOn
    total {
      amount
      currency
    }
    amountDue {
      amount
      currency
    }
    pdfUrl
  }
`);

export function Invoices({ customerId }: { customerId: string }) {
  const [cursor, setCursor] = useState<Cursor>({});
  const [{ data, error, fetching }, again] = useQuery({
    query: CustomerInvoices,
    variables: { id: customerId, ...rowsAt(cursor, 5) },
    requestPolicy: "cache-and-network",
  });
  const page = data?.customer?.invoices;
  return (
    <Section title="Invoices">
      {error && <Failure error={error} again={again} />}
      {!page && fetching && <Loading what="invoices" />}
      {page?.nodes.length === 0 && <p className="empty small">There is no invoice.</p>}
      {page && page.nodes.length > 0 && (
        <table className="rows">
          <caption className="hidden">Invoices</caption>
          <thead>
            <tr>
              <th scope="col">Number</th>
              <th scope="col">Status</th>
              <th scope="col">Due on</th>
              <th scope="col">Total</th>
              <th scope="col">Still due</th>
            </tr>
          </thead>
          <tbody>
            {page.nodes.map((node) => (
              <Row key={node.id} of={node} />
            ))}
          </tbody>
        </table>
      )}
      {page && <Pager of="invoices" info={page.pageInfo} onGo={setCursor} />}
    </Section>
  );
}

function Row({ of }: { of: FragmentType<typeof InvoiceRow> }) {
  const invoice = read(InvoiceRow, of);
  return (
    <tr>
      <td data-name="Number">
        {invoice.pdfUrl ? (
          <a href={invoice.pdfUrl} target="_blank" rel="noreferrer" aria-label={`${invoice.number ?? "Draft"}, as PDF`}>
            {invoice.number ?? "Draft"}
          </a>
        ) : (
          (invoice.number ?? "Draft")
        )}
      </td>
      <td data-name="Status">
        <State of={invoice.overdue ? "OVERDUE" : invoice.status} />
      </td>
      <td data-name="Due on">{invoice.dueOn && day(invoice.dueOn)}</td>
      <td data-name="Total">{money(invoice.total)}</td>
      <td data-name="Still due">{money(invoice.amountDue)}</td>
    </tr>
  );
}
