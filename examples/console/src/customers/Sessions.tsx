// A customer's sessions, the latest first. What opens and closes is shown as it happens.
import { useEffect, useRef, useState } from "react";
import { useQuery, useSubscription } from "urql";

import { graphql, read, type FragmentType } from "../gql";
import { type Cursor, Failure, Loading, Pager, rowsAt, Section, State } from "../parts";
import { Instant } from "../viewer";
import { bytes, duration } from "../words";

const CustomerSessions = graphql(`
  query CustomerSessions($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {
    customer(by: { id: $id }) {
      id
      sessions(first: $first, after: $after, last: $last, before: $before) {
        nodes {
          id
          ...SessionRow
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

const SessionRow = graphql(`
  fragment SessionRow on Session {
    state
    startedAt
    durationSeconds
    downloadBytes
    uploadBytes
    ipAddress
    terminateCause
  }
`);

const SessionOf = graphql(`
  subscription SessionOf($customerId: ID!) {
    sessionChanged(customerId: $customerId) {
      id
      state
    }
  }
`);

/** Whenever a session opens or closes. However many parts of a page listen, the API is asked once. */
export function useSessionChanges(customerId: string, changed: () => void): void {
  const [{ data }] = useSubscription({ query: SessionOf, variables: { customerId } });
  const latest = useRef(changed);
  latest.current = changed;
  const event = data?.sessionChanged;
  useEffect(() => {
    if (event) latest.current();
  }, [event]);
}

export function Sessions({ customerId }: { customerId: string }) {
  const [cursor, setCursor] = useState<Cursor>({});
  const [{ data, error, fetching }, again] = useQuery({
    query: CustomerSessions,
    variables: { id: customerId, ...rowsAt(cursor, 5) },
    requestPolicy: "cache-and-network",
  });
  useSessionChanges(customerId, () => again({ requestPolicy: "network-only" }));
  const page = data?.customer?.sessions;
  return (
    <Section title="Sessions">
      {error && <Failure error={error} again={again} />}
      {!page && fetching && <Loading what="sessions" />}
      {page?.nodes.length === 0 && <p className="empty small">There was no session yet.</p>}
      {page && page.nodes.length > 0 && (
        <table className="rows">
          <caption className="hidden">Sessions</caption>
          <thead>
            <tr>
              <th scope="col">Began</th>
              <th scope="col">State</th>
              <th scope="col">Lasted</th>
              <th scope="col">Download</th>
              <th scope="col">Upload</th>
              <th scope="col">Address</th>
            </tr>
          </thead>
          <tbody>
            {page.nodes.map((node) => (
              <Row key={node.id} of={node} />
            ))}
          </tbody>
        </table>
      )}
      {page && <Pager of="sessions" info={page.pageInfo} onGo={setCursor} />}
    </Section>
  );
}

function Row({ of }: { of: FragmentType<typeof SessionRow> }) {
  const session = read(SessionRow, of);
  return (
    <tr>
      <td data-name="Began">
        <Instant at={session.startedAt} />
      </td>
      <td data-name="State">
        <span>
          <State of={session.state} /> <small>{session.terminateCause}</small>
        </span>
      </td>
      <td data-name="Lasted">{duration(session.durationSeconds)}</td>
      <td data-name="Download">{bytes(session.downloadBytes)}</td>
      <td data-name="Upload">{bytes(session.uploadBytes)}</td>
      <td data-name="Address">{session.ipAddress}</td>
    </tr>
  );
}
