// Customers: searched, narrowed, sorted and turned page by page by the API. All of it stands in the address.
import { useEffect, useRef, useState } from "react";
import { useQuery } from "urql";

import {
  ConnectionType,
  CustomerOrderField,
  type CustomersQuery,
  type CustomersQueryVariables,
  CustomerStatsDocument,
  CustomersDocument,
  CustomerStatus,
  OrderDirection,
  PackagesDocument,
  ZonesDocument,
} from "../gql/graphql";
import { type Cursor, Failure, Loading, Pager, rowsAt, State } from "../parts";
import { go, href, useRoute, useTitle } from "../route";
import { Instant } from "../viewer";
import { money, words } from "../words";

const SIZE = 20;

function oneOf<T extends string>(known: { readonly [name: string]: T }, value: string | null): T | undefined {
  return Object.values(known).find((one) => one === value);
}

/** What the address asks for, as the API takes it. */
function asked(query: URLSearchParams): CustomersQueryVariables {
  const status = query.getAll("status").flatMap((value) => oneOf(CustomerStatus, value) ?? []);
  const connectionType = oneOf(ConnectionType, query.get("connection"));
  const field = oneOf(CustomerOrderField, query.get("sort")) ?? "NAME";
  const direction = oneOf(OrderDirection, query.get("direction")) ?? "ASC";
  const cursor: Cursor = {};
  for (const end of ["after", "before"] as const) {
    const value = query.get(end);
    if (value !== null) cursor[end] = value;
  }
  return {
    search: query.get("search"),
    where: {
      ...(status.length > 0 ? { status } : {}),
      ...(connectionType ? { connectionType: [connectionType] } : {}),
      packageId: query.get("package"),
      zoneId: query.get("zone"),
      online: query.has("online") ? query.get("online") === "true" : null,
      overdue: query.has("overdue") ? true : null,
    },
    orderBy: { field, direction },
    ...rowsAt(cursor, SIZE),
  };
}

export function CustomerList() {
  useTitle("Customers");
  const { query } = useRoute();
  const [{ data, error, fetching }, again] = useQuery({
    query: CustomersDocument,
    variables: asked(query),
    requestPolicy: "cache-and-network",
  });
  const narrow = (change: (to: URLSearchParams) => void, replace = false) => {
    const to = new URLSearchParams(query);
    for (const end of ["after", "before"]) to.delete(end);
    change(to);
    go("customers", to, replace);
  };
  const page = data?.customers;
  return (
    <>
      <div className="head">
        <h1>Customers</h1>
        <Figures />
      </div>
      <Narrowing query={query} narrow={narrow} />
      {error && <Failure error={error} again={again} />}
      {!page && fetching && <Loading what="customers" />}
      {page && (
        <div aria-busy={fetching}>
          <p className="hidden" role="status">
            {fetching ? "Loading" : `${page.nodes.length} customers on this page`}
          </p>
          {page.nodes.length === 0 ? (
            <Nobody narrowed={query.size > 0} />
          ) : (
            <Rows rows={page.nodes} query={query} narrow={narrow} />
          )}
          <Pager
            of="customers"
            info={page.pageInfo}
            onGo={(cursor) => narrow((to) => Object.entries(cursor).forEach(([end, value]) => to.set(end, value)))}
          />
        </div>
      )}
    </>
  );
}

function Nobody({ narrowed }: { narrowed: boolean }) {
  return (
    <div className="empty">
      <p>{narrowed ? "No customer is like this." : "There are no customers yet."}</p>
      <a className="button" href={href(narrowed ? "customers" : "new")}>
        {narrowed ? "Show all customers" : "Make the first one"}
      </a>
    </div>
  );
}

function Figures() {
  const [{ data }] = useQuery({ query: CustomerStatsDocument });
  if (!data) return null;
  const { total, active, suspended, online } = data.customerStats;
  return (
    <dl className="figures">
      {Object.entries({ total, active, suspended, online }).map(([name, value]) => (
        <div key={name}>
          <dt>{words(name)}</dt>
          <dd>{value.toLocaleString()}</dd>
        </div>
      ))}
    </dl>
  );
}

interface NarrowingProps {
  query: URLSearchParams;
  narrow: (change: (to: URLSearchParams) => void, replace?: boolean) => void;
}

