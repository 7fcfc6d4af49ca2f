// Forms whose rules are the API's: what it refuses is written beside the field that it names.
import {
  createContext,
  type FormEvent,
  type InputHTMLAttributes,
  type ReactNode,
  type SelectHTMLAttributes,
  useCallback,
  useContext,
  useEffect,
  useId,
  useRef,
  useState,
} from "react";
import { type AnyVariables, type CombinedError, type TypedDocumentNode, useClient } from "urql";

/** What the schema calls a UserError. */
export interface Fault {
  readonly message: string;
  readonly field?: readonly string[] | null;
}

interface Payload {
  readonly errors: readonly Fault[];
}

type Answer = { readonly __typename?: unknown } & { readonly [root: string]: unknown };

/** A value that is no Decimal, or no date, is refused before anything is carried out, and named in words. */
function misread(message: string): Fault | null {
  const found = /^Variable '\$(\w+)' has invalid value at ([\w.[\]]+): (.+)$/s.exec(message);
  if (!found) return null;
  const [, variable = "", path = "", why = ""] = found;
  return { message: why, field: [variable, ...path.split(/[.[\]]+/).filter((part) => part !== "")] };
}

export function faultsOf(error: CombinedError): Fault[] {
  if (error.networkError) return [{ message: "The API cannot be reached. Nothing is lost: try again." }];
  return error.graphQLErrors.map(({ message }) => misread(message) ?? { message });
}

/** One effect, asked for once: the same input again has the same key, and another input has another. */
function useKey(): (input: unknown) => string {
  const last = useRef({ input: "", key: "" });
  return useCallback((input) => {
    const text = JSON.stringify(input);
    if (last.current.input !== text) {
      const random = [...crypto.getRandomValues(new Uint8Array(16))];
      last.current = { input: text, key: random.map((byte) => byte.toString(16).padStart(2, "0")).join("") };
    }
    return last.current.key;
  }, []);
}

/** A mutation with what became of it. `act` answers the data when nothing was wrong. */
export function useAct<Data extends Answer, Variables extends AnyVariables>(
  document: TypedDocumentNode<Data, Variables>,
) {
  const client = useClient();
  const [busy, setBusy] = useState(false);
  const [faults, setFaults] = useState<readonly Fault[]>([]);
  const act = async (variables: Variables): Promise<Data | undefined> => {
    setBusy(true);
    const { data, error } = await client.mutation(document, variables).toPromise();
    const payload = Object.values(data ?? {}).find((one) => typeof one === "object") as Payload | undefined;
    const found = error ? faultsOf(error) : (payload?.errors ?? []);
    setFaults(found);
    setBusy(false);
    return found.length === 0 && data ? data : undefined;
  };
  return { act, busy, faults, keyOf: useKey() };
}

interface Shown {
  faults: readonly Fault[];
  has: (path: string) => void;
  lost: (path: string) => void;
}

const Refusals = createContext<Shown>({ faults: [], has: () => undefined, lost: () => undefined });

interface FormProps {
  faults: readonly Fault[];
  busy: boolean;
  onSubmit: (form: FormData) => void;
  children: ReactNode;
  label?: string;
}

export function Form({ faults, busy, onSubmit, children, label }: FormProps) {
  const form = useRef<HTMLFormElement>(null);
  const [paths, setPaths] = useState<ReadonlySet<string>>(new Set());
  const has = useCallback((path: string) => setPaths((known) => new Set(known).add(path)), []);
  const lost = useCallback(
    (path: string) => setPaths((known) => new Set([...known].filter((one) => one !== path))),
    [],
  );
  useEffect(() => {
    if (faults.length > 0) form.current?.querySelector<HTMLElement>("[aria-invalid=true], [role=alert]")?.focus();
  }, [faults]);
  const others = faults.filter(({ field }) => ![...paths].some((path) => reaches(field, path)));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!busy) onSubmit(new FormData(event.target as HTMLFormElement));
  };
  return (
    <Refusals value={{ faults, has, lost }}>
      <form ref={form} onSubmit={submit} noValidate aria-label={label} aria-busy={busy}>
        {others.length > 0 && (
          <div className="alert" role="alert" tabIndex={-1}>
            {others.map(({ message }, place) => (
              <p key={place}>{message}</p>
            ))}
          </div>
        )}
        {children}
      </form>
    </Refusals>
  );
}

/** A path of the API, such as input, pppoe, username, is that of a field, such as pppoe.username. */
function reaches(field: readonly string[] | null | undefined, path: string): boolean {
  const named = (field ?? []).slice(1).join(".");
  return named === path || named.startsWith(`${path}.`);
}

function useRefusal(path: string) {
  const { faults, has, lost } = useContext(Refusals);
  useEffect(() => {
    has(path);
    return () => lost(path);
  }, [path, has, lost]);
  return faults.filter(({ field }) => reaches(field, path)).map(({ message }) => message);
}

interface Around {
  /** The path of the field in the mutation's input. */
  name: string;
  label: string;
  hint?: ReactNode;
}

function Labelled({ name, label, hint, children }: Around & { children: (given: object) => ReactNode }) {
  const id = useId();
  const refusals = useRefusal(name);
  const described = [hint ? `${id}-hint` : "", refusals.length > 0 ? `${id}-error` : ""].join(" ").trim();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({
        id,
        name,
        "aria-invalid": refusals.length > 0,
        ...(described ? { "aria-describedby": described } : {}),
      })}
      {hint && (
        <p className="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {refusals.length > 0 && (
        <p className="refusal" id={`${id}-error`}>
          {refusals.join(" ")}
        </p>
      )}
    </div>
  );
}

export function Field({ name, label, hint, ...rest }: Around & InputHTMLAttributes<HTMLInputElement>) {
  return (
    <Labelled {...{ name, label, hint }}>
      {(given) => <input type="text" autoComplete="off" {...rest} {...given} />}
    </Labelled>
  );
}

export function Area({ name, label, hint, defaultValue }: Around & { defaultValue?: string }) {
  return (
    <Labelled {...{ name, label, hint }}>
      {(given) => <textarea rows={4} defaultValue={defaultValue} {...given} />}
    </Labelled>
  );
}

export function Choice({ name, label, hint, children, ...rest }: Around & SelectHTMLAttributes<HTMLSelectElement>) {
  return (
    <Labelled {...{ name, label, hint }}>
      {(given) => (
        <select {...rest} {...given}>
          {children}
        </select>
      )}
    </Labelled>
  );
}

/** Several boxes or buttons that are one question; what is refused of it stands below them. */
export function Question({ name, label, children }: Around & { children: ReactNode }) {
  const id = useId();
  const refusals = useRefusal(name);
  return (
    <fieldset className="question" aria-describedby={refusals.length > 0 ? id : undefined}>
      <legend>{label}</legend>
      {children}
      {refusals.length > 0 && (
        <p className="refusal" id={id} role="alert" tabIndex={-1}>
          {refusals.join(" ")}
        </p>
      )}
    </fieldset>
  );
}

export const text = (form: FormData, name: string): string => String(form.get(name) ?? "").trim();

/** Null where nothing is written. */
export const maybe = (form: FormData, name: string): string | null => text(form, name) || null;
