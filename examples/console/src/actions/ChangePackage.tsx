// Another package, at the price that was quoted or not at all.
import { useState } from "react";
import { useQuery } from "urql";

import {
  ChangePackageQuoteDocument,
  type ChangePackageQuoteQuery,
  CustomerChangePackageDocument,
  PackagesDocument,
} from "../gql/graphql";
import { Choice, Field, Form, maybe, useAct } from "../form";
import { Facts, Failure, Loading } from "../parts";
import { Instant } from "../viewer";
import { day, money } from "../words";
import { type ActionProps, Buttons } from "./Actions";

export function ChangePackage({ customer, onDone }: ActionProps) {
  const { act, busy, faults, keyOf } = useAct(CustomerChangePackageDocument);
  const [packageId, setPackageId] = useState("");
  const connectionType = customer.service?.connectionType ?? null;
  const [{ data }] = useQuery({ query: PackagesDocument, variables: { connectionType } });
  const [{ data: priced, error, fetching }, again] = useQuery({
    query: ChangePackageQuoteDocument,
    variables: { customerId: customer.id, packageId },
    pause: packageId === "",
    requestPolicy: "network-only",
  });
  const quote = packageId === "" ? undefined : priced?.changePackageQuote;
  const submit = async (form: FormData) => {
    const input = {
      customerId: customer.id,
      packageId,
      quoteToken: quote?.token ?? null,
      reason: maybe(form, "reason"),
    };
    const answer = await act({ input: { ...input, idempotencyKey: keyOf(input) } });
    if (answer) onDone({ said: "The package is changed.", ...answer.customerChangePackage });
    else again({ requestPolicy: "network-only" });
  };
  return (
    <Form faults={faults} busy={busy || fetching} onSubmit={(form) => void submit(form)} label="Change package">
      <Choice
        name="packageId"
        label="Package"
        value={packageId}
        onChange={({ target }) => setPackageId(target.value)}
        hint={`Now: ${customer.service?.package.name ?? "none"}`}
      >
        <option value="">Choose one</option>
        {data?.packages
          .filter(({ id }) => id !== customer.service?.package.id)
          .map((one) => (
            <option key={one.id} value={one.id}>
              {one.name}, {money(one.price)}
            </option>
          ))}
      </Choice>
      {fetching && <Loading what="the price" />}
      {error && <Failure error={error} again={again} />}
      {quote && !fetching && <Quoted quote={quote} />}
      <Field name="reason" label="Reason" hint="For operators." />
      <Buttons busy={busy}>Change</Buttons>
    </Form>
  );
}

function Quoted({ quote }: { quote: ChangePackageQuoteQuery["changePackageQuote"] }) {
  return (
    <div className="quote" role="status">
      <ul>
        {quote.lines.map((line, place) => (
          <li key={place}>
            <span>
              {line.description}
              {line.explanation && <small>{line.explanation}</small>}
            </span>
            <span>{money(line.amount)}</span>
          </li>
        ))}
      </ul>
      <Facts
        of={[
          ["Tax", money(quote.tax)],
          ["In all", <strong>{money(quote.total)}</strong>],
          ["Next invoice", quote.nextInvoiceOn && day(quote.nextInvoiceOn)],
          ["Holds until", <Instant at={quote.expiresAt} />],
        ]}
      />
      {quote.warnings.map((warning) => (
        <p key={warning} className="warning">
          {warning}
        </p>
      ))}
    </div>
  );
}
