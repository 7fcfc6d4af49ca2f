import { useQuery } from "urql";

import { Choice, Field, Form, maybe } from "../form";
import { graphql, type FragmentType, read } from "../gql";
import { CustomerDraftSetCustomFieldsDocument, CustomFieldsDocument, type CustomFieldsQuery } from "../gql/graphql";
import { Failure, Loading } from "../parts";
import { Next, type StepProps, useStep } from "./draft";

const AnswersOfDraft = graphql(`
  fragment AnswersOfDraft on CustomerDraft {
    ...StepOfDraft
    customFields {
      field {
        key
      }
      value
    }
  }
`);

type Asked = CustomFieldsQuery["customFields"][number];

/** As JSON, in the type that the question has; what is no number goes as it is, and is refused in words. */
function answer({ type }: Asked, given: string | null): unknown {
  if (given === null) return null;
  if (type === "BOOLEAN") return given === "true";
  const number = Number(given);
  return type === "NUMBER" && Number.isFinite(number) ? number : given;
}

export function CustomFieldsStep({ draft, onNext }: StepProps<FragmentType<typeof AnswersOfDraft>>) {
  const known = read(AnswersOfDraft, draft);
  const { save, busy, faults } = useStep(known, "CUSTOM_FIELDS", CustomerDraftSetCustomFieldsDocument, onNext);
  const [{ data, error }, again] = useQuery({ query: CustomFieldsDocument });
  if (!data) return error ? <Failure error={error} again={again} /> : <Loading what="the questions" />;
  const asked = data.customFields;
  const submit = (form: FormData) =>
    void save({
      values: asked.map((field, place) => ({ key: field.key, value: answer(field, maybe(form, `values.${place}`)) })),
    });
  return (
    <Form faults={faults} busy={busy} onSubmit={submit} label="Custom fields">
      {asked.length === 0 && <p className="empty small">There are no further questions.</p>}
      {asked.map((field, place) => {
        const value = known.customFields.find((one) => one.field.key === field.key)?.value;
        return (
          <Answer
            key={field.key}
            name={`values.${place}`}
            asked={field}
            value={value === null || value === undefined ? "" : String(value)}
          />
        );
      })}
      <Next busy={busy} />
    </Form>
  );
}

const INPUTS: { [type: string]: string } = { NUMBER: "number", DATE: "date" };

function Answer({ name, asked, value }: { name: string; asked: Asked; value: string }) {
  const label = asked.required ? asked.label : `${asked.label} (may be empty)`;
  if (asked.type === "SELECT" || asked.type === "BOOLEAN") {
    const options =
      asked.type === "SELECT"
        ? asked.options.map((one) => [one, one])
        : [
            ["true", "Yes"],
            ["false", "No"],
          ];
    return (
      <Choice name={name} label={label} defaultValue={value}>
        <option value="" />
        {options.map(([given, shown]) => (
          <option key={given} value={given}>
            {shown}
          </option>
        ))}
      </Choice>
    );
  }
  return <Field name={name} label={label} type={INPUTS[asked.type] ?? "text"} step="any" defaultValue={value} />;
}
