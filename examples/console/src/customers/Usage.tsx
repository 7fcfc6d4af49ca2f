// Usage by day, hour or month, as bars and as a table.
import { useState } from "react";
import { useQuery } from "urql";

import { CustomerUsageDocument, type CustomerUsageQuery, UsageGranularity } from "../gql/graphql";
import { Failure, Loading, Section } from "../parts";
import { useViewer } from "../viewer";
import { bytes, duration, words } from "../words";
import { useSessionChanges } from "./Sessions";

type Found = NonNullable<CustomerUsageQuery["customer"]>["usage"];

const DETAIL: { [by in UsageGranularity]: Intl.DateTimeFormatOptions } = {
  HOUR: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  DAY: { day: "numeric", month: "short" },
  MONTH: { month: "short", year: "numeric" },
};

const HOUR = 3_600_000;

/** Where the chart begins: a day of hours, the month's days as the API has it, a year of months. */
function beginning(by: UsageGranularity): string | null {
  if (by === "DAY") return null;
  const back = by === "HOUR" ? 24 * HOUR : 365 * 24 * HOUR;
  return new Date(Math.floor((Date.now() - back) / HOUR) * HOUR).toISOString();
}

export function Usage({ customerId }: { customerId: string }) {
  const [granularity, setGranularity] = useState<UsageGranularity>("DAY");
  const [{ data, error, fetching, operation }, again] = useQuery({
    query: CustomerUsageDocument,
    variables: { id: customerId, from: beginning(granularity), granularity },
    requestPolicy: "cache-and-network",
  });
  useSessionChanges(customerId, () => again({ requestPolicy: "network-only" }));
  // While another stretch is asked for, the answer at hand is still the one before.
  const usage = operation?.variables.granularity === granularity ? data?.customer?.usage : undefined;
  const choice = (
    <div className="choice" role="group" aria-label="By">
      {Object.values(UsageGranularity).map((value) => (
        <button key={value} type="button" aria-pressed={value === granularity} onClick={() => setGranularity(value)}>
          {words(value)}
        </button>
      ))}
    </div>
  );
  return (
    <Section title="Usage" aside={choice}>
      {error && <Failure error={error} again={again} />}
      {!usage && fetching && <Loading what="usage" />}
      {usage &&
        (usage.points.length > 0 ? (
          <Chart usage={usage} by={granularity} />
        ) : (
          <p className="empty small">Nothing was used yet.</p>
        ))}
    </Section>
  );
}

function Chart({ usage, by }: { usage: Found; by: UsageGranularity }) {
  const { tenant } = useViewer();
  const format = new Intl.DateTimeFormat(undefined, { ...DETAIL[by], timeZone: tenant.timeZone });
  const name = (start: string) => format.format(new Date(start));
  const bars = usage.points.map((point) => ({
    ...point,
    name: name(point.start),
    down: Number(point.downloadBytes),
    up: Number(point.uploadBytes),
  }));
  const most = Math.max(1, ...bars.map(({ down, up }) => down + up));
  const used =
    usage.usedPercent == null
      ? ""
      : `, ${usage.usedPercent.toLocaleString(undefined, { maximumFractionDigits: 1 })} % of the quota`;
  return (
    <>
      <p className="sum">
        <strong>{bytes(usage.totalBytes)}</strong> in {duration(usage.seconds)}
        {used}
      </p>
      <div
        className="bars"
        role="img"
        aria-label={`Bars of usage, at most ${bytes(String(most))}; the table below says the same`}
      >
        {bars.map(({ start, down, up, ...bar }) => (
          <span key={start} title={`${bar.name}: ${bytes(bar.downloadBytes)} down, ${bytes(bar.uploadBytes)} up`}>
            <i className="up" style={{ height: `${(up / most) * 100}%` }} />
            <i className="down" style={{ height: `${(down / most) * 100}%` }} />
          </span>
        ))}
      </div>
      <p className="ends" aria-hidden="true">
        <span>{bars[0]?.name}</span>
        <span className="key">
          <i className="down" /> Download <i className="up" /> Upload
        </span>
        <span>{bars.length > 1 ? bars.at(-1)?.name : ""}</span>
      </p>
      <details>
        <summary>As a table</summary>
        <div className="scroll" tabIndex={0} role="region" aria-label="Usage as a table">
          <table className="plain">
            <thead>
              <tr>
                <th scope="col">{words(by)}</th>
                <th scope="col">Download</th>
                <th scope="col">Upload</th>
              </tr>
            </thead>
            <tbody>
              {bars.map((bar) => (
                <tr key={bar.start}>
                  <th scope="row">{bar.name}</th>
                  <td>{bytes(bar.downloadBytes)}</td>
                  <td>{bytes(bar.uploadBytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </>
  );
}
