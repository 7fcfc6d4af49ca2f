import { useQuery } from "urql";

import { Choice, Field, Form, maybe, text } from "../form";
import { graphql, type FragmentType, read } from "../gql";
import { CustomerDraftSetAddressDocument, ZonesDocument } from "../gql/graphql";
import { Next, type StepProps, useStep } from "./draft";

const AddressOfDraft = graphql(`
  fragment AddressOfDraft on CustomerDraft {
    ...StepOfDraft
    address {
      street
      city
      state
      postalCode
      country
    }
    zone {
      id
    }
  }
`);

export function AddressStep({ draft, onNext }: StepProps<FragmentType<typeof AddressOfDraft>>) {
  const known = read(AddressOfDraft, draft);
  const { save, busy, faults } = useStep(known, "ADDRESS", CustomerDraftSetAddressDocument, onNext);
  const [{ data }] = useQuery({ query: ZonesDocument });
  const submit = (form: FormData) =>
    void save({
      address: {
        street: text(form, "address.street"),
        city: maybe(form, "address.city"),
        state: maybe(form, "address.state"),
        postalCode: maybe(form, "address.postalCode"),
        country: maybe(form, "address.country"),
      },
      zoneId: maybe(form, "zoneId"),
    });
  return (
    <Form faults={faults} busy={busy} onSubmit={submit} label="Address">
      <Field name="address.street" label="Street" defaultValue={known.address?.street} />
      <div className="pair">
        <Field name="address.city" label="City" defaultValue={known.address?.city ?? ""} />
        <Field name="address.state" label="State" defaultValue={known.address?.state ?? ""} />
        <Field name="address.postalCode" label="Postal code" defaultValue={known.address?.postalCode ?? ""} />
        <Field name="address.country" label="Country" defaultValue={known.address?.country ?? ""} />
      </div>
      {data && (
        <Choice name="zoneId" label="Zone" defaultValue={known.zone?.id ?? ""}>
          <option value="">None</option>
          {data.zones.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </Choice>
      )}
      <Next busy={busy} />
    </Form>
  );
}
