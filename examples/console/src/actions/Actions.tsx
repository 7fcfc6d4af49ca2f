// What may be done with a customer is what the API says: `allowedActions`. Here stands only which form asks for it.
import { type ReactNode, useEffect, useRef, useState } from "react";

import type { Customer } from "../customers/CustomerPage";
import { JobProgress } from "../customers/Jobs";
import type { Permission } from "../gql/graphql";
import { Activate, Disconnect, RecordPayment, SetSpeed, Suspend } from "./forms";
import { ChangePackage } from "./ChangePackage";

/** What an action answered: what it promised, and what one may not expect. */
export interface Outcome {
  said: string;
  jobs: readonly { readonly id: string; readonly kind: string }[];
  warnings: readonly string[];
}

export interface ActionProps {
  customer: Customer;
  onDone: (outcome: Outcome) => void;
}

const FORMS = new Map<Permission, [string, (props: ActionProps) => ReactNode]>([
  ["ACTIVATE_CUSTOMERS", ["Activate", Activate]],
  ["SUSPEND_CUSTOMERS", ["Suspend", Suspend]],
  ["DISCONNECT_CUSTOMERS", ["Disconnect", Disconnect]],
  ["CHANGE_PACKAGE", ["Change package", ChangePackage]],
  ["EDIT_SPEED_LIMIT", ["Limit speed", SetSpeed]],
  ["RECORD_PAYMENTS", ["Record payment", RecordPayment]],
]);

export function Actions({ customer, onDone }: { customer: Customer; onDone: () => void }) {
  const [open, setOpen] = useState<Permission>();
  const offered = customer.allowedActions.flatMap((name) => {
    const form = FORMS.get(name);
    return form ? [[name, ...form] as const] : [];
  });
  const [title, Form] = (open && FORMS.get(open)) ?? [];
  return (
    <div className="actions" role="group" aria-label="Actions">
      {offered.map(([name, label]) => (
        <button key={name} type="button" onClick={() => setOpen(name)}>
          {label}
        </button>
      ))}
      {offered.length === 0 && <p className="hint">There is nothing that you may do here now.</p>}
      {Form && title && (
        <Dialog
          title={`${title}: ${customer.name}`}
          onClose={() => {
            setOpen(undefined);
            onDone();
          }}
        >
          {(done) => <Form customer={customer} onDone={done} />}
        </Dialog>
      )}
    </div>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: (done: (outcome: Outcome) => void) => ReactNode;
}

function Dialog({ title, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [outcome, setOutcome] = useState<Outcome>();
  useEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="dialog-title">
      <h2 id="dialog-title">{title}</h2>
      {outcome ? <Done outcome={outcome} close={onClose} /> : children(setOutcome)}
      <button type="button" className="close" aria-label="Close" onClick={onClose}>
        ×
      </button>
    </dialog>
  );
}

function Done({ outcome: { said, jobs, warnings }, close }: { outcome: Outcome; close: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  return (
    <>
      <p className="done" role="status">
        {said}
      </p>
      {warnings.map((warning) => (
        <p key={warning} className="warning">
          {warning}
        </p>
      ))}
      {jobs.map(({ id, kind }) => (
        <JobProgress key={id} id={id} kind={kind} />
      ))}
      <div className="buttons">
        <button type="button" className="primary" ref={button} onClick={close}>
          Done
        </button>
      </div>
    </>
  );
}

export function Buttons({ busy, children }: { busy: boolean; children: string }) {
  return (
    <div className="buttons">
      <button className="primary" disabled={busy}>
        {busy ? "One moment …" : children}
      </button>
    </div>
  );
}
