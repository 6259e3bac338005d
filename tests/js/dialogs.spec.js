// Dialogs of the page, which open whenever the page likes: also while a commit is under way.

import { expect, test } from "./page.js";

/** Milliseconds that a visitor needs: in Firefox the database answers meanwhile, and nothing continues. */
const READING = 300;

/** Of a message that the database takes a while to store. */
const LARGE = 8 * 1024 * 1024;

test.beforeEach(({ page }) => {
  page.on("dialog", async (dialog) => {
    await new Promise((resolve) => setTimeout(resolve, READING));
    await dialog.accept();
  });
});

test.afterEach(({ page }) => {
  page.removeAllListeners("dialog");
});

test("a dialog that opens amid a commit leaves all of it or nothing", async ({ page }) => {
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

/**
 * Does something, with a dialog that opens at one of its requests.
 * @template T @param {import("@playwright/test").Page} page @param {() => Promise<T>} task
 * @param {number} request which of those that read, from 1
 */
const amidDialog = (page, task, request) =>
  page.evaluate(
    async ({ source, request }) => {
      const { port1, port2 } = new MessageChannel();
      const answer = new Promise((resolve) => (port1.onmessage = () => resolve(confirm("Are you sure?"))));
      let asked = 0;
      const methods = /** @type {const} */ (["get", "getAll", "getAllKeys", "openCursor"]);
      const originals = methods.map((method) => IDBObjectStore.prototype[method]);
      methods.forEach((method, i) => {
        /** @this {IDBObjectStore} @param {any[]} given */
        IDBObjectStore.prototype[method] = function (...given) {
          if (++asked === request) port2.postMessage("");
          return Reflect.apply(/** @type {any} */ (originals[i]), this, given);
        };
      });
      const done = /** @type {T} */ (await new Function(`return (${source})()`)());
      methods.forEach((method, i) => Object.assign(IDBObjectStore.prototype, { [method]: originals[i] }));
      const isAsked = asked >= request && (await answer);
      port1.close();
      return { done, isAsked };
    },
    { source: String(task), request },
  );

/** What the database records about itself. @param {import("@playwright/test").Page} page */
const recorded = (page) =>
  page.evaluate(async () => {
    const name = (await indexedDB.databases())[0].name ?? "";
    /** @type {IDBDatabase} */
    const database = await new Promise((resolve) => {
      const request = indexedDB.open(name);
      request.onsuccess = () => resolve(request.result);
    });
    const request = database.transaction("meta").objectStore("meta").getAllKeys();
    await new Promise((resolve) => (request.onsuccess = resolve));
    database.close();
    return request.result;
  });

test("a dialog that opens amid the first opening", async ({ page }) => {
  const { isAsked } = await amidDialog(page, async () => (await pymailbox.openMailbox("dialogs")).close(), 1);
  expect(isAsked).toBe(true);
  expect(await recorded(page)).toEqual(["birth", "layout", "nextMailbox", "reserve"]);
});

test("a dialog that opens amid a look at many messages", async ({ page }) => {
  await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("dialogs");
    const sender = new Uint8Array();
    for (let i = 0; i < 10; i++)
      await mailbox.enqueueMany(Array.from({ length: 100 }, () => ({ sender, payload: new Uint8Array([i]) })));
    await mailbox.close();
  });
  let isOver = false;
  for (let request = 1; request <= 6 && !isOver; request++) {
    await page.reload();
    await page.waitForFunction(() => "pymailbox" in globalThis);
    const { done, isAsked } = await amidDialog(
      page,
      async () => {
        const mailbox = await pymailbox.openMailbox("dialogs");
        const seen = await mailbox.peek({ limit: 1000 });
        await mailbox.close();
        return seen.map(({ payload }) => payload[0]);
      },
      request,
    );
    isOver = !isAsked;
    expect(isOver && request < 4).toBe(false);
    expect(done).toEqual(Array.from({ length: 1000 }, (_, i) => Math.floor(i / 100)));
  }
});

