// Dialogs of the page, which open whenever the page likes: also while a commit is under way.

import { expect, test } from "./page.js";

/** Milliseconds that a visitor needs: in Firefox the database answers meanwhile, and nothing continues. */
const READING = 300;

/** Of a message that the database takes a while to store. */
const LARGE = 8 * 1024 * 1024;

test("a dialog that opens amid a commit leaves all of it or nothing", async ({ page }) => {
  page.on("dialog", async (dialog) => {
    await new Promise((resolve) => setTimeout(resolve, READING));
    await dialog.accept();
  });
  const seen = await page.evaluate(async (size) => {
    const [inbox, outbox] = await Promise.all(
      ["dialog inbox", "dialog outbox"].map((name) => pymailbox.openMailbox(name)),
    );
    const sender = new Uint8Array();
    const messageId = crypto.randomUUID();
    await inbox.enqueueMany([{ sender, payload: new Uint8Array([1]), messageId }]);
    await inbox.dequeue({ limit: 1 });

    const { put } = IDBObjectStore.prototype;
    const { port1, port2 } = new MessageChannel();
    const asked = new Promise((resolve) => (port1.onmessage = () => resolve(confirm("Are you sure?"))));
    /** @param {any[]} given */
    IDBObjectStore.prototype.put = function (...given) {
      IDBObjectStore.prototype.put = put;
      port2.postMessage("");
      return Reflect.apply(put, this, given);
    };
    const isSent = await inbox.ackAndSend(messageId, [
      [outbox, { sender, payload: new Uint8Array(size).fill(2) }],
      [inbox, { sender, payload: new Uint8Array([3]), messageId }],
    ]);
    const isAsked = await asked;
    port1.close();
    // one behind it has the place that it would have been given
    await outbox.enqueue(sender, new Uint8Array(size).fill(4));
    const seen = [];
    for (const mailbox of [inbox, outbox]) {
      for (
        let [message] = await mailbox.dequeue({ limit: 1 });
        message;
        [message] = await mailbox.dequeue({ limit: 1 })
      ) {
        seen.push([mailbox.name, message.payload.length, message.payload[0]]);
        await mailbox.ack(message.id);
      }
      const { queuedMessages, inflightMessages, deadLetters } = await mailbox.status();
      seen.push([queuedMessages, inflightMessages, deadLetters]);
      await mailbox.close();
    }
    return { isAsked, isSent, seen };
  }, LARGE);
  page.removeAllListeners("dialog");
  expect(seen).toEqual({
    isAsked: true,
    isSent: true,
    seen: [
      ["dialog inbox", 1, 3],
      [0, 0, 0],
      ["dialog outbox", LARGE, 2],
      ["dialog outbox", LARGE, 4],
      [0, 0, 0],
    ],
  });
});
