import { Choice, Field, Form, maybe, text } from "../form";
import { graphql, type FragmentType, read } from "../gql";
import { CustomerDraftSetPaymentDocument, PaymentMethod } from "../gql/graphql";
import { money, words } from "../words";
import { Next, type StepProps, useStep } from "./draft";

const PaymentOfDraft = graphql(`
  fragment PaymentOfDraft on CustomerDraft {
    ...StepOfDraft
    package {
      name
      price {
        amount
        currency
      }
    }
    payment {
      amount {
        amount
      }
      method
      reference
      notes
    }
    review {
      invoiceTotal {
        amount
        currency
      }
    }
  }
`);

export function PaymentStep({ draft, onNext }: StepProps<FragmentType<typeof PaymentOfDraft>>) {
  const known = read(PaymentOfDraft, draft);
  const { save, busy, faults } = useStep(known, "PAYMENT", CustomerDraftSetPaymentDocument, onNext);
  const total = known.review?.invoiceTotal ?? known.package?.price;
  const submit = (form: FormData) =>
    void save({
      amount: text(form, "amount"),
      method: text(form, "method") as PaymentMethod,
      reference: maybe(form, "reference"),
      notes: maybe(form, "notes"),
    });
  return (
    <Form faults={faults} busy={busy} onSubmit={submit} label="Payment">
      <Field
        name="amount"
        label={total ? `Amount, ${total.currency}` : "Amount"}
        inputMode="decimal"
        defaultValue={known.payment?.amount.amount ?? total?.amount ?? ""}
        hint={total ? `The first invoice comes to ${money(total)}. Nothing is 0.` : "Nothing is 0."}
      />
      <Choice name="method" label="Method" defaultValue={known.payment?.method ?? "CASH"}>
        {Object.values(PaymentMethod).map((value) => (
          <option key={value} value={value}>
            {words(value)}
          </option>
        ))}
      </Choice>
      <Field name="reference" label="Reference" defaultValue={known.payment?.reference ?? ""} />
      <Field name="notes" label="Notes" defaultValue={known.payment?.notes ?? ""} />
      <Next busy={busy} />
    </Form>
  );
}
