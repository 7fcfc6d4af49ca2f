// The playground becomes files that the API serves: a page, and what it loads, named by what is in it and also gzipped.
// The operations of examples/operations go in, so that they are there wherever the page is.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

import type { Operation } from "./src/collection";

const FOLDER = join(import.meta.dirname, "../../examples/operations");
const BUILT = join(import.meta.dirname, "built");

function operation(path: string): Operation {
  const text = readFileSync(join(FOLDER, path), "utf8");
  const lines = text.split("\n");
  const end = lines.findIndex((line) => !line.startsWith("#"));
  const comment = lines.slice(0, end).map((line) => line.replace(/^# ?/, ""));
  const [top = "", variables = "{}"] = comment.join("\n").split("\nVariables: ");
  const [title = "", about = "", facts = ""] = top.split("\n\n");
  const known = new Map(facts.split("\n").map((line) => line.split(": ") as [string, string]));
  return {
    path: path.replace(/\.graphql$/, ""),
    title,
    about: about.replaceAll("\n", " "),
    permission: known.get("Permission") ?? "",
    first: known.get("First")?.split(", ") ?? [],
    variables: JSON.parse(variables) as Operation["variables"],
    document: lines.slice(end).join("\n").trimEnd() + "\n",
  };
}

function operations(): Plugin {
  const name = "virtual:operations";
  return {
    name: "operations",
    resolveId: (id) => (id === name ? `\0${name}` : undefined),
    load(id) {
      if (id !== `\0${name}`) return undefined;
      const files = readdirSync(FOLDER, { recursive: true, encoding: "utf8" });
      const paths = files.filter((file) => file.endsWith(".graphql")).map((file) => file.replaceAll("\\", "/"));
      return `export default ${JSON.stringify(paths.sort().map(operation))}`;
    },
  };
}

function gzipped(): Plugin {
  return {
    name: "gzipped",
    apply: "build",
    closeBundle() {
      for (const entry of readdirSync(BUILT, { recursive: true, withFileTypes: true })) {
        const file = join(entry.parentPath, entry.name);
        if (!entry.isFile() || !/\.(js|css|ttf)$/.test(relative(BUILT, file))) continue;
        writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  base: "/playground/",
  plugins: [react(), operations(), gzipped()],
  worker: { format: "es" },
  build: {
    outDir: BUILT,
    emptyOutDir: true,
    // Nothing as data: addresses, which the page's policy does not allow.
    assetsInlineLimit: 0,
    // The editor is large, and is loaded once.
    chunkSizeWarningLimit: 8000,
    license: { fileName: "licenses.md" },
    rolldownOptions: {
      // Packages say "use client" and the like to programs that are not this one.
      onLog: (level, log, say) => (log.code === "MODULE_LEVEL_DIRECTIVE" ? undefined : say(level, log)),
    },
  },
});
