// Creations: one to begin, and those that were begun, here or elsewhere, to go on with.
import { useQuery } from "urql";

import { CustomerDraftCancelDocument, CustomerDraftsDocument, CustomerDraftStartDocument } from "../gql/graphql";
import { useAct } from "../form";
import { Failure, Loading, Section, State } from "../parts";
import { go, href, useTitle } from "../route";
import { Instant } from "../viewer";
import { words } from "../words";

export function Drafts() {
  useTitle("New customer");
  const [{ data, error, fetching }, again] = useQuery({
    query: CustomerDraftsDocument,
    variables: { mine: false, status: ["DRAFT", "PARTIAL", "FAILED"] },
    requestPolicy: "cache-and-network",
  });
  const start = useAct(CustomerDraftStartDocument);
  const cancel = useAct(CustomerDraftCancelDocument);
  const begin = async () => {
    const answer = await start.act({});
    if (answer?.customerDraftStart.draft) go(`new/${answer.customerDraftStart.draft.id}`);
  };
  const faults = [...start.faults, ...cancel.faults];
  return (
    <>
      <div className="head">
        <h1>New customer</h1>
        <button type="button" className="primary" disabled={start.busy} onClick={() => void begin()}>
          Begin
        </button>
      </div>
      {faults.length > 0 && (
        <div className="alert" role="alert">
          {faults.map(({ message }) => (
            <p key={message}>{message}</p>
          ))}
        </div>
      )}
      <Section title="To go on with">
        {error && <Failure error={error} again={again} />}
        {!data && fetching && <Loading what="what was begun" />}
        {data?.customerDrafts.nodes.length === 0 && (
          <p className="empty small">Nothing is half done. What you begin is kept for a day, on every device.</p>
        )}
        <ul className="drafts">
          {data?.customerDrafts.nodes.map((draft) => (
            <li key={draft.id}>
              <div>
                <a href={href(`new/${draft.id}`)}>{draft.name || "Without a name yet"}</a> <State of={draft.status} />
                <small>
                  {words(draft.currentStep)} is next; {draft.lastModifiedBy.name}, <Instant at={draft.updatedAt} />
                </small>
              </div>
              <progress value={draft.progressPercent} max={100} aria-label={`${draft.progressPercent} % done`} />
              <button
                type="button"
                disabled={cancel.busy}
                aria-label={`Give up: ${draft.name || "without a name yet"}`}
                onClick={() => void cancel.act({ input: { draftId: draft.id } })}
              >
                Give up
              </button>
            </li>
          ))}
        </ul>
      </Section>
    </>
  );
}
