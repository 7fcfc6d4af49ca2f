// The forms of the short actions. What is right to fill in, the API says.
import {
  CustomerActivateDocument,
  CustomerDisconnectDocument,
  CustomerRecordAdvancePaymentDocument,
  CustomerSetSpeedLimitDocument,
  CustomerSuspendDocument,
  PaymentMethod,
  SuspendReason,
} from "../gql/graphql";
import { Choice, Field, Form, maybe, text, useAct } from "../form";
import { money, words } from "../words";
import { type ActionProps, Buttons } from "./Actions";

function Options({ of }: { of: { readonly [name: string]: string } }) {
  return Object.values(of).map((value) => (
    <option key={value} value={value}>
      {words(value)}
    </option>
  ));
}

function Notify() {
  return (
    <label className="check">
      <input type="checkbox" name="notify" /> Write to the customer
    </label>
  );
}

export function Suspend({ customer, onDone }: ActionProps) {
  const { act, busy, faults, keyOf } = useAct(CustomerSuspendDocument);
  const submit = async (form: FormData) => {
    const input = {
      customerId: customer.id,
      reason: text(form, "reason") as SuspendReason,
      note: maybe(form, "note"),
      notify: form.has("notify"),
    };
    const answer = await act({ input: { ...input, idempotencyKey: keyOf(input) } });
    if (answer) onDone({ said: "Suspended.", ...answer.customerSuspend });
  };
  return (
    <Form faults={faults} busy={busy} onSubmit={(form) => void submit(form)} label="Suspend">
      <Choice name="reason" label="Reason">
        <Options of={SuspendReason} />
      </Choice>
      <Field name="note" label="Note" hint="For operators." />
      <Notify />
      <Buttons busy={busy}>Suspend</Buttons>
    </Form>
  );
}

export function Activate({ customer, onDone }: ActionProps) {
  const { act, busy, faults, keyOf } = useAct(CustomerActivateDocument);
  const submit = async (form: FormData) => {
    const input = { customerId: customer.id, note: maybe(form, "note"), notify: form.has("notify") };
    const answer = await act({ input: { ...input, idempotencyKey: keyOf(input) } });
    if (answer) onDone({ said: "Activated.", ...answer.customerActivate });
  };
  return (
    <Form faults={faults} busy={busy} onSubmit={(form) => void submit(form)} label="Activate">
      <Field name="note" label="Note" hint="For operators." />
      <Notify />
      <Buttons busy={busy}>Activate</Buttons>
    </Form>
  );
}

export function Disconnect({ customer, onDone }: ActionProps) {
  const { act, busy, faults, keyOf } = useAct(CustomerDisconnectDocument);
  const submit = async () => {
    const input = { customerId: customer.id };
    const answer = await act({ input: { ...input, idempotencyKey: keyOf(input) } });
    if (answer) onDone({ said: "The open sessions are being ended.", ...answer.customerDisconnect });
  };
  return (
    <Form faults={faults} busy={busy} onSubmit={() => void submit()} label="Disconnect">
      <p>Ends the open sessions. Who may be on line can dial in again at once.</p>
      <Buttons busy={busy}>Disconnect</Buttons>
    </Form>
  );
}

export function SetSpeed({ customer, onDone }: ActionProps) {
  const { act, busy, faults, keyOf } = useAct(CustomerSetSpeedLimitDocument);
  const policy = customer.service?.effectivePolicy;
  const submit = async (form: FormData) => {
    const input = {
      customerId: customer.id,
      downloadKbps: Number(text(form, "downloadKbps")),
      uploadKbps: Number(text(form, "uploadKbps")),
    };
    const answer = await act({ input: { ...input, idempotencyKey: keyOf(input) } });
    if (answer) onDone({ said: "The limit is set.", ...answer.customerSetSpeedLimit });
  };
  return (
    <Form faults={faults} busy={busy} onSubmit={(form) => void submit(form)} label="Limit speed">
      <Field name="downloadKbps" label="Download, kbit/s" type="number" defaultValue={policy?.downloadKbps ?? ""} />
      <Field name="uploadKbps" label="Upload, kbit/s" type="number" defaultValue={policy?.uploadKbps ?? ""} />
      <Buttons busy={busy}>Set the limit</Buttons>
    </Form>
  );
}

export function RecordPayment({ customer, onDone }: ActionProps) {
  const { act, busy, faults, keyOf } = useAct(CustomerRecordAdvancePaymentDocument);
  const submit = async (form: FormData) => {
    const input = {
      customerId: customer.id,
      amount: text(form, "amount"),
      method: text(form, "method") as PaymentMethod,
      reference: maybe(form, "reference"),
      notes: maybe(form, "notes"),
    };
    const answer = await act({ input: { ...input, idempotencyKey: keyOf(input) } });
    const { payment } = answer?.customerRecordAdvancePayment ?? {};
    if (payment) onDone({ said: `${payment.number}: ${money(payment.amount)} is recorded.`, jobs: [], warnings: [] });
  };
  return (
    <Form faults={faults} busy={busy} onSubmit={(form) => void submit(form)} label="Record payment">
      <Field
        name="amount"
        label={`Amount, ${customer.balance.currency}`}
        inputMode="decimal"
        defaultValue={customer.amountDue.amount}
        hint={`${money(customer.amountDue)} is due. What is more goes into the wallet.`}
      />
      <Choice name="method" label="Method">
        <Options of={PaymentMethod} />
      </Choice>
      <Field name="reference" label="Reference" />
      <Field name="notes" label="Notes" />
      <Buttons busy={busy}>Record</Buttons>
    </Form>
  );
}
