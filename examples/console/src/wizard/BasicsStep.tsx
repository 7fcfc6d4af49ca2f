import { Field, Form, maybe, text } from "../form";
import { graphql, type FragmentType, read } from "../gql";
import { CustomerDraftSetBasicsDocument } from "../gql/graphql";
import { Next, type StepProps, useStep } from "./draft";

const BasicsOfDraft = graphql(`
  fragment BasicsOfDraft on CustomerDraft {
    ...StepOfDraft
    basics {
      name
      mobile
      email
    }
  }
`);

export function BasicsStep({ draft, onNext }: StepProps<FragmentType<typeof BasicsOfDraft>>) {
  const known = read(BasicsOfDraft, draft);
  const { save, busy, faults } = useStep(known, "BASICS", CustomerDraftSetBasicsDocument, onNext);
  const submit = (form: FormData) =>
    void save({ name: text(form, "name"), mobile: text(form, "mobile"), email: maybe(form, "email") });
  return (
    <Form faults={faults} busy={busy} onSubmit={submit} label="Basics">
      <Field name="name" label="Name" defaultValue={known.basics?.name} />
      <Field name="mobile" label="Mobile number" type="tel" inputMode="tel" defaultValue={known.basics?.mobile} />
      <Field name="email" label="E-mail" type="email" defaultValue={known.basics?.email ?? ""} />
      <Next busy={busy} />
    </Form>
  );
}
