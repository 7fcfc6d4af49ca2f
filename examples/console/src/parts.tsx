// What many pages show: states as badges, that something is under way, that something failed, and pages of lists.
import type { ReactNode } from "react";
import type { CombinedError } from "urql";

import { faultsOf } from "./form";
import { words } from "./words";

/** A state by its name in the schema. The colour helps who sees it; the word says it. */
export function State({ of }: { of: string }) {
  return (
    <span className="state" data-state={of}>
      {words(of)}
    </span>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <p className="loading" role="status">
      <span className="spinner" aria-hidden="true" />
      Loading {what} …
    </p>
  );
}

export function Failure({
  error,
  again,
}: {
  error: CombinedError;
  again: (how: { requestPolicy: "network-only" }) => void;
}) {
  return (
    <div className="alert" role="alert">
      {faultsOf(error).map(({ message }) => (
        <p key={message}>{message}</p>
      ))}
      <button type="button" onClick={() => again({ requestPolicy: "network-only" })}>
        Try again
      </button>
    </div>
  );
}

export function Section({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  const id = title.toLowerCase().replaceAll(" ", "-");
  return (
    <section className="card" aria-labelledby={id}>
      <div className="head">
        <h2 id={id}>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

export function Facts({ of }: { of: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {of
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

interface PageInfo {
  readonly hasNextPage: boolean;
  readonly hasPreviousPage: boolean;
  readonly startCursor?: string | null;
  readonly endCursor?: string | null;
}

/** A place in a list: what comes after a row, or before one; nothing is its beginning. */
export type Cursor = { after?: string; before?: string };

/** The arguments of a list for a place in it. */
export function rowsAt({ after, before }: Cursor, size: number) {
  return before === undefined ? { first: size, after: after ?? null } : { last: size, before };
}

interface PagerProps {
  of: string;
  info: PageInfo;
  onGo: (to: Cursor) => void;
}

export function Pager({ of, info, onGo }: PagerProps) {
  if (!info.hasNextPage && !info.hasPreviousPage) return null;
  return (
    <nav className="pager" aria-label={`Pages of ${of}`}>
      <button type="button" disabled={!info.hasPreviousPage} onClick={() => onGo({})}>
        First
      </button>
      <button
        type="button"
        disabled={!info.hasPreviousPage}
        onClick={() => onGo(info.startCursor ? { before: info.startCursor } : {})}
      >
        Previous
      </button>
      <button
        type="button"
        disabled={!info.hasNextPage}
        onClick={() => onGo(info.endCursor ? { after: info.endCursor } : {})}
      >
        Next
      </button>
    </nav>
  );
}
