// The wizard: seven steps, each kept by the API as it is saved. Which is next, and which are done, the API says.
import { useEffect, useRef } from "react";
import { useQuery } from "urql";

import type { WizardStep } from "../gql/graphql";
import { Failure, Loading } from "../parts";
import { go, href, useRoute, useTitle } from "../route";
import { Instant } from "../viewer";
import { words } from "../words";
import { AddressStep } from "./AddressStep";
import { BasicsStep } from "./BasicsStep";
import { ConnectionStep } from "./ConnectionStep";
import { CustomFieldsStep } from "./CustomFieldsStep";
import { DraftInWizard, STEPS } from "./draft";
import { PackageStep } from "./PackageStep";
import { PaymentStep } from "./PaymentStep";
import { ReviewStep } from "./ReviewStep";

export function Wizard({ id }: { id: string }) {
  useTitle("New customer");
  const { query } = useRoute();
  const [{ data, error, fetching }, again] = useQuery({
    query: DraftInWizard,
    variables: { id },
    requestPolicy: "cache-and-network",
  });
  const draft = data?.customerDraft;
  const asked = STEPS.find((one) => one === query.get("step"));
  const step = asked ?? draft?.currentStep;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [step]);
  if (!draft || !step) {
    return (
      <>
        <h1>New customer</h1>
        {error && <Failure error={error} again={again} />}
        {fetching && <Loading what="what was filled in" />}
        {data && !error && (
          <p className="empty">
            This creation is no more. <a href={href("new")}>See what there is to go on with</a>
          </p>
        )}
      </>
    );
  }
  const at = STEPS.indexOf(step);
  const to = (next: WizardStep) => go(`new/${id}`, new URLSearchParams({ step: next }));
  const next = () => to(STEPS[at + 1] ?? step);
  const Step = FORMS[step];
  const over = draft.customer ?? null;
  return (
    <div className="wizard">
      <div className="head">
        <h1>New customer</h1>
        <span className="aside">
          Kept until <Instant at={draft.expiresAt} />
        </span>
      </div>
      <nav aria-label="Steps">
        <ol className="stepper">
          {STEPS.map((one, place) => (
            <li key={one} data-done={draft.completedSteps.includes(one)}>
              <a
                href={href(`new/${id}`, new URLSearchParams({ step: one }))}
                aria-current={one === step ? "step" : undefined}
              >
                <span aria-hidden="true">{draft.completedSteps.includes(one) ? "✓" : place + 1}</span>
                <span className="name">{words(one)}</span>
                {draft.completedSteps.includes(one) && <span className="hidden">, done</span>}
              </a>
            </li>
          ))}
        </ol>
      </nav>
      <progress value={draft.progressPercent} max={100} aria-label={`${draft.progressPercent} % done`} />
      <section className="card" aria-labelledby="step">
        <h2 id="step" ref={heading} tabIndex={-1}>
          {at + 1} of {STEPS.length}: {words(step)}
        </h2>
        {over && step !== "REVIEW" ? (
          <p>
            This customer is made: <a href={href(`customers/${over.id}`)}>{over.name}</a>
          </p>
        ) : (
          <Step key={step} draft={draft} onNext={next} />
        )}
      </section>
      {at > 0 && !over && (
        <p>
          <a href={href(`new/${id}`, new URLSearchParams({ step: STEPS[at - 1] ?? step }))}>
            ← {words(STEPS[at - 1] ?? step)}
          </a>
        </p>
      )}
    </div>
  );
}

const FORMS = {
  BASICS: BasicsStep,
  CONNECTION: ConnectionStep,
  PACKAGE: PackageStep,
  ADDRESS: AddressStep,
  CUSTOM_FIELDS: CustomFieldsStep,
  PAYMENT: PaymentStep,
  REVIEW: ReviewStep,
};