function Narrowing({ query, narrow }: NarrowingProps) {
  const [{ data: sold }] = useQuery({ query: PackagesDocument, variables: {} });
  const [{ data: area }] = useQuery({ query: ZonesDocument });
  const set = (name: string) => (event: { target: { value: string } }) => {
    const { value } = event.target;
    narrow((to) => (value === "" ? to.delete(name) : to.set(name, value)));
  };
  return (
    <search className="narrowing">
      <Search value={query.get("search") ?? ""} narrow={narrow} />
      <label>
        Status
        <select value={query.get("status") ?? ""} onChange={set("status")}>
          <option value="">Any</option>
          {Object.values(CustomerStatus).map((value) => (
            <option key={value} value={value}>
              {words(value)}
            </option>
          ))}
        </select>
      </label>
      <label>
        Package
        <select value={query.get("package") ?? ""} onChange={set("package")}>
          <option value="">Any</option>
          {sold?.packages.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Zone
        <select value={query.get("zone") ?? ""} onChange={set("zone")}>
          <option value="">Any</option>
          {area?.zones.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Connection
        <select value={query.get("connection") ?? ""} onChange={set("connection")}>
          <option value="">Any</option>
          {Object.values(ConnectionType).map((value) => (
            <option key={value} value={value}>
              {words(value)}
            </option>
          ))}
        </select>
      </label>
      <label>
        On line
        <select value={query.get("online") ?? ""} onChange={set("online")}>
          <option value="">Either</option>
          <option value="true">Yes</option>
          <option value="false">No</option>
        </select>
      </label>
      <label className="check">
        <input
          type="checkbox"
          checked={query.has("overdue")}
          onChange={({ target }) => narrow((to) => (target.checked ? to.set("overdue", "true") : to.delete("overdue")))}
        />
        Overdue
      </label>
      <label className="narrow">
        Sort
        <select
          value={`${query.get("sort") ?? "NAME"} ${query.get("direction") ?? "ASC"}`}
          onChange={({ target }) => {
            const [by = "", direction = ""] = target.value.split(" ");
            narrow((to) => {
              to.set("sort", by);
              to.set("direction", direction);
            });
          }}
        >
          {Object.values(CustomerOrderField).flatMap((by) =>
            Object.values(OrderDirection).map((direction) => (
              <option key={by + direction} value={`${by} ${direction}`}>
                {words(by)} {direction === "ASC" ? "↑" : "↓"}
              </option>
            )),
          )}
        </select>
      </label>
      {query.size > 0 && (
        <a className="button" href={href("customers")}>
          Clear
        </a>
      )}
    </search>
  );
}

/** Typing is not asking: the API is asked when it pauses. */
function Search({ value, narrow }: { value: string; narrow: NarrowingProps["narrow"] }) {
  const [typed, setTyped] = useState(value);
  const latest = useRef(narrow);
  latest.current = narrow;
  // The address may say something else by itself, by the way back; what is being typed is not taken away by its own echo.
  const sent = useRef(value);
  useEffect(() => {
    if (value !== sent.current) setTyped(value);
    sent.current = value;
  }, [value]);
  useEffect(() => {
    if (typed.trim() === value) return undefined;
    const timer = setTimeout(() => {
      const text = typed.trim();
      sent.current = text;
      latest.current((to) => (text === "" ? to.delete("search") : to.set("search", text)), true);
    }, 250);
    return () => clearTimeout(timer);
  }, [typed, value]);
  return (
    <label className="grow">
      Search
      <input
        type="search"
        value={typed}
        onChange={({ target }) => setTyped(target.value)}
        placeholder="Name, number, e-mail, username, address or invoice"
      />
    </label>
  );
}

type Row = CustomersQuery["customers"]["nodes"][number];

const COLUMNS: [string, CustomerOrderField | null, (row: Row) => React.ReactNode][] = [
  ["Name", "NAME", ({ id, name }) => <a href={href(`customers/${id}`)}>{name}</a>],
  ["Account", "ACCOUNT_NUMBER", ({ accountNumber }) => accountNumber],
  ["Status", "STATUS", ({ status }) => <State of={status} />],
  ["Package", null, ({ service }) => service?.package.name],
  ["Zone", null, ({ zone }) => zone?.name],
  ["Ends", "EXPIRES_AT", ({ service }) => service?.expiresAt && <Instant at={service.expiresAt} />],
  ["Balance", "BALANCE", ({ balance }) => money(balance)],
];

function Rows({ rows, query, narrow }: NarrowingProps & { rows: readonly Row[] }) {
  const field = query.get("sort") ?? "NAME";
  const down = query.get("direction") === "DESC";
  const sort = (by: CustomerOrderField) =>
    narrow((to) => {
      to.set("sort", by);
      if (by === field && !down) to.set("direction", "DESC");
      else to.delete("direction");
    });
  return (
    <table className="rows">
      <caption className="hidden">Customers</caption>
      <thead>
        <tr>
          {COLUMNS.map(([name, by]) => (
            <th key={name} scope="col" aria-sort={by === field ? (down ? "descending" : "ascending") : undefined}>
              {by ? (
                <button type="button" className="sort" onClick={() => sort(by)}>
                  {name}
                  <span aria-hidden="true">{by === field ? (down ? " ↓" : " ↑") : ""}</span>
                </button>
              ) : (
                name
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.id}>
            {COLUMNS.map(([name, , shown]) => (
              <td key={name} data-name={name}>
                {shown(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
