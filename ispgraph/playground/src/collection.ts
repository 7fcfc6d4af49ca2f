// The operations that come with the product, one of examples/operations each.
import operations from "virtual:operations";

export interface Operation {
  path: string;
  title: string;
  about: string;
  permission: string;
  first: string[];
  variables: { [name: string]: unknown };
  document: string;
}

export interface Folder {
  title: string;
  operations: Operation[];
}

export const byPath = new Map(operations.map((one) => [one.path, one]));

/** The folders in their order: `04-actions` is "Actions". */
export const folders: Folder[] = [...Map.groupBy(operations, (one) => one.path.split("/")[0] ?? "")].map(
  ([name, inside]) => {
    const words = name.replace(/^\d+-/, "").replaceAll("-", " ");
    return { title: words.charAt(0).toUpperCase() + words.slice(1), operations: inside };
  },
);

/** Those in which every word occurs somewhere. */
export function found(search: string): Folder[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (one: Operation, folder: Folder) => {
    const text = `${folder.title} ${one.title} ${one.about} ${one.permission} ${one.document}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  return folders
    .map((folder) => ({ ...folder, operations: folder.operations.filter((one) => fits(one, folder)) }))
    .filter((folder) => folder.operations.length > 0);
}

/** What stands in the editor: the document, under what it is for. */
export function shown(one: Operation): string {
  const words = `${one.title}${/[?!]$/.test(one.title) ? "" : "."} ${one.about}`.split(" ");
  const lines = [""];
  for (const word of words) {
    const last = lines.at(-1) ?? "";
    if (last.length + word.length > 58) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return [...lines.map((line) => `# ${line}`), `# Permission: ${one.permission}`, one.document].join("\n");
}
