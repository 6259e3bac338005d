// Somebody's TypeScript: compiled against the installed package by test_npm_package.py, never run.

import {
  Backpressure,
  Mailbox,
  MailboxError,
  MessagePriority,
  Reject,
  Retry,
  StorageFullError,
  ask,
  deleteMailbox,
  exportMailbox,
  importMailbox,
  jsonMessage,
  listMailboxes,
  openMailbox,
  type AskOptions,
  type ConsumeOptions,
  type Consumer,
  type Context,
  type DeadLetter,
  type Handler,
  type ImportReport,
  type MailboxStats,
  type MessageRecord,
  type NewMessage,
  type ReplyOptions,
  type RetryPolicy,
  type StorageReport,
} from "pymailbox";
import type { MailboxInspector } from "pymailbox/inspector";

const bytes = (text: string) => new TextEncoder().encode(text);

await using inbox = await openMailbox("inbox", {
  batchSize: 10,
  maxDeliveries: 3,
  lease: 60_000,
  durability: "relaxed",
});
const outbox: Mailbox = await openMailbox("outbox");

const urgent: MessagePriority = MessagePriority.HIGH;
const id: string = await inbox.enqueue(bytes("me"), new ArrayBuffer(8), { priority: urgent, delay: 1500 });
// what is not given may be undefined, as where a header is not there
const key: string | undefined = new Headers().get("Idempotency-Key") ?? undefined;
await inbox.enqueue(bytes("me"), bytes("once"), { messageId: key, priority: undefined, delay: undefined });
await openMailbox("inbox", { batchSize: undefined, maxDeliveries: undefined, lease: undefined, durability: undefined });
await inbox.dequeue({ limit: undefined, wait: undefined, signal: undefined, ack: undefined });
await inbox.peek({ limit: undefined, status: undefined, offset: undefined });
await inbox.nack(id, { delay: undefined, error: undefined });
await inbox.deadLetters({ limit: undefined, offset: undefined });
inbox.messages({ signal: undefined });
const messages: NewMessage[] = [{ sender: bytes("me"), payload: new DataView(new ArrayBuffer(1)), messageId: id }];
const ids: string[] = await inbox.enqueueMany(messages);

