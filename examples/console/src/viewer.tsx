// Who looks at this, and where: what they may do is what the API says, and times are those of the provider.
import { createContext, useContext } from "react";

import type { ViewerQuery } from "./gql/graphql";
import { instant } from "./words";

export type Viewer = ViewerQuery["viewer"];

const Known = createContext<Viewer | null>(null);

export const ViewerProvider = Known.Provider;

export function useViewer(): Viewer {
  const viewer = useContext(Known);
  if (viewer === null) throw new Error("nobody is signed in here");
  return viewer;
}

/** An instant as the provider's clocks show it. */
export function Instant({ at }: { at: string }) {
  const { tenant } = useViewer();
  return <time dateTime={at}>{instant(at, tenant.timeZone)}</time>;
}
