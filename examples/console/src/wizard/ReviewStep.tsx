import { useState } from "react";

import { JobProgress } from "../customers/Jobs";
import { Form, useAct } from "../form";
import { graphql, type FragmentType, read } from "../gql";
import { CustomerDraftConfirmDocument, type CustomerDraftConfirmMutation } from "../gql/graphql";
import { Facts, State } from "../parts";
import { href } from "../route";
import { Instant } from "../viewer";
import { money, words } from "../words";
import type { StepProps } from "./draft";

const ReviewOfDraft = graphql(`
  fragment ReviewOfDraft on CustomerDraft {
    id
    name
    customer {
      id
      name
    }
    basics {
      mobile
      email
    }
    connection {
      type
    }
    package {
      name
    }
    address {
      street
      city
    }
    payment {
      amount {
        amount
        currency
      }
      method
    }
    review {
      ready
      missing {
        message
        field
      }
      username
      lines {
        description
        amount {
          amount
          currency
        }
      }
      invoiceTotal {
        amount
        currency
      }
      invoiceStatusAfter
      walletAfter {
        amount
        currency
      }
      expiresAt
    }
  }
`);

type Made = CustomerDraftConfirmMutation["customerDraftConfirm"];

export function ReviewStep({ draft }: StepProps<FragmentType<typeof ReviewOfDraft>>) {
  const { id, name, customer, basics, connection, address, payment, review, ...known } = read(ReviewOfDraft, draft);
  const { act, busy, faults, keyOf } = useAct(CustomerDraftConfirmDocument);
  const [made, setMade] = useState<Made>();
  const confirm = async () => {
    const input = { draftId: id };
    const answer = await act({ input: { ...input, idempotencyKey: keyOf(input) } });
    if (answer) setMade(answer.customerDraftConfirm);
  };
  if (made) return <NewCustomer made={made} />;
  if (customer) {
    return (
      <p>
        This customer is made: <a href={href(`customers/${customer.id}`)}>{customer.name}</a>
      </p>
    );
  }
  return (
    <Form faults={faults} busy={busy} onSubmit={() => void confirm()} label="Review">
      <Facts
        of={[
          ["Name", name],
          ["Mobile", basics?.mobile],
          ["E-mail", basics?.email],
          ["Connection", connection && words(connection.type)],
          ["Username", review?.username],
          ["Package", known.package?.name],
          ["Address", address && [address.street, address.city].filter(Boolean).join(", ")],
          ["Paid now", payment && `${money(payment.amount)}, ${words(payment.method)}`],
        ]}
      />
      {review && (
        <>
          <h3>What confirming does</h3>
          <Facts
            of={[
              ...review.lines.map((line): [string, string] => [line.description, money(line.amount)]),
              [
                "Invoice",
                <>
                  <strong>{money(review.invoiceTotal)}</strong> <State of={review.invoiceStatusAfter} />
                </>,
              ],
              ["Wallet after", money(review.walletAfter)],
              ["Ends", review.expiresAt && <Instant at={review.expiresAt} />],
            ]}
          />
          {review.missing.length > 0 && (
            <div className="warning">
              <p>Something is missing:</p>
              <ul>
                {review.missing.map(({ message, field }, place) => (
                  <li key={place}>
                    {field && `${words(field.at(-1) ?? "")}: `}
                    {message}
                  </li>
                ))}
              </ul>
            </div>
          )}
        </>
      )}
      {!review && <p className="warning">The steps before are not complete yet.</p>}
      <div className="buttons">
        <button className="primary" disabled={busy}>
          {busy ? "One moment …" : "Make the customer"}
        </button>
      </div>
    </Form>
  );
}

function NewCustomer({ made: { customer, invoice, payment, credentials, jobs } }: { made: Made }) {
  return (
    <div>
      <p className="done" role="status">
        {customer?.name} is a customer.
      </p>
      <Facts
        of={[
          ["Account", customer?.accountNumber],
          [
            "Invoice",
            invoice && (
              <>
                {invoice.number}, {money(invoice.total)} <State of={invoice.status} />
              </>
            ),
          ],
          ["Payment", payment && `${payment.number}, ${money(payment.amount)}`],
          ["Username", credentials?.username],
          ["Password", credentials && <code>{credentials.password}</code>],
        ]}
      />
      {credentials && <p className="warning">The password is shown this once.</p>}
      {jobs.map(({ id, kind }) => (
        <JobProgress key={id} id={id} kind={kind} />
      ))}
      <div className="buttons">
        {customer && (
          <a className="button primary" href={href(`customers/${customer.id}`)}>
            Open the customer
          </a>
        )}
      </div>
    </div>
  );
}
