// Values that a browser may refuse in the page, so that its database never sees them.

import { expect, test } from "./page.js";

const MIB = 1024 * 1024;

test("several large messages in one call are all stored completely", async ({ page }) => {
  const seen = await page.evaluate(async (size) => {
    const mailbox = await pymailbox.openMailbox("large batch");
    const payloads = [1, 2, 3].map((first) => new Uint8Array(size).fill(first));
    await mailbox.enqueueMany(payloads.map((payload) => ({ sender: new Uint8Array(), payload })));
    const seen = [];
    for (
      let [message] = await mailbox.dequeue({ limit: 1 });
      message;
      [message] = await mailbox.dequeue({ limit: 1 })
    ) {
      const { payload } = message;
      seen.push([payload.length, payload[0], payload.every((byte) => byte === payload[0])]);
      await mailbox.ack(message.id);
    }
    const { deadLetters } = await mailbox.status();
    await mailbox.close();
    return { seen, deadLetters };
  }, 60 * MIB);
  expect(seen).toEqual({ seen: [1, 2, 3].map((first) => [60 * MIB, first, true]), deadLetters: 0 });
});

test("a text that the browser does not store is refused, with nothing done", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { MailboxError, openMailbox } = pymailbox;
    const mailbox = await openMailbox("large texts");
    const text = "x".repeat(140_000_000);
    /** @type {[string, (id: string) => Promise<boolean>, () => Promise<boolean>][]} */
    const calls = [
      ["nack", (id) => mailbox.nack(id, { error: text }), async () => (await mailbox.status()).queuedMessages === 1],
      ["deadLetter", (id) => mailbox.deadLetter(id, text), async () => (await mailbox.status()).deadLetters === 1],
    ];
    const seen = [];
    for (const [verb, call, isDone] of calls) {
      await mailbox.enqueue(new Uint8Array(), new Uint8Array([7]));
      const [message] = await mailbox.dequeue();
      const outcome = await call(message.id).catch((error) => error);
      const refused = outcome instanceof MailboxError || outcome instanceof RangeError;
      // held as before, or where it should go
      const right = refused ? await mailbox.nack(message.id) : outcome === true && (await isDone());
      seen.push([verb, right]);
      await mailbox.purge();
      await mailbox.ack(message.id);
      for (const { record } of await mailbox.deadLetters()) await mailbox.discard(record.id);
    }
    await mailbox.close();
    return seen;
  });
  expect(seen).toEqual([
    ["nack", true],
    ["deadLetter", true],
  ]);
});

test("a claim that shares a commit with a request that fails hands nothing out, and keeps nothing", async ({
  page,
}) => {
  const seen = await page.evaluate(async () => {
    const { MailboxError, openMailbox } = pymailbox;
    const bytes = new Uint8Array([1]);
    const mailbox = await openMailbox("shared with a failure", { durability: "relaxed" });
    await mailbox.enqueueMany([1, 2, 3].map((number) => ({ sender: bytes, payload: new Uint8Array([number]) })));
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function (value, key) {
      if (this.name !== "segments") return put.call(this, value, key);
      IDBObjectStore.prototype.put = put;
      const { transaction } = this;
      const request = Object.assign(new EventTarget(), {
        error: new DOMException("refused", "UnknownError"),
        readyState: "done",
      });
      const { oncomplete } = transaction;
      transaction.oncomplete = (event) => {
        transaction.onerror?.(/** @type {any} */ ({ target: request }));
        oncomplete?.call(transaction, event);
      };
      return /** @type {any} */ (request);
    };
    // in one turn, so in one transaction; too large to travel beside the state
    const large = new Uint8Array(5000);
    const outcomes = await Promise.allSettled([
      mailbox.dequeue({ limit: 2 }),
      mailbox.enqueue(bytes, large),
      mailbox.nack(crypto.randomUUID()),
    ]);
    const failures = outcomes.map((outcome) => outcome.status === "rejected" && outcome.reason instanceof MailboxError);
    const { queuedMessages, inflightMessages, deadLetters } = await mailbox.status();
    const taken = (await mailbox.dequeue()).map(({ payload, deliveryCount }) => [payload[0], deliveryCount]);
    await mailbox.close();
    return { failures, counts: [queuedMessages, inflightMessages, deadLetters], taken };
  });
  expect(seen).toEqual({
    failures: [true, true, true],
    counts: [3, 0, 0],
    taken: [
      [1, 1],
      [2, 1],
      [3, 1],
    ],
  });
});

