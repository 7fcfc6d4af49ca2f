// Node's graphql-ws on ws, as their documentation has it: one Redis connection, an iterator for each subscriber.
import { createServer } from 'node:http';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { Redis } from 'ioredis';
import { WebSocketServer } from 'ws';

const schema = buildSchema(`
  type Query { nothing: Int }
  enum Source { ROUTER ACCOUNTING }
  type LiveUsage { customerId: ID! at: String! online: Boolean! downloadBps: String! uploadBps: String!
    downloadBytes: String! uploadBytes: String! source: Source! }
  type Subscription { liveUsage(customerId: ID!, intervalSeconds: Int): LiveUsage!
    liveUsageAll(intervalSeconds: Int): [LiveUsage!]! }`);

const watchers = new Map();

function watch(key, field) {
  const waiting = [];
  let wake = null;
  const take = (value) => { waiting.push({ [field]: value }); wake?.(); };
  if (!watchers.has(key)) watchers.set(key, new Set());
  watchers.get(key).add(take);
  return (async function* () {
    try {
      for (;;) {
        while (waiting.length) yield waiting.shift();
        await new Promise((resolve) => { wake = resolve; });
      }
    } finally {
      watchers.get(key).delete(take);
    }
  })();
}

const fields = schema.getSubscriptionType().getFields();
fields.liveUsage.subscribe = (_, { customerId }) => watch(customerId, 'liveUsage');
fields.liveUsageAll.subscribe = () => watch('', 'liveUsageAll');

const redis = new Redis(process.env.ISPGRAPH_REDIS_URL);
redis.subscribe(process.env.BENCH_TOPIC);
redis.on('message', (_, text) => {
  const rows = JSON.parse(text).map((r) => ({
    customerId: `cus_${r[0]}`, at: r[4], online: r[5], downloadBps: String(r[6]), uploadBps: String(r[7]),
    downloadBytes: String(r[8]), uploadBytes: String(r[9]), source: r[10],
  }));
  for (const take of watchers.get('') ?? []) take(rows);
  for (const row of rows) for (const take of watchers.get(row.customerId) ?? []) take(row);
});

const http = createServer();
useServer({ schema }, new WebSocketServer({ server: http, path: '/graphql', perMessageDeflate: false }));
http.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
