// Where one is: the part of the address after #, such as #/customers?status=ACTIVE. It outlives a reload.
import { useEffect, useMemo, useSyncExternalStore } from "react";

export interface Route {
  path: string[];
  query: URLSearchParams;
}

function subscribe(changed: () => void): () => void {
  addEventListener("hashchange", changed);
  return () => removeEventListener("hashchange", changed);
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return useMemo(() => {
    const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
    return { path: path.split("/").filter((part) => part !== ""), query: new URLSearchParams(query) };
  }, [hash]);
}

export function href(path: string, query?: URLSearchParams): string {
  const text = query?.toString() ?? "";
  return `#/${path}${text === "" ? "" : `?${text}`}`;
}

/** Another place; with `replace` the way back leads past this one. */
export function go(path: string, query?: URLSearchParams, replace = false): void {
  if (replace) location.replace(href(path, query));
  else location.hash = href(path, query);
}

/** The page's name for the browser, and for who hears pages rather than seeing them. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Console`;
  }, [title]);
}
