import { useState } from "react";

import { Area, Field, Form, maybe, text } from "../form";
import { graphql, type FragmentType, read } from "../gql";
import {
  ConnectionType,
  // The collection has one for each type, which differ in their variables alone.
  CustomerDraftSetConnectionPppoeDocument as CustomerDraftSetConnectionDocument,
  type DraftConnectionInput,
} from "../gql/graphql";
import { words } from "../words";
import { Next, type StepProps, useStep } from "./draft";

const ConnectionOfDraft = graphql(`
  fragment ConnectionOfDraft on CustomerDraft {
    ...StepOfDraft
    connection {
      type
      username
      passwordSet
      profile
      macAddress
      deviceType
      ipAddress
      subnet
      configuration
    }
  }
`);

type Given = Omit<DraftConnectionInput, "draftId" | "expectedVersion" | "routerId">;

const INPUTS: { [type in ConnectionType]: (form: FormData) => Given } = {
  PPPOE: (form) => ({
    pppoe: {
      username: text(form, "pppoe.username"),
      password: String(form.get("pppoe.password")),
      profile: maybe(form, "pppoe.profile"),
    },
  }),
  HOTSPOT: (form) => ({
    hotspot: { macAddress: text(form, "hotspot.macAddress"), deviceType: maybe(form, "hotspot.deviceType") },
  }),
  STATIC_IP: (form) => ({
    staticIp: { ipAddress: text(form, "staticIp.ipAddress"), subnet: maybe(form, "staticIp.subnet") },
  }),
  OTHER: (form) => ({ other: { configuration: text(form, "other.configuration") } }),
};

export function ConnectionStep({ draft, onNext }: StepProps<FragmentType<typeof ConnectionOfDraft>>) {
  const known = read(ConnectionOfDraft, draft);
  const { connection } = known;
  const { save, busy, faults } = useStep(known, "CONNECTION", CustomerDraftSetConnectionDocument, onNext);
  const [type, setType] = useState<ConnectionType>(connection?.type ?? "PPPOE");
  // The password is not told again: a step that is done is saved anew only if something of it was changed.
  const [touched, setTouched] = useState(false);
  const submit = (form: FormData) => void save(INPUTS[type](form), touched);
  return (
    <div onChange={() => setTouched(true)}>
      <Form faults={faults} busy={busy} onSubmit={submit} label="Connection">
        <fieldset className="cards">
          <legend>Type</legend>
          {Object.values(ConnectionType).map((value) => (
            <label key={value} className="option">
              <input type="radio" name="type" value={value} checked={value === type} onChange={() => setType(value)} />
              {words(value)}
            </label>
          ))}
        </fieldset>
        {type === "PPPOE" && (
          <>
            <Field
              name="pppoe.username"
              label="Username"
              defaultValue={connection?.username ?? ""}
              hint="Left empty, one is made from the name."
              autoCapitalize="none"
              spellCheck={false}
            />
            <Field
              name="pppoe.password"
              label="Password"
              type="password"
              autoComplete="new-password"
              hint={connection?.passwordSet ? "One is set. What you change here needs it again." : undefined}
            />
            <Field name="pppoe.profile" label="Profile (may be empty)" defaultValue={connection?.profile ?? ""} />
          </>
        )}
        {type === "HOTSPOT" && (
          <>
            <Field name="hotspot.macAddress" label="MAC address" defaultValue={connection?.macAddress ?? ""} />
            <Field
              name="hotspot.deviceType"
              label="Device (may be empty)"
              defaultValue={connection?.deviceType ?? ""}
            />
          </>
        )}
        {type === "STATIC_IP" && (
          <>
            <Field name="staticIp.ipAddress" label="IP address" defaultValue={connection?.ipAddress ?? ""} />
            <Field name="staticIp.subnet" label="Subnet (may be empty)" defaultValue={connection?.subnet ?? ""} />
          </>
        )}
        {type === "OTHER" && (
          <Area name="other.configuration" label="Configuration" defaultValue={connection?.configuration ?? ""} />
        )}
        <Next busy={busy} />
      </Form>
    </div>
  );
}