test("a page that interrupts each attempt is told so, and goes on once it stops", async ({ page, browserName }) => {
  const { error, queued } = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("dialogs");
    const { add, put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.add = IDBObjectStore.prototype.put = () => {
      throw new DOMException("as after an interruption", "TransactionInactiveError");
    };
    const sender = new Uint8Array();
    const error = await mailbox
      .enqueue(sender, sender)
      .catch((error) => ({ name: error.name, passing: error.passing }));
    Object.assign(IDBObjectStore.prototype, { add, put });
    await mailbox.enqueue(sender, sender);
    const { queuedMessages } = await mailbox.status();
    await mailbox.close();
    return { error, queued: queuedMessages };
  });
  // only in Firefox is that what is found after a dialog
  const name = browserName === "firefox" ? "StorageUnavailableError" : "ConnectionLostError";
  expect({ error, queued }).toEqual({ error: { name, passing: true }, queued: 1 });
});

// Firefox 153 keeps this by itself, as long as it holds the request whose result is being told for unfinished.
test("a dialog that opens between two steps of a verb leaves no transaction half done", async ({ page }) => {
  const { asked, halves, left } = await page.evaluate(async () => {
    /** Of each write transaction that is complete, what it wrote. @type {Set<string>[]} */
    const complete = [];
    /** @type {WeakMap<IDBTransaction, Set<string>>} */
    const written = new WeakMap();
    let asked = 0;
    let mayAsk = false;
    for (const method of /** @type {const} */ (["put", "add", "delete"])) {
      const original = IDBObjectStore.prototype[method];
      /** @this {IDBObjectStore} @param {any[]} given */
      IDBObjectStore.prototype[method] = function (...given) {
        const { transaction } = this;
        let stores = written.get(transaction);
        if (stores === undefined) {
          written.set(transaction, (stores = new Set()));
          transaction.addEventListener("complete", () => complete.push(written.get(transaction) ?? new Set()));
          if (mayAsk) {
            mayAsk = false;
            // as if somebody else's turn came now, who asks the visitor
            queueMicrotask(() => {
              asked += 1;
              confirm("Are you sure?");
            });
          }
        }
        stores.add(this.name);
        return Reflect.apply(/** @type {any} */ (original), this, given);
      };
    }

    const mailbox = await pymailbox.openMailbox("dialogs", { maxDeliveries: 5 });
    const outbox = await pymailbox.openMailbox("dialogs outbox");
    complete.length = 0;
    const sender = new Uint8Array();
    const message = () => ({ sender, payload: new Uint8Array(5000), messageId: crypto.randomUUID() });
    /** @type {((id: string) => Promise<unknown>)[]} */
    const verbs = [
      (id) => mailbox.ack(id),
      (id) => mailbox.nack(id, { error: "on purpose" }),
      (id) => mailbox.ackAndSend(id, [[outbox, message()]]),
      (id) => mailbox.deadLetter(id, "on purpose"),
      () => mailbox.enqueueMany(Array.from({ length: 300 }, message)),
      () => mailbox.enqueueMany([message()]),
      () => Promise.all([mailbox.enqueue(sender, new Uint8Array(9000)), outbox.enqueueMany([message()])]),
      () => mailbox.purge(),
    ];
    for (const verb of verbs) {
      await mailbox.enqueueMany([message()]);
      const [{ id }] = await mailbox.dequeue({ limit: 1 });
      mayAsk = true;
      await verb(id);
      mayAsk = false;
    }
    const { queuedMessages, inflightMessages } = await mailbox.status();
    const left = [queuedMessages, inflightMessages, (await outbox.status()).queuedMessages];
    await mailbox.close();
    await outbox.close();
    return { asked, halves: complete.filter((stores) => !stores.has("journal")).map((stores) => [...stores]), left };
  });
  expect(asked).toBe(8);
  expect(halves).toEqual([]);
  expect(left).toEqual([0, 4, 2]);
});
