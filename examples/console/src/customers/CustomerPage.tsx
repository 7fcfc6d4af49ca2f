// One customer: what is so, what is happening, and what may be done.
import { useEffect, useRef } from "react";
import { useQuery, useSubscription } from "urql";

import { Actions } from "../actions/Actions";
import { CustomerChangedDocument, CustomerPageDocument, type CustomerPageQuery } from "../gql/graphql";
import { Facts, Failure, Loading, Section, State } from "../parts";
import { href, useTitle } from "../route";
import { Instant } from "../viewer";
import { day, kbps, money, words } from "../words";
import { Invoices } from "./Invoices";
import { Jobs } from "./Jobs";
import { Live } from "./Live";
import { Sessions } from "./Sessions";
import { Usage } from "./Usage";

export type Customer = NonNullable<CustomerPageQuery["customer"]>;

export function CustomerPage({ id }: { id: string }) {
  const [{ data, error }, again] = useQuery({
    query: CustomerPageDocument,
    variables: { by: { id } },
    requestPolicy: "cache-and-network",
  });
  useChanges(id, () => again({ requestPolicy: "network-only" }));
  const customer = data?.customer;
  useTitle(customer?.name ?? "Customer");
  if (customer) return <Found customer={customer} again={() => again({ requestPolicy: "network-only" })} />;
  return (
    <>
      <Back />
      {error && <Failure error={error} again={again} />}
      {!data && !error && <Loading what="the customer" />}
      {data && !error && <p className="empty">There is no such customer, or it is not yours to see.</p>}
    </>
  );
}

/** Whoever changes the customer, wherever: the first event says what is known already. */
function useChanges(customerId: string, changed: () => void): void {
  const [{ data }] = useSubscription({ query: CustomerChangedDocument, variables: { customerId } });
  const known = useRef<unknown>(undefined);
  const latest = useRef(changed);
  latest.current = changed;
  const event = data?.customerChanged;
  useEffect(() => {
    if (known.current !== undefined && event !== undefined) latest.current();
    known.current = event;
  }, [event]);
}

function Back() {
  return (
    <p className="back">
      <a href={href("customers")}>← Customers</a>
    </p>
  );
}

function Found({ customer, again }: { customer: Customer; again: () => void }) {
  const { service } = customer;
  return (
    <>
      <Back />
      <div className="head">
        <h1>
          {customer.name} <State of={customer.status} />
        </h1>
        <span className="aside">{customer.accountNumber}</span>
      </div>
      {customer.statusReason && <p className="hint">{customer.statusReason}</p>}
      <Actions customer={customer} onDone={again} />
      <div className="columns">
        <div>
          <Live customerId={customer.id} />
          <Usage customerId={customer.id} />
          <Invoices customerId={customer.id} />
          <Sessions customerId={customer.id} />
        </div>
        <div>
          <Jobs customerId={customer.id} known={customer.jobs.nodes} />
          <Section title="Money">
            <Facts
              of={[
                ["Balance", money(customer.balance)],
                ["Due", money(customer.amountDue)],
                ["Wallet", money(customer.wallet)],
                ["Last payment", customer.lastPaymentAt && <Instant at={customer.lastPaymentAt} />],
              ]}
            />
          </Section>
          {service && <Connection service={service} />}
          <Section title="Contact">
            <Facts
              of={[
                ["Mobile", <a href={`tel:${customer.mobile}`}>{customer.mobile}</a>],
                ["E-mail", customer.email && <a href={`mailto:${customer.email}`}>{customer.email}</a>],
                ["Company", customer.company],
                [
                  "Address",
                  customer.address &&
                    [customer.address.street, customer.address.postalCode, customer.address.city]
                      .filter(Boolean)
                      .join(", "),
                ],
                ["Zone", customer.zone?.name],
                ["Operator", customer.operator.name],
                ["Joined", <Instant at={customer.joinedAt} />],
                ...customer.customFields.map(({ field, value }): [string, string] => [field.label, written(value)]),
              ]}
            />
          </Section>
        </div>
      </div>
    </>
  );
}

function written(value: unknown): string {
  if (typeof value === "boolean") return value ? "Yes" : "No";
  return value === null || value === undefined ? "" : String(value);
}

function Connection({ service }: { service: NonNullable<Customer["service"]> }) {
  const { effectivePolicy: policy, network } = service;
  const speed =
    policy.downloadKbps != null &&
    policy.uploadKbps != null &&
    `${kbps(policy.downloadKbps)} down, ${kbps(policy.uploadKbps)} up`;
  return (
    <Section title="Connection" aside={<State of={service.status} />}>
      <Facts
        of={[
          ["Package", `${service.package.name}, ${money(service.price)}`],
          ["Type", words(service.connectionType)],
          ["Username", service.username],
          ["IP address", service.ipAddress],
          ["Devices", service.macAddresses.join(", ")],
          [
            "Router",
            service.router && (
              <>
                {service.router.name} <State of={service.router.status} />
              </>
            ),
          ],
          ["Ends", service.expiresAt && <Instant at={service.expiresAt} />],
          ["Suspend on", service.suspendOn && day(service.suspendOn)],
          ["Speed", speed],
          ["Why", policy.explanation],
          ["Network", <State of={network.state} />],
          ["Problem", network.problem],
        ]}
      />
    </Section>
  );
}
