// In development the page and the API have one address: Vite hands on what is for the API, the WebSocket as well.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const target = process.env["ISPGRAPH_URL"] ?? "http://127.0.0.1:8000";
const proxy = Object.fromEntries(
  // The API also serves the files that its answers name: invoices, charts.
  ["/graphql", "/files"].map((path) => [path, { target, ws: true, changeOrigin: true, rewriteWsOrigin: true }]),
);

export default defineConfig({
  plugins: [react()],
  server: { host: "127.0.0.1", port: 5173, proxy },
  preview: { host: "127.0.0.1", port: 5173, proxy },
});
