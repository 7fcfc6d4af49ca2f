import { useQuery } from "urql";

import { Form, Question, text } from "../form";
import { graphql, type FragmentType, read } from "../gql";
import { CustomerDraftSetPackageDocument, PackagesDocument } from "../gql/graphql";
import { Failure, Loading } from "../parts";
import { bytes, days, kbps, money, words } from "../words";
import { Next, type StepProps, useStep } from "./draft";

const PackageOfDraft = graphql(`
  fragment PackageOfDraft on CustomerDraft {
    ...StepOfDraft
    connection {
      type
    }
    package {
      id
    }
  }
`);

export function PackageStep({ draft, onNext }: StepProps<FragmentType<typeof PackageOfDraft>>) {
  const known = read(PackageOfDraft, draft);
  const { save, busy, faults } = useStep(known, "PACKAGE", CustomerDraftSetPackageDocument, onNext);
  const [{ data, error, fetching }, again] = useQuery({
    query: PackagesDocument,
    variables: { connectionType: known.connection?.type ?? null },
  });
  return (
    <Form
      faults={faults}
      busy={busy}
      onSubmit={(form) => void save({ packageId: text(form, "packageId") })}
      label="Package"
    >
      {error && <Failure error={error} again={again} />}
      {!data && fetching && <Loading what="packages" />}
      {data?.packages.length === 0 && <p className="empty small">Nothing is sold for this kind of connection.</p>}
      {data && (
        <Question name="packageId" label="What is on offer">
          <div className="cards">
            {data.packages.map((one) => (
              <label key={one.id} className="option tall">
                <input type="radio" name="packageId" value={one.id} defaultChecked={one.id === known.package?.id} />
                <span>
                  <strong>{one.name}</strong>
                  <span>{money(one.price)}</span>
                  <small>
                    {kbps(one.downloadKbps)} down, {kbps(one.uploadKbps)} up
                  </small>
                  <small>
                    {words(one.billingCycle)}, {days(one.validityDays)}
                    {one.dataQuotaBytes ? `, ${bytes(one.dataQuotaBytes)}` : ""}
                  </small>
                </span>
              </label>
            ))}
          </div>
        </Question>
      )}
      <Next busy={busy} />
    </Form>
  );
}
