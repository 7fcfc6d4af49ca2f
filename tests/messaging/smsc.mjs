// node smsc.mjs SYSTEM_ID PASSWORD: an SMSC on a free port of 127.0.0.1, by a public implementation of SMPP 3.4.
// It prints each thing that happens as a line of JSON, and takes orders as lines of JSON:
//   {"mode": "calm" | "throttle" | "hang" | "drop"}   how it meets messages; drop and hang have taken them
//   {"receipt": {"id", "stat", "err"}, "split": true} reports a message, in two halves of TCP if split
//   {"speak": "text"}                                 a message from a subscriber, which is no report
//   {"enquire": true}                                 asks whether the other side is alive
//   {"kick": true}                                    ends all connections without a word
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const smpp = createRequire(new URL("../lab/npm/package.json", import.meta.url))("smpp");
const [systemId, password] = process.argv.slice(2);
const sessions = new Set();
let mode = "calm";
let count = 0;

const say = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));
const { ESME_ROK, ESME_RBINDFAIL, ESME_RINVPASWD, ESME_RINVDSTADR, ESME_RINVBNDSTS, ESME_RTHROTTLED } = smpp.errors
  ? smpp.errors
  : smpp;

const server = smpp.createServer((session) => {
  let bound = false;
  sessions.add(session);
  session.on("error", () => {});
  session.on("close", () => {
    sessions.delete(session);
    say("closed");
  });
  session.on("bind_transceiver", (pdu) => {
    const good = pdu.system_id === systemId ? (pdu.password === password ? ESME_ROK : ESME_RINVPASWD) : ESME_RBINDFAIL;
    bound = good === ESME_ROK;
    say("bind", { good: bound, system: pdu.system_type, version: pdu.interface_version });
    session.send(pdu.response({ command_status: good, system_id: "SMSC" }));
  });
  session.on("submit_sm", (pdu) => {
    if (!bound) return session.send(pdu.response({ command_status: ESME_RINVBNDSTS }));
    if (mode === "throttle") return session.send(pdu.response({ command_status: ESME_RTHROTTLED }));
    if (!/^[1-9][0-9]{9,14}$/.test(pdu.destination_addr)) {
      return session.send(pdu.response({ command_status: ESME_RINVDSTADR }));
    }
    count += 1;
    const id = `m-${count}`;
    say("submit", {
      id,
      to: pdu.destination_addr,
      from: pdu.source_addr,
      ton: [pdu.source_addr_ton, pdu.dest_addr_ton],
      coding: pdu.data_coding,
      esm: pdu.esm_class,
      registered: pdu.registered_delivery,
      text: pdu.short_message.message.toString(),
      udh: pdu.short_message.udh ? Buffer.concat([].concat(pdu.short_message.udh)).toString("hex") : null,
    });
    if (mode === "drop") return session.destroy();
    if (mode === "hang") return undefined;
    return session.send(pdu.response({ message_id: id }));
  });
  session.on("enquire_link", (pdu) => {
    say("enquired");
    session.send(pdu.response());
  });
  session.on("enquire_link_resp", () => say("alive"));
  session.on("deliver_sm_resp", (pdu) => say("acknowledged", { status: pdu.command_status }));
  session.on("unbind", (pdu) => {
    say("unbind");
    session.send(pdu.response(), undefined, () => session.close());
  });
});

const receipt = ({ id, stat, err = "000" }) =>
  `id:${id} sub:001 dlvrd:001 submit date:2601011200 done date:2601011201 stat:${stat} err:${err} text:Hello`;

createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  if (order.mode) mode = order.mode;
  for (const session of sessions) {
    if (order.receipt) {
      const pdu = new smpp.PDU("deliver_sm", {
        esm_class: 4,
        source_addr: "8801712345678",
        destination_addr: "NORTH",
        short_message: receipt(order.receipt),
      });
      if (order.split) {
        pdu.sequence_number = 9000;
        const bytes = pdu.toBuffer();
        session.socket.write(bytes.subarray(0, 20));
        setTimeout(() => session.socket.write(bytes.subarray(20)), 100);
      } else {
        session.send(pdu);
      }
    }
    if (order.speak) session.deliver_sm({ source_addr: "8801712345678", short_message: order.speak });
    if (order.enquire) session.enquire_link();
    if (order.kick) session.destroy();
  }
  say("done");
});
process.stdin.on("end", () => process.exit(0));
server.listen(0, "127.0.0.1");
server.on("listening", () => say("ready", { port: server.address().port }));