test("unreadable data that is too large to be kept completely does not block the rest", async ({ page }) => {
  const seen = await page.evaluate(async (size) => {
    const mailbox = await pymailbox.openMailbox("large damage");
    for (const byte of [1, 2]) await mailbox.enqueue(new Uint8Array(), new Uint8Array(3000).fill(byte));
    await mailbox.close();
    const database = await new Promise((resolve) => {
      const request = indexedDB.open("pymailbox");
      request.onsuccess = () => resolve(request.result);
    });
    const transaction = database.transaction(["mailboxes", "segments"], "readwrite");
    const segments = transaction.objectStore("segments");
    transaction.objectStore("mailboxes").get("large damage").onsuccess = (/** @type {any} */ { target }) => {
      const { number } = target.result;
      // twice as many bytes in a dead letter, which is UTF-8
      segments.put("é".repeat(size), [number, 0, 0, 0]);
    };
    await new Promise((resolve) => (transaction.oncomplete = resolve));
    database.close();
    const again = await pymailbox.openMailbox("large damage");
    const taken = (await again.dequeue()).map(({ payload }) => payload[0]);
    const [letter] = await again.deadLetters();
    await again.discard(letter.record.id);
    await again.close();
    return { taken, kept: letter.record.payload.length > 0, reason: letter.reason };
  }, 70 * MIB);
  expect(seen).toEqual({ taken: [2], kept: true, reason: expect.stringContaining("could not be read") });
});

test("a frame that may store nothing gets an error of its class", async ({ page }) => {
  // its origin is unique, so by default it may load nothing
  await page.route("**/pymailbox.js", async (route) => {
    // not every system but every browser knows the page's host
    const response = await route.fetch({ url: `http://127.0.0.1:${new URL(page.url()).port}/pymailbox.js` });
    await route.fulfill({ response, headers: { ...response.headers(), "access-control-allow-origin": "*" } });
  });
  const frame = await open(page, "/", "allow-scripts");
  const told = await frame.evaluate(async () => {
    const { StorageUnavailableError, deleteMailbox, listMailboxes, openMailbox } = pymailbox;
    const errors = await Promise.all(
      [openMailbox("inbox"), listMailboxes(), deleteMailbox("inbox")].map((call) => call.catch((error) => error)),
    );
    return errors.map((error) => (error instanceof StorageUnavailableError ? error.name : String(error)));
  });
  expect(told).toEqual(Array(3).fill("StorageUnavailableError"));
});

test("a frame of another site has mailboxes, or gets an error that says why not; messages survive a reload", async ({
  page,
  browserName,
}) => {
  const { port } = new URL(page.url());
  const url = `http://127.0.0.1:${port}/`;
  const [frame, other] = [await open(page, url), await open(page, url)];
  const opened = await frame.evaluate(async () => {
    try {
      Object.assign(globalThis, { inbox: await pymailbox.openMailbox("framed") });
      return "opened";
    } catch (error) {
      return String(error);
    }
  });
  if (browserName === "chromium" && opened !== "opened") {
    // it may be set to refuse all storage there
    expect(opened).toMatch(/^StorageUnavailableError: .*let this site store data/);
    return;
  }
  expect(opened).toBe("opened");
  const dequeued = (/** @type {import("@playwright/test").Frame} */ from) =>
    from.evaluate(async () => {
      const mailbox = await pymailbox.openMailbox("framed");
      return (await mailbox.dequeue()).map(({ payload }) => payload[0]);
    });
  const held = await frame.evaluate(async () => {
    const inbox = /** @type {import("../../js/index.js").Mailbox} */ (/** @type {any} */ (globalThis).inbox);
    await inbox.enqueue(new Uint8Array(), new Uint8Array([7]));
    return (await inbox.dequeue()).length;
  });
  expect(held).toBe(1);
  // the other frame knows that this one lives
  expect(await dequeued(other)).toEqual([]);
  await page.reload();
  expect(await dequeued(await open(page, url))).toEqual([7]);
});

/**
 * A frame in a page, with the module loaded.
 * @param {import("@playwright/test").Page} page @param {string} url @param {string} [sandbox]
 */
async function open(page, url, sandbox) {
  const element = await page.evaluateHandle(
    ([url, sandbox]) => {
      const frame = document.createElement("iframe");
      if (sandbox !== undefined) frame.setAttribute("sandbox", sandbox);
      frame.src = url;
      document.body.append(frame);
      return frame;
    },
    /** @type {const} */ ([url, sandbox]),
  );
  const frame = /** @type {import("@playwright/test").Frame} */ (await element.contentFrame());
  await frame.waitForFunction(() => "pymailbox" in globalThis);
  return frame;
}
