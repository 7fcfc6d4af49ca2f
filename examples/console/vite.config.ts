// In development the page and the API have one address: Vite hands on what is for the API, the WebSocket as well.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const target = process.env["ISPGRAPH_URL"] ?? "http://127.0.0.1:8000";
// To the API it is then one of its own pages, wherever it is.
const headers = { origin: new URL(target).origin };
const proxy = { "/graphql": { target, headers, ws: true, changeOrigin: true } };

export default defineConfig({
  plugins: [react()],
  server: { host: "127.0.0.1", port: 5173, proxy },
  preview: { host: "127.0.0.1", port: 5173, proxy },
});
