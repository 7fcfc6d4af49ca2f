// A draft as the wizard reads it, and how a step of it is saved.
import { type TypedDocumentNode, useClient } from "urql";

import { useAct } from "../form";
import { graphql, type FragmentType, read } from "../gql";
import { WizardStep } from "../gql/graphql";

export const DraftInWizard = graphql(`
  query DraftInWizard($id: ID!) {
    customerDraft(id: $id) {
      id
      version
      status
      currentStep
      completedSteps
      progressPercent
      expiresAt
      customer {
        id
        name
      }
      ...BasicsOfDraft
      ...ConnectionOfDraft
      ...PackageOfDraft
      ...AddressOfDraft
      ...AnswersOfDraft
      ...PaymentOfDraft
      ...ReviewOfDraft
    }
  }
`);

export const StepOfDraft = graphql(`
  fragment StepOfDraft on CustomerDraft {
    id
    version
    completedSteps
  }
`);

export const STEPS = Object.values(WizardStep);

export interface StepProps<Draft> {
  draft: Draft;
  onNext: () => void;
}

interface Saved {
  readonly draftId: string | number;
  readonly expectedVersion?: number | null | undefined;
}

interface Payload {
  readonly draft: { readonly version: number } | null;
}

/** Save a step, and go on with the draft as it then is. What is done and was not touched is not saved again. */
export function useStep<Data extends { readonly [root: string]: Payload }, Input extends Saved>(
  draft: FragmentType<typeof StepOfDraft>,
  step: WizardStep,
  document: TypedDocumentNode<Data, { input: Input }>,
  onNext: () => void,
) {
  const { id, version, completedSteps } = read(StepOfDraft, draft);
  const client = useClient();
  const { act, busy, faults } = useAct(document);
  const save = async (filled: Omit<Input, keyof Saved>, touched = true) => {
    if (touched || !completedSteps.includes(step)) {
      const input = { ...filled, draftId: id, expectedVersion: version } as Input;
      const answer = await act({ input });
      if (!answer) return;
      const saved = Math.max(...Object.values(answer).map(({ draft }) => draft?.version ?? 0));
      // A reading may be under way that began before the saving: the next step begins with what was saved.
      for (;;) {
        const { data } = await client.query(DraftInWizard, { id }, { requestPolicy: "network-only" }).toPromise();
        if (!data?.customerDraft || data.customerDraft.version >= saved) break;
      }
    }
    onNext();
  };
  return { save, busy, faults };
}

export function Next({ busy }: { busy: boolean }) {
  return (
    <div className="buttons">
      <button className="primary" disabled={busy}>
        {busy ? "Saving …" : "Save and go on"}
      </button>
    </div>
  );
}
