// The live meter: what the router says every other second, for as long as the page is open.
import { useEffect, useState } from "react";
import { useSubscription } from "urql";

import { connected } from "../client";
import { LiveUsageDocument, type LiveUsageSubscription } from "../gql/graphql";
import { Facts, Section } from "../parts";
import { useStore } from "../store";
import { Instant } from "../viewer";
import { bitsPerSecond, bytes, words } from "../words";

type Reading = LiveUsageSubscription["liveUsage"];

const KEPT = 60;

export function Live({ customerId }: { customerId: string }) {
  const [readings, setReadings] = useState<readonly Reading[]>([]);
  const [{ data, error }] = useSubscription({
    query: LiveUsageDocument,
    variables: { customerId, intervalSeconds: 2 },
  });
  const open = useStore(connected);
  const latest = data?.liveUsage;
  useEffect(() => {
    if (latest) setReadings((before) => [...before, latest].slice(-KEPT));
  }, [latest]);
  return (
    <Section
      title="Live"
      aside={
        <span className="aside">{error || !open ? "Reconnecting …" : latest ? words(latest.source) : "Asking …"}</span>
      }
    >
      {latest?.online ? (
        <Meter latest={latest} readings={readings} />
      ) : (
        <p className="empty small">{latest ? "Not on line." : "Waiting for the first reading …"}</p>
      )}
    </Section>
  );
}

function Meter({ latest, readings }: { latest: Reading; readings: readonly Reading[] }) {
  return (
    <>
      <div className="meter">
        <p>
          <small>Download</small>
          <strong data-testid="down">{bitsPerSecond(latest.downloadBps)}</strong>
        </p>
        <p>
          <small>Upload</small>
          <strong>{bitsPerSecond(latest.uploadBps)}</strong>
        </p>
      </div>
      <Trace readings={readings} />
      <Facts
        of={[
          ["Carried", `${bytes(latest.downloadBytes)} down, ${bytes(latest.uploadBytes)} up`],
          ["Address", latest.session?.ipAddress],
          ["Since", latest.session && <Instant at={latest.session.startedAt} />],
        ]}
      />
    </>
  );
}

function Trace({ readings }: { readings: readonly Reading[] }) {
  const most = Math.max(1, ...readings.flatMap((one) => [Number(one.downloadBps), Number(one.uploadBps)]));
  const line = (of: "downloadBps" | "uploadBps") =>
    readings
      .map((one, place) => `${KEPT - readings.length + place},${(39 - (Number(one[of]) / most) * 37).toFixed(2)}`)
      .join(" ");
  return (
    <svg
      className="trace"
      viewBox={`0 0 ${KEPT - 1} 40`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`The last ${KEPT * 2} seconds, at most ${bitsPerSecond(most)}`}
    >
      <polyline className="down" points={line("downloadBps")} />
      <polyline className="up" points={line("uploadBps")} />
    </svg>
  );
}
