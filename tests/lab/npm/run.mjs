// node run.mjs PORT USER PASSWORD < cases.json: runs each list of words, prints what came of each as one JSON array.
import { readFileSync } from "node:fs";
import routeros from "node-routeros";

const [port, user, password] = process.argv.slice(2);
const client = new routeros.RouterOSAPI({ host: "127.0.0.1", port: Number(port), user, password, timeout: 10 });
client.on("error", () => {});

/** The rows of a command, or its refusal. */
const run = async ([command, ...words]) => {
  try {
    return { rows: await client.write(command, words) };
  } catch (problem) {
    return { refused: problem.message };
  }
};

try {
  await client.connect();
} catch (problem) {
  console.log(JSON.stringify({ refused: problem.errno ?? problem.message }));
  process.exit(0);
}
const results = [];
for (const words of JSON.parse(readFileSync(0, "utf8"))) {
  results.push(await run(words));
}
// Twenty at once, each with a tag of its own.
const together = await Promise.all(
  Array.from({ length: 20 }, (_, number) => run(["/ip/firewall/address-list/print", `?address=10.0.0.${number + 1}`])),
);
const changes = await new Promise((resolve, reject) => {
  const stream = client.stream(["/ppp/secret/listen", "=.proplist=name"], async (problem, change) => {
    if (problem) {
      reject(problem);
    } else {
      await stream.stop();
      resolve(change);
    }
  });
  setTimeout(() => run(["/ppp/secret/add", "=name=listened"]), 50);
});
await client.close();
console.log(JSON.stringify({ results, together: together.map(({ rows }) => rows.map((row) => row.address)), changes }));
process.exit(0);