const batch: MessageRecord[] = await inbox.dequeue({ limit: 5, wait: Infinity, signal: AbortSignal.timeout(1000) });
await inbox.dequeue({ ack: new Set(ids) });
await inbox.dequeue({ ack: batch.map((record) => record.id) });
// @ts-expect-error a single id is no iterable of ids
await inbox.dequeue({ ack: 5 });
for await (const { payload, createdAt, status } of inbox.messages()) {
  new Blob([payload]);
  createdAt.toISOString();
  if (status === "inflight") break;
}
const removed: number = await inbox.ackMany(new Set(ids));
const sent: boolean = await inbox.ackAndSend(batch[0].id, [
  [outbox, messages[0]],
  [inbox, messages[0]],
]);
await inbox.nack(id, { error: new Error("no"), delay: 10, failed: false });
await inbox.enqueue(bytes("me"), bytes("text"), { headers: { a: "b" }, messageId: key, dedupeFor: undefined });
await inbox.enqueue(bytes("me"), bytes("text"), { headers: new Map([["a", "b"]]), messageId: id, dedupeFor: 1000 });
await inbox.enqueueMany([jsonMessage({ any: ["value"] }, { sender: bytes("me"), delay: 5 }), jsonMessage(null)]);
await inbox.enqueueJson({ any: ["value"] }, { sender: bytes("me"), headers: new Headers({ a: "b" }) });
const found: MessageRecord | DeadLetter | null = await inbox.get(id);
if (found !== null && !("reason" in found)) {
  const header: string | undefined = found.headers.a;
  const later: number | undefined = found.dueAt?.getTime();
  found.json().any.map(String);
  void [header, later];
}
const promoted: number = await inbox.promote([id]);
for await (const { delayedMessages, oldestQueuedAt } of inbox.changes({ signal: undefined })) {
  if (delayedMessages > promoted && oldestQueuedAt !== null) break;
}
const file: Blob = await new Response(exportMailbox(inbox)).blob();
const imported: ImportReport = await importMailbox(outbox, file, { onRefused: ({ line, reason }) => [line, reason] });
await importMailbox(outbox, ["a text", bytes("and bytes")]);
const dead: DeadLetter[] = await inbox.deadLetters({ limit: 1 });
const told: string | null = dead[0].error;
const stats: MailboxStats = await inbox.status();
const high: number = stats.queuedByPriority.high;
const report: StorageReport = await inbox.storageReport();
inbox.setDepthObserver((depth) => depth.toFixed());
inbox.setDepthObserver(null);
const retry: RetryPolicy = { firstDelay: 100, factor: 2, longestDelay: 1000, jitter: 0, maxDeliveries: 3 };
const howToConsume: ConsumeOptions = { concurrency: 2, orderedBySender: true, retry, timeout: 1000 };
const handler: Handler = async (message: MessageRecord, context: Context) => {
  const response = await fetch("/", { signal: context.signal });
  if (response.status === 503) throw new Retry(30_000, { failed: false });
  if (!response.ok) throw new Reject("refused", { cause: new Error(response.statusText) });
  context.send(outbox, { sender: message.sender, payload: message.payload, delay: 5 });
  const how: ReplyOptions = { sender: bytes("me"), priority: "high", headers: { a: "b" }, messageId: undefined };
  if ("reply-to" in message.headers) context.reply(bytes("yes"), how);
  context.reply(new ArrayBuffer(1));
  if (context.stopping) context.stop();
};
const consumer: Consumer = inbox.consume(handler, howToConsume);
inbox.consume(({ payload }) => console.log(payload), { signal: AbortSignal.timeout(1000), timeout: undefined });
await consumer.stop();
await consumer.finished;
const howToAsk: AskOptions = { timeout: Infinity, signal: AbortSignal.timeout(1000), headers: [["a", "b"]] };
const answer: MessageRecord = await ask(inbox, bytes("?"), howToAsk);
await ask(inbox, answer.payload, { timeout: 1000, sender: undefined, messageId: key, signal: undefined });
// @ts-expect-error how long to wait must be said
await ask(inbox, bytes("?"), {});
const retried: number | undefined = new Retry().delay;
using pressure = new Backpressure(outbox, { pauseAt: 1000, onChange: (paused: boolean) => paused });
await pressure.room();
// @ts-expect-error a spell of time is a number
inbox.consume(handler, { timeout: "1 s" });
// @ts-expect-error where to pause must be said
new Backpressure(outbox, {});
// @ts-expect-error a message has its payload
inbox.consume((_, context) => context.send(outbox, { sender: bytes("me") }));
const names: string[] = await listMailboxes();
const gone: boolean = await deleteMailbox(names[0]);

try {
  await inbox.purge();
} catch (error) {
  if (error instanceof StorageFullError || error instanceof MailboxError) {
    if (error.passing satisfies boolean) error.message.trim();
  }
}

const inspector: MailboxInspector = document.createElement("mailbox-inspector");
inspector.name = "inbox";
// @ts-expect-error its name is a text
inspector.name = 5;

// @ts-expect-error a text is no bytes
await inbox.enqueue("me", bytes("text"));
// @ts-expect-error there is no such option
await inbox.enqueue(bytes("me"), bytes("text"), { message_id: id });
// @ts-expect-error there is no such priority
await inbox.enqueue(bytes("me"), bytes("text"), { priority: "urgent" });
// @ts-expect-error a mailbox is opened, not made
new Mailbox();
// @ts-expect-error a record is not changed
batch[0].deliveryCount = 0;

export { gone, high, imported, removed, report, retried, sent, told };
