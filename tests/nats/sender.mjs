// Sends to a mailbox as any program can, without pymailbox: node sender.mjs URL SUBJECT, and messages as JSON lines,
// objects with `data` and `headers`, on standard input.

import { createInterface } from "node:readline";
import { connect, headers } from "@nats-io/transport-node";

const [url, subject] = process.argv.slice(2);
const client = await connect({ servers: url });
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  const fields = headers();
  for (const [name, text] of Object.entries(message.headers)) fields.set(name, text);
  // JetStream's answer: the message is stored
  const { data } = await client.request(subject, message.data, { headers: fields, timeout: 10_000 });
  process.stdout.write(`${JSON.parse(new TextDecoder().decode(data)).seq}\n`);
}
await client.close();
