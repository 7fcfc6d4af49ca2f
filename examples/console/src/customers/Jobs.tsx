// What was promised for the customer, and how far it is, told by the API as it goes on.
import { useEffect, useState } from "react";
import { useSubscription } from "urql";

import { JobUpdatedDocument, type JobUpdatedSubscription } from "../gql/graphql";
import { Section, State } from "../parts";
import { Instant } from "../viewer";
import { words } from "../words";
import type { Customer } from "./CustomerPage";

type Told = JobUpdatedSubscription["jobUpdated"];
type Known = Customer["jobs"]["nodes"][number];

/** Jobs that were told of, the latest state of each, in the order in which they were first heard of. */
export function useJobs(variables: { jobId: string } | { customerId: string }): readonly Told[] {
  const [jobs, setJobs] = useState<readonly Told[]>([]);
  const [{ data }] = useSubscription({ query: JobUpdatedDocument, variables });
  const job = data?.jobUpdated;
  useEffect(() => {
    if (!job) return;
    setJobs((before) =>
      before.some(({ id }) => id === job.id) ? before.map((one) => (one.id === job.id ? job : one)) : [job, ...before],
    );
  }, [job]);
  return jobs;
}

export function Jobs({ customerId, known }: { customerId: string; known: readonly Known[] }) {
  const told = useJobs({ customerId });
  const began = new Map(known.map(({ id, createdAt }) => [id, createdAt]));
  const rest = known.filter(({ id }) => !told.some((one) => one.id === id));
  const all = [...told, ...rest].slice(0, 6);
  return (
    <Section title="Jobs">
      {all.length === 0 ? (
        <p className="empty small">Nothing was to be done yet.</p>
      ) : (
        <ul className="jobs" aria-live="polite">
          {all.map((job) => (
            <li key={job.id}>
              <strong>{words(job.kind)}</strong> <State of={job.status} />
              {job.message && <p>{job.message}</p>}
              {began.has(job.id) && (
                <small>
                  <Instant at={began.get(job.id) ?? ""} />
                </small>
              )}
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

/** One job from what an action answered to its end. */
export function JobProgress({ id, kind }: { id: string; kind: string }) {
  const [job] = useJobs({ jobId: id });
  const over = job?.finishedAt != null;
  const { progressDone: done, progressTotal: total } = job ?? {};
  return (
    <div className="progress" role="group" aria-label={words(kind)} aria-busy={!over}>
      <p role="status">
        {!over && <span className="spinner" aria-hidden="true" />}
        <strong>{words(kind)}</strong> <State of={job?.status ?? "QUEUED"} />
      </p>
      {done != null && total != null && total > 0 && (
        <progress value={done} max={total} aria-label={`${done} of ${total}`} />
      )}
      {job?.message && <p>{job.message}</p>}
      {job?.__typename === "NetworkJob" && job.steps.length > 0 && (
        <ol className="steps">
          {job.steps.map((step, place) => (
            <li key={place}>
              {words(step.protocol)} <State of={step.outcome} /> {step.detail && <small>{step.detail}</small>}
            </li>
          ))}
        </ol>
      )}
    </div>
  );
}
