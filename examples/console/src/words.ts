// How what the API says is written for people. What it means is not decided here.

interface Amount {
  readonly amount: string;
  readonly currency: string;
}

const ABBREVIATIONS = new Map(
  ["COA", "IP", "MAC", "NAK", "ACK", "RADIUS", "SMS", "SQL", "FUP"].map((word) => [word.toLowerCase(), word]),
)
  .set("pppoe", "PPPoE")
  .set("routeros", "RouterOS")
  .set("coa", "CoA");

/** A value of an enum, or the kind of a job, as words: PARTIALLY_PAID is "Partially paid". */
export function words(value: string): string {
  const text = value.toLowerCase().replaceAll(/[_.]/g, " ").split(" ");
  const written = text.map((word) => ABBREVIATIONS.get(word) ?? word).join(" ");
  return written.charAt(0).toUpperCase() + written.slice(1);
}

/** An amount is a text of digits from the API to the page: no number of JavaScript holds all of them. */
export function money({ amount, currency }: Amount): string {
  const digits = amount.split(".")[1]?.length ?? 0;
  const format = new Intl.NumberFormat(undefined, {
    style: "currency",
    currency,
    currencyDisplay: "code",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return format.format(amount as `${number}`);
}

const UNITS = ["", "k", "M", "G", "T", "P"];

function scaled(value: number, unit: string): string {
  let power = 0;
  while (Math.abs(value) >= 1000 && power < UNITS.length - 1) {
    value /= 1000;
    power += 1;
  }
  const digits = power === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toLocaleString(undefined, { maximumFractionDigits: digits })} ${UNITS[power] ?? ""}${unit}`;
}

export const bytes = (value: string): string => scaled(Number(value), "B");
export const bitsPerSecond = (value: number | string): string => scaled(Number(value), "bit/s");
export const kbps = (value: number): string => scaled(value * 1000, "bit/s");

export function duration(seconds: number): string {
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min` : `${seconds} s`;
}

/** A day without a time, which is the same everywhere. */
export function day(value: string): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" }).format(
    new Date(`${value}T00:00:00Z`),
  );
}

/** An instant in the provider's time zone. */
export function instant(value: string, timeZone: string): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short", timeZone }).format(
    new Date(value),
  );
}

export const days = (count: number): string => (count === 1 ? "1 day" : `${count.toLocaleString()} days`);
