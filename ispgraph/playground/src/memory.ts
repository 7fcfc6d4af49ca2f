// The ids of the answers so far: the last of each kind is what the next operation is about.
// tests/operations.py does the same, and walks the whole collection by it.
import { Store } from "./store";

type Ids = { [kind: string]: string[] };

const KEY = "ispgraph.ids";
const ID = /^[a-z]{3}_[0-9a-f]{32}$/;
const WANTED = /^([a-z]{3})_…( before)?$/;

export const ids = new Store<Ids>(JSON.parse(sessionStorage.getItem(KEY) ?? "{}") as Ids);

export function remember(answer: unknown): void {
  const known = { ...ids.get() };
  for (const value of outermost(answer)) {
    const kind = value.slice(0, 3);
    known[kind] = [value, ...(known[kind] ?? []).filter((one) => one !== value)].slice(0, 2);
  }
  keep(known);
}

export function forget(): void {
  keep({});
}

function keep(known: Ids): void {
  sessionStorage.setItem(KEY, JSON.stringify(known));
  ids.set(known);
}

/** Of each kind of id the one that stands highest. */
function outermost(answer: unknown): string[] {
  const first = new Map<string, string>();
  const waiting = [answer];
  for (let value = waiting.shift(); value !== undefined; value = waiting.shift()) {
    if (typeof value === "string") {
      if (ID.test(value) && !first.has(value.slice(0, 3))) first.set(value.slice(0, 3), value);
    } else if (value !== null && typeof value === "object") {
      waiting.push(...Object.values(value).filter((one) => one !== undefined));
    }
  }
  return [...first.values()];
}

/** Variables with what is remembered in place of `cus_…`; any other `…` is a few characters that are new. */
export function filled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(filled);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, filled(one)]));
  }
  if (typeof value !== "string") return value;
  const wanted = WANTED.exec(value);
  if (!wanted) return value.replaceAll("…", () => fresh());
  return ids.get()[wanted[1] ?? ""]?.[wanted[2] ? 1 : 0] ?? value;
}

/** Whether something is still to be put in. */
export function lacking(value: unknown): boolean {
  return /"[a-z]{3}_…( before)?"/.test(JSON.stringify(value));
}

function fresh(): string {
  return [...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
