// What only JavaScript can see of its API. The conformance suite checks what the verbs do; see tests/lanes.

import { expect, test } from "./page.js";

test("a bad argument is an error that names it, and nothing is written", async ({ page }) => {
  const outcomes = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("arguments");
    const none = new Uint8Array();
    const id = await mailbox.enqueue(none, new Uint8Array([1]));
    const moved = new Uint8Array([1, 2]);
    structuredClone(moved, { transfer: [moved.buffer] });
    /** @type {any} newer than the types */
    const shrinking = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 8 }]);
    const beyond = new Uint8Array(shrinking, 4);
    shrinking.resize(2);
    const one = new Uint8Array(1);
    const largest = 64 * 1024 * 1024;
    const message = { sender: none, payload: none };
    /** @type {any} the types refuse all of these, too */
    const { openMailbox, deleteMailbox } = pymailbox;
    const any = /** @type {any} */ (mailbox);
    /** @type {[string, () => unknown][]} */
    const calls = [
      ["TypeError sender", () => any.enqueue("text", none)],
      ["TypeError payload", () => any.enqueue(none, "text")],
      ["TypeError payload", () => any.enqueue(none, [1, 2])],
      ["TypeError payload", () => any.enqueue(none, null)],
      ["TypeError payload", () => any.enqueue(none)],
      ["TypeError payload", () => any.enqueue(none, moved)],
      ["TypeError payload", () => any.enqueue(none, moved.buffer)],
      ["TypeError payload", () => any.enqueue(none, beyond)],
      ["TypeError payload", () => any.enqueue(none, new Float64Array(1))],
      ["RangeError sender,", () => any.enqueue(one, new ArrayBuffer(largest))],
      [
        "RangeError messages[1].sender,",
        () => any.enqueueMany([message, { sender: one, payload: new ArrayBuffer(largest) }]),
      ],
      [
        "RangeError messages[0][1].sender,",
        () => any.ackAndSend(id, [[mailbox, { sender: one, payload: new ArrayBuffer(largest) }]]),
      ],
      ["TypeError options", () => any.enqueue(none, none, "high")],
      ["TypeError options", () => any.enqueue(none, none, null)],
      ["TypeError options", () => any.enqueue(none, none, { message_id: id })],
      ["RangeError priority", () => any.enqueue(none, none, { priority: "urgent" })],
      ["TypeError priority", () => any.enqueue(none, none, { priority: 1 })],
      ["TypeError priority", () => any.enqueue(none, none, { priority: null })],
      ["RangeError messageId", () => any.enqueue(none, none, { messageId: "not a UUID" })],
      ["RangeError messageId", () => any.enqueue(none, none, { messageId: id.replaceAll("-", "") })],
      ["TypeError messageId", () => any.enqueue(none, none, { messageId: 5 })],
      ["TypeError messageId", () => any.enqueue(none, none, { messageId: null })],
      ["TypeError delay", () => any.enqueue(none, none, { delay: "1" })],
      ["TypeError delay", () => any.enqueue(none, none, { delay: new Date() })],
      ["RangeError delay", () => any.enqueue(none, none, { delay: -1 })],
      ["RangeError delay", () => any.enqueue(none, none, { delay: NaN })],
      ["RangeError delay", () => any.enqueue(none, none, { delay: Infinity })],
      ["TypeError headers", () => any.enqueue(none, none, { headers: "a: b" })],
      ["TypeError headers", () => any.enqueue(none, none, { headers: null })],
      ['TypeError headers["a"]', () => any.enqueue(none, none, { headers: { a: 1 } })],
      ["TypeError headers", () => any.enqueue(none, none, { headers: ["ab"] })],
      ["TypeError messages[0].headers", () => any.enqueueMany([{ ...message, headers: [[1, "a"]] }])],
      ["RangeError dedupeFor", () => any.enqueue(none, none, { dedupeFor: 1 })],
      ["TypeError dedupeFor", () => any.enqueue(none, none, { messageId: id, dedupeFor: "1" })],
      ["RangeError dedupeFor", () => any.enqueue(none, none, { messageId: id, dedupeFor: -1 })],
      ["TypeError value", () => any.enqueueJson()],
      ["RangeError value", () => any.enqueueJson({ a: [NaN] })],
      ["TypeError value", () => any.enqueueJson(5n)],
      ["TypeError value", () => any.enqueueJson({ picture: none })],
      ["TypeError sender", () => any.enqueueJson(5, { sender: "me" })],
      ["TypeError options", () => any.enqueueJson(5, { payload: none })],
      ["TypeError messages", () => any.enqueueMany()],
      ["TypeError messages", () => any.enqueueMany("text")],
      ["TypeError messages", () => any.enqueueMany(message)],
      ["TypeError messages[1]", () => any.enqueueMany([message, null])],
      ["TypeError messages[0]", () => any.enqueueMany([{ ...message, id }])],
      ["TypeError messages[1].payload", () => any.enqueueMany([message, { sender: none, payload: "text" }])],
      ["RangeError messages[0].priority", () => any.enqueueMany([{ ...message, priority: "" }])],
      [
        "SyntaxError thrown",
        () =>
          any.enqueueMany(
            (function* () {
              yield message;
              throw new SyntaxError("thrown inside");
            })(),
          ),
      ],
      ["RangeError limit", () => any.dequeue({ limit: 0 })],
      ["RangeError limit", () => any.dequeue({ limit: 1.5 })],
      ["TypeError limit", () => any.dequeue({ limit: "3" })],
      ["TypeError options", () => any.dequeue(3)],
      ["RangeError limit", () => any.dequeue({ limit: 2 ** 53 })],
      ["TypeError limit", () => any.dequeue({ limit: 3n })],
      ["RangeError wait", () => any.dequeue({ wait: 1e300 })],
      ["RangeError wait", () => any.dequeue({ wait: -1 })],
      ["RangeError wait", () => any.dequeue({ wait: NaN })],
      ["TypeError wait", () => any.dequeue({ wait: "1" })],
      ["TypeError signal", () => any.dequeue({ signal: { aborted: false } })],
      ["TypeError signal", () => any.dequeue({ signal: new AbortController() })],
      ["TypeError ack", () => any.dequeue({ ack: id })],
      ["TypeError ack", () => any.dequeue({ ack: null })],
      ["RangeError ack[1]", () => any.dequeue({ ack: [id, "not a UUID"] })],
      ["TypeError ack[0]", () => any.dequeue({ ack: new Set([5]) })],
      [
        "SyntaxError thrown",
        () =>
          any.dequeue({
            ack: (function* () {
              yield id;
              throw new SyntaxError("thrown inside");
            })(),
          }),
      ],
      ["TypeError messageId", () => any.ack()],
      ["RangeError messageId", () => any.ack("")],
      ["TypeError ids", () => any.ackMany(id)],
      ["RangeError ids[1]", () => any.ackMany([id, "x"])],
      ["TypeError messages[0]", () => any.ackAndSend(id, [message])],
      ["TypeError messages[0][0]", () => any.ackAndSend(id, [["inbox", message]])],
      ["TypeError messages[0][0]", () => any.ackAndSend(id, [[{}, message]])],
      ["TypeError messages[0][1].sender", () => any.ackAndSend(id, [[mailbox, none.buffer]])],
      ["TypeError messages[0][1]", () => any.ackAndSend(id, [[mailbox, 5]])],
      ["TypeError error", () => any.nack(id, { error: 5 })],
      ["RangeError delay", () => any.nack(id, { delay: -1 })],
      ["TypeError failed", () => any.nack(id, { failed: 0 })],
      ["TypeError messageId", () => any.get()],
      ["TypeError ids", () => any.promote(id)],
      ["RangeError ids[0]", () => any.promote(["x"])],
      ["TypeError signal", async () => any.changes({ signal: 1 })],
      ["TypeError mailbox", async () => pymailbox.exportMailbox(/** @type {any} */ ("arguments"))],
      ["TypeError mailbox", () => pymailbox.importMailbox(/** @type {any} */ ({}), "")],
      ["TypeError source", () => pymailbox.importMailbox(mailbox, /** @type {any} */ (5))],
      ["RangeError source", () => pymailbox.importMailbox(mailbox, "")],
      ["RangeError line", () => pymailbox.importMailbox(mailbox, "sender,payload")],
      ["TypeError onRefused", () => pymailbox.importMailbox(mailbox, "", { onRefused: /** @type {any} */ (1) })],
      ["TypeError reason", () => any.deadLetter(id)],
      ["RangeError limit", () => any.deadLetters({ limit: -1 })],
      ["TypeError offset", () => any.deadLetters({ offset: "1" })],
      ["RangeError messageId", () => any.redrive("x")],
      ["RangeError messageId", () => any.discard("x")],
      ["RangeError status", () => any.peek({ status: "dead" })],
      ["RangeError offset", () => any.peek({ offset: -1 })],
      ["TypeError options", () => any.dequeue({ offset: 1 })],
      ["TypeError observer", async () => any.setDepthObserver("x")],
      ["TypeError observer", async () => any.setDepthObserver()],
      ["TypeError signal", async () => any.messages({ signal: 1 })],
      ["TypeError name", () => openMailbox(5)],
      ["RangeError name", () => openMailbox("")],
      ["RangeError name", () => openMailbox("a\nb")],
      ["RangeError name", () => openMailbox("\ud800")],
      ["RangeError name", () => openMailbox("x".repeat(201))],
      ["RangeError name", () => openMailbox(":memory:")],
      ["RangeError name", () => openMailbox("file:app.db")],
      ["RangeError name", () => openMailbox("indexeddb://a/b")],
      ["RangeError name", () => openMailbox("indexeddb://a%2")],
      ["RangeError name", () => openMailbox("indexeddb://%ff")],
      ["RangeError name", () => openMailbox("indexeddb://")],
      ["StorageUnavailableError name", () => openMailbox("sqlite:///file.db")],
      ["RangeError name", () => deleteMailbox("")],
      ["RangeError batchSize", () => openMailbox("a", { batchSize: 0 })],
      ["TypeError batchSize", () => openMailbox("a", { batchSize: "3" })],
      ["RangeError maxDeliveries", () => openMailbox("a", { maxDeliveries: 0.5 })],
      ["RangeError maxDeliveries", () => openMailbox("a", { maxDeliveries: 2 ** 53 })],
      ["RangeError lease", () => openMailbox("a", { lease: Infinity })],
      ["RangeError lease", () => openMailbox("a", { lease: 1e300 })],
      ["RangeError durability", () => openMailbox("a", { durability: "safe" })],
      ["TypeError options", () => openMailbox("a", { batch_size: 3 })],
      ["TypeError A", async () => Reflect.construct(pymailbox.Mailbox, [])],
    ];
    const outcomes = [];
    for (const [expected, call] of calls) {
      let outcome;
      try {
        outcome = `no error but ${await call()}`;
      } catch (error) {
        const { name, message } = /** @type {Error} */ (error);
        outcome = `${name} ${message.split(" ")[0]}`;
      }
      outcomes.push([`${call} ${expected}`, `${call} ${outcome}`]);
    }
    const { queuedMessages, inflightMessages } = await mailbox.status();
    outcomes.push(["queued 1 inflight 0", `queued ${queuedMessages} inflight ${inflightMessages}`]);
    outcomes.push(["arguments", (await pymailbox.listMailboxes()).join()]);
    return outcomes;
  });
  expect(outcomes.map(([, outcome]) => outcome)).toEqual(outcomes.map(([expected]) => expected));
});

test("a mailbox is not copied", async ({ page }) => {
  const outcomes = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("copies");
    const channel = new BroadcastChannel("copies");
    const { port1 } = new MessageChannel();
    const worker = new Worker(URL.createObjectURL(new Blob([""])));
    const kept = await new Promise((resolve) => {
      const opening = indexedDB.open("copies");
      opening.onupgradeneeded = () => resolve(opening.result.createObjectStore("kept"));
    });
    const outcomes = [];
    for (const copy of [
      () => structuredClone(mailbox),
      () => structuredClone({ in: [mailbox] }),
      () => structuredClone(new Map([[mailbox, 1]])),
      () => port1.postMessage(mailbox),
      () => worker.postMessage({ mailbox }),
      () => window.postMessage(mailbox),
      () => channel.postMessage(mailbox),
      () => kept.put(mailbox, 1),
      () => JSON.stringify(mailbox),
      () => JSON.stringify({ in: [mailbox] }),
      () => ({ ...mailbox }),
      () => Object.assign({}, mailbox),
    ]) {
      try {
        outcomes.push(`${copy} copied ${JSON.stringify(copy())}`);
      } catch (error) {
        outcomes.push(String(error));
      }
    }
    try {
      outcomes.push(`kept ${history.pushState(mailbox, "")}`);
    } catch (error) {
      // Firefox only says here that it cannot be cloned
      outcomes.push(error instanceof TypeError ? "DataCloneError" : /** @type {DOMException} */ (error).name);
    }
    await mailbox.enqueue(new Uint8Array(), new Uint8Array([1]));
    outcomes.push((await mailbox.dequeue()).length, String(mailbox));
    channel.close();
    worker.terminate();
    return outcomes;
  });
  const refused =
    "TypeError: A mailbox cannot be copied, sent or serialised: open it again, by its name, where it is needed.";
  expect(outcomes).toEqual([...Array(12).fill(refused), "DataCloneError", 1, "[object Object]"]);
});

test("bytes are taken from any buffer or view, as they are at the call", async ({ page }) => {
  const payloads = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("bytes", { batchSize: 100 });
    const sender = new Uint8Array();
    const all = Uint8Array.from([0, 1, 2, 3, 4, 5]);
    await mailbox.enqueue(sender, all.buffer);
    await mailbox.enqueue(sender, all.subarray(1, 3));
    await mailbox.enqueue(sender, new DataView(all.buffer, 4));
    await mailbox.enqueue(sender, new Int8Array(all.buffer, 2, 2));
    const frame = /** @type {HTMLIFrameElement} */ (document.body.appendChild(document.createElement("iframe")));
    const { ArrayBuffer: OtherBuffer } = /** @type {any} */ (frame.contentWindow);
    await mailbox.enqueue(sender, new OtherBuffer(1));
    const stored = mailbox.enqueue(sender, all);
    all.fill(9);
    await stored;
    const reused = new Uint8Array(1);
    await mailbox.enqueueMany(
      (function* () {
        for (reused[0] = 7; reused[0] < 9; reused[0]++) yield { sender, payload: reused };
      })(),
    );
    return (await mailbox.dequeue()).map(({ payload }) => [...payload]);
  });
  expect(payloads).toEqual([[0, 1, 2, 3, 4, 5], [1, 2], [4, 5], [2, 3], [0], [0, 1, 2, 3, 4, 5], [7], [8]]);
});

test("a record is frozen, with a date, a canonical id, and bytes that can be transferred", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("records");
    const messageId = crypto.randomUUID();
    const before = Date.now();
    const text = new TextEncoder();
    const options = { messageId: messageId.toUpperCase(), priority: pymailbox.MessagePriority.HIGH };
    const ids = [
      await mailbox.enqueue(text.encode("sender"), text.encode("payload"), options),
      await mailbox.enqueue(text.encode("again"), text.encode("again"), { messageId }),
    ];
    const [record, ...more] = await mailbox.dequeue();
    const { createdAt, sender, payload, ...rest } = record;
    structuredClone(payload, { transfer: [payload.buffer] });
    return {
      ids: ids.every((id) => id === messageId) && record.id === messageId,
      more: more.length,
      frozen: Object.isFrozen(record),
      isDate: createdAt instanceof Date && +createdAt >= before && +createdAt <= Date.now(),
      sender: new TextDecoder().decode(sender),
      rest: { ...rest, id: undefined },
    };
  });
  const rest = { id: undefined, priority: "high", status: "inflight", deliveryCount: 1, headers: {} };
  expect(seen).toEqual({ ids: true, more: 0, frozen: true, isDate: true, sender: "sender", rest });
});

test("an aborted dequeue rejects with the signal's reason and hands nothing out", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("abort");
    const one = new Uint8Array([1]);
    /** @param {Promise<unknown>} call */
    const reason = (call) =>
      call.then(
        () => "no error",
        (error) => error,
      );
    const tooLate = AbortSignal.abort("before");
    const before = await reason(mailbox.dequeue({ signal: tooLate, wait: Infinity }));
    const controller = new AbortController();
    const waiting = reason(mailbox.dequeue({ signal: controller.signal, wait: Infinity }));
    setTimeout(() => controller.abort(), 20);
    const during = (await waiting).name;
    const timeout = (await reason(mailbox.dequeue({ signal: AbortSignal.timeout(10), wait: Infinity }))).name;
    // at any moment: it was handed out, or it is queued as if nothing had happened; never both, never neither
    const races = [];
    for (let steps = 0; steps < 12; steps++) {
      await mailbox.enqueue(one, one);
      const race = new AbortController();
      const call = mailbox.dequeue({ signal: race.signal }).then(
        ([record]) => record,
        () => undefined,
      );
      for (let step = 0; step < steps; step++)
        await (step % 3 === 2 ? new Promise((done) => setTimeout(done)) : undefined);
      race.abort();
      const record = (await call) ?? (await mailbox.dequeue({ wait: Infinity }))[0];
      races.push([record.deliveryCount, await mailbox.ack(record.id), (await mailbox.dequeue()).length].join());
    }
    return { before, during, timeout, races: [...new Set(races)] };
  });
  expect(seen).toEqual({ before: "before", during: "AbortError", timeout: "TimeoutError", races: ["1,true,0"] });
});

test("a dequeue acknowledges first: with messages, without, before it waits, all or nothing if aborted", async ({
  page,
}) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("ack along");
    const store = (/** @type {number[]} */ ...numbers) =>
      mailbox.enqueueMany(numbers.map((number) => ({ sender: new Uint8Array(), payload: Uint8Array.of(number) })));
    const payloads = (/** @type {import("../../js/api/values.js").MessageRecord[]} */ records) =>
      records.map(({ payload }) => payload[0]);
    const left = async () => {
      const { queuedMessages, inflightMessages } = await mailbox.status();
      return [queuedMessages, inflightMessages];
    };
    await store(1, 2, 3);
    const [first] = await mailbox.dequeue({ limit: 1 });
    const [second, ...more] = await mailbox.dequeue({
      limit: 1,
      ack: [first.id, first.id.toUpperCase(), crypto.randomUUID()],
    });
    const withMessages = [...payloads([second, ...more]), ...(await left())];
    const [third] = await mailbox.dequeue({ ack: new Set([second.id]) });
    const without = [...payloads(await mailbox.dequeue({ ack: [third.id] })), ...(await left())];

    await store(4);
    const [fourth] = await mailbox.dequeue();
    const waiting = mailbox.dequeue({ wait: Infinity, ack: [fourth.id] });
    let during = await left();
    while (during[1] > 0) during = await left();
    await store(5);
    const [fifth] = await waiting;
    await mailbox.ack(fifth.id);

    // at any moment: its messages were handed out or are queued as before, and all acknowledgements have happened or
    // none has
    const races = new Set();
    for (let steps = 0; steps < 12; steps++) {
      const ids = await store(6, 7);
      await mailbox.dequeue();
      await store(8);
      const race = new AbortController();
      const call = mailbox.dequeue({ signal: race.signal, ack: ids }).catch(() => undefined);
      for (let step = 0; step < steps; step++)
        await (step % 3 === 2 ? new Promise((done) => setTimeout(done)) : undefined);
      race.abort();
      const records = await call;
      const removed = await mailbox.ackMany(ids);
      const [record, ...others] = records ?? (await mailbox.dequeue());
      races.add(
        [removed === 0 || removed === ids.length, record.payload[0], record.deliveryCount, others.length].join(),
      );
      await mailbox.ack(record.id);
    }
    return { withMessages, without, during, fifth: fifth.payload[0], races: [...races], left: await left() };
  });
  const during = [0, 0];
  expect(seen).toEqual({
    withMessages: [2, 1, 1],
    without: [0, 0],
    during,
    fifth: 5,
    races: ["true,8,1,0"],
    left: [0, 0],
  });
});

test("a loop over messages gives back what it did not yield, however it is left", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("loop");
    const other = await pymailbox.openMailbox("loop");
    const sender = new Uint8Array();
    await mailbox.enqueueMany([1, 2, 3, 4].map((byte) => ({ sender, payload: new Uint8Array([byte]) })));
    /** @type {unknown[]} */
    const seen = [];
    const counts = async () => {
      const { queuedMessages, inflightMessages } = await other.status();
      return `${queuedMessages} queued ${inflightMessages} inflight`;
    };
    for await (const { payload, id } of mailbox.messages()) {
      seen.push(payload[0], await counts());
      await mailbox.ack(id);
      break;
    }
    seen.push("broken", await counts());
    const controller = new AbortController();
    try {
      for await (const { payload, id } of mailbox.messages({ signal: controller.signal })) {
        seen.push(payload[0]);
        await mailbox.ack(id);
        controller.abort(new Error("on purpose"));
      }
    } catch (error) {
      seen.push(/** @type {Error} */ (error).message, await counts());
    }
    // left while it waits: that takes no time
    const iterator = mailbox.messages();
    await iterator.next();
    await iterator.next();
    const waiting = iterator.next();
    await iterator.return?.();
    seen.push((await waiting).done, (await iterator.next()).done, await counts());
    const closing = mailbox.messages().next();
    await mailbox.close();
    seen.push((await closing).done, await counts());
    return seen;
  });
  expect(seen).toEqual([
    1,
    "0 queued 4 inflight",
    "broken",
    "3 queued 0 inflight",
    2,
    "on purpose",
    "2 queued 0 inflight",
    true,
    true,
    "0 queued 2 inflight",
    true,
    "2 queued 0 inflight",
  ]);
});

test("await using closes, and a closed mailbox says so by class", async ({ page }) => {
  // as text, since Node itself may not know the syntax
  const seen = await page.evaluate(`(async () => {
    const { MailboxClosedError, MailboxError, openMailbox } = pymailbox;
    let left;
    {
      await using mailbox = await openMailbox("using");
      await mailbox.enqueue(new Uint8Array(), new Uint8Array());
      await mailbox.dequeue();
      left = mailbox;
    }
    const error = await left.status().catch((error) => error);
    await using again = await openMailbox("using");
    return [
      error instanceof MailboxClosedError, error instanceof MailboxError, error instanceof Error, error.name,
      (await again.status()).queuedMessages,
    ];
  })()`);
  expect(seen).toEqual([true, true, true, "MailboxClosedError", 1]);
});

test("a dead letter shows the error that was thrown", async ({ page }) => {
  const letters = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("poison", { maxDeliveries: 1 });
    for (const error of [new RangeError("too much"), "a text", undefined]) {
      const id = await mailbox.enqueue(new Uint8Array(), new Uint8Array());
      await mailbox.dequeue();
      const held = [await mailbox.nack(id, error === undefined ? undefined : { error }), await mailbox.nack(id)];
      if (held[0] !== true || held[1] !== false) throw new Error(`nack gave ${held}`);
    }
    return (await mailbox.deadLetters()).map(({ error, reason, diedAt }) => [error, reason, diedAt instanceof Date]);
  });
  const reason = "1 of at most 1 deliveries failed";
  const withStack = expect.stringMatching(/^RangeError: too much\n.*evaluate/s);
  expect(letters).toEqual([
    [null, reason, true],
    ["a text", reason, true],
    [withStack, reason, true],
  ]);
});

test("peek and deadLetters skip as many as asked, across priorities, delays and statuses", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("offset", { batchSize: 100 });
    const sender = new Uint8Array();
    /** @param {number[]} bytes @param {object} [options] */
    const store = (bytes, options) =>
      mailbox.enqueueMany(bytes.map((byte) => ({ sender, payload: new Uint8Array([byte]), ...options })));
    await store([1, 2, 3, 4, 5]);
    const held = await mailbox.dequeue({ limit: 4 });
    // an omitted element leaves a hole
    await mailbox.ack(held[1].id);
    await mailbox.deadLetter(held[3].id, "first");
    await store([20, 21], { priority: "high" });
    await store([30, 31], { delay: 3_600_000 });
    await store([40]);
    /** @param {readonly {payload: Uint8Array}[]} records */
    const bytesOf = (records) => records.map(({ payload }) => payload[0]);
    const all = bytesOf(await mailbox.peek());
    const pages = [];
    for (const status of /** @type {const} */ ([undefined, "queued", "inflight"])) {
      const whole = bytesOf(await mailbox.peek({ status }));
      for (let limit = 1; limit <= 4; limit++) {
        const paged = [];
        for (let offset = 0; offset < whole.length + limit; offset += limit) {
          paged.push(...bytesOf(await mailbox.peek({ status, limit, offset })));
        }
        pages.push(paged.join() === whole.join());
      }
    }
    for (const { id } of await mailbox.dequeue({ limit: 2 })) await mailbox.deadLetter(id, "later");
    /** @param {number} offset */
    const letters = async (offset) =>
      bytesOf((await mailbox.deadLetters({ limit: 2, offset })).map(({ record }) => record));
    return {
      all,
      pages: [...new Set(pages)],
      letters: [await letters(0), await letters(1), await letters(2), await letters(3)],
    };
  });
  expect(seen).toEqual({ all: [20, 21, 5, 40, 30, 31, 1, 3], pages: [true], letters: [[21, 20], [20, 4], [4], []] });
});

test("status says how many messages were ever queued", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("ever");
    const bytes = new Uint8Array();
    /** @type {number[]} */
    const ever = [];
    const look = async () => ever.push((await mailbox.status()).everQueued);
    await look();
    await mailbox.enqueueMany([
      { sender: bytes, payload: bytes },
      { sender: bytes, payload: bytes, priority: "high" },
    ]);
    await look();
    const [first, second] = await mailbox.dequeue();
    await mailbox.ack(first.id);
    await mailbox.nack(second.id);
    await look();
    const [again] = await mailbox.dequeue();
    await mailbox.deadLetter(again.id, "on purpose");
    await look();
    await mailbox.redrive(again.id);
    await look();
    await mailbox.purge();
    await look();
    return ever;
  });
  expect(seen).toEqual([0, 2, 2, 2, 3, 3]);
});

test("an observer that throws is written to the console and harms nothing", async ({ page }) => {
  const written = page.waitForEvent("console");
  const depths = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("observer");
    /** @type {number[]} */
    const depths = [];
    const installed = mailbox.setDepthObserver((depth) => {
      depths.push(depth);
      if (depth === 1) throw new Error("on purpose");
    });
    await mailbox.enqueue(new Uint8Array(), new Uint8Array());
    await mailbox.enqueue(new Uint8Array(), new Uint8Array());
    mailbox.setDepthObserver(null);
    await mailbox.enqueue(new Uint8Array(), new Uint8Array());
    return [installed, depths];
  });
  expect(depths).toEqual([true, [1, 2]]);
  const message = await written;
  expect([message.type(), message.text()]).toEqual([
    "error",
    expect.stringContaining('observer of the mailbox "observer" threw'),
  ]);
});

test("a closed mailbox no longer observes anything", async ({ page }) => {
  const depths = await page.evaluate(async () => {
    const [closed, open] = [await pymailbox.openMailbox("deaf"), await pymailbox.openMailbox("deaf")];
    /** @type {number[]} */
    const depths = [];
    closed.setDepthObserver((depth) => depths.push(depth));
    const store = () => open.enqueue(new Uint8Array(), new Uint8Array());
    await store();
    const closing = closed.close();
    await store();
    await closing;
    await store();
    return depths;
  });
  expect(depths).toEqual([1]);
});

test("a loop over messages listens to its signal while it is under way, and not after an error", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { signal } = new AbortController();
    const listeners = new Set();
    signal.addEventListener = (/** @type {string} */ _, /** @type {unknown} */ one) => void listeners.add(one);
    signal.removeEventListener = (/** @type {string} */ _, /** @type {unknown} */ one) => void listeners.delete(one);
    const mailbox = await pymailbox.openMailbox("listening");
    for (let i = 0; i < 2; i++) await mailbox.enqueue(new Uint8Array(), new Uint8Array([i]));
    mailbox.messages({ signal });
    const counts = [listeners.size];
    for await (const _ of mailbox.messages({ signal })) {
      counts.push(listeners.size);
      break;
    }
    counts.push(listeners.size);
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = () => {
      throw new TypeError("on purpose");
    };
    const error = await mailbox
      .messages({ signal })
      .next()
      .catch((error) => error);
    IDBDatabase.prototype.transaction = transaction;
    counts.push(listeners.size);
    const waiting = mailbox.messages({ signal });
    const [first, second] = [waiting.next(), waiting.next()];
    await first;
    await mailbox.close();
    await second;
    return { counts: [...counts, listeners.size], error: `${error}` };
  });
  expect(seen).toEqual({ counts: [0, 1, 0, 0, 0], error: expect.stringContaining("on purpose") });
});

test("a loop over messages yields nothing that went back when its page was frozen", async ({ page }) => {
  const taken = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("frozen");
    for (let i = 0; i < 3; i++) await mailbox.enqueue(new Uint8Array(), new Uint8Array([i]));
    const messages = mailbox.messages();
    const first = await messages.next();
    dispatchEvent(new Event("freeze"));
    const other = await pymailbox.openMailbox("frozen");
    dispatchEvent(new Event("resume"));
    const theirs = await other.dequeue({ wait: 60_000 });
    const next = messages.next();
    await mailbox.enqueue(new Uint8Array(), new Uint8Array([9]));
    return [first.value, ...theirs, (await next).value].map((record) => record?.payload[0]);
  });
  expect(taken).toEqual([0, 0, 1, 2, 9]);
});

test("headers are taken in any form, and handed out frozen, in an object without a prototype", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("headers");
    const none = new Uint8Array();
    const given = [{ b: "1", a: "é🙃" }, new Map([["__proto__", "x"]]), new Headers({ Accept: "*/*" }), [], undefined];
    for (const headers of given) await mailbox.enqueue(none, none, { headers });
    const records = await mailbox.dequeue();
    return {
      headers: records.map(({ headers }) => Object.entries(headers)),
      frozen: records.every(({ headers }) => Object.isFrozen(headers) && Object.getPrototypeOf(headers) === null),
      // as to a worker
      copied: Object.entries(structuredClone(records[0]).headers),
    };
  });
  const first = [
    ["b", "1"],
    ["a", "é🙃"],
  ];
  expect(seen).toEqual({
    headers: [first, [["__proto__", "x"]], [["accept", "*/*"]], [], []],
    frozen: true,
    copied: first,
  });
});

test("JSON goes in and comes out, and an error about other payloads names the message", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("json");
    const value = { list: [1, "é", null, { deep: true }], left: undefined };
    const sender = new TextEncoder().encode("me");
    // as `enqueue`, it takes an id that stays known, and a delay
    const messageId = crypto.randomUUID();
    for (let call = 0; call < 2; call++) {
      await mailbox.enqueueJson(call, { messageId, dedupeFor: 60_000 });
      await mailbox.enqueueMany([pymailbox.jsonMessage(call, { messageId, dedupeFor: 60_000 })]);
      await mailbox.ack(messageId);
    }
    await mailbox.enqueueJson("later", { delay: 60_000 });
    const stored = await mailbox.status();
    const ids = [
      await mailbox.enqueueJson(value, { sender, priority: "high" }),
      ...(await mailbox.enqueueMany([
        pymailbox.jsonMessage("text", { headers: { "content-type": "application/x", other: "y" } }),
      ])),
      await mailbox.enqueue(sender, new TextEncoder().encode("{")),
      await mailbox.enqueue(sender, new Uint8Array([0x22, 0xff, 0x22])),
    ];
    const records = await mailbox.dequeue();
    const outcomes = records.map((record) => {
      try {
        return record.json();
      } catch (error) {
        const { name, message } = /** @type {Error} */ (error);
        return `${name} ${message.replace(record.id, "ID")}`;
      }
    });
    return {
      stored: [stored.queuedMessages, stored.delayedMessages, stored.everQueued],
      order: records.every(({ id }, i) => id === ids[i]),
      outcomes,
      headers: records.map(({ headers }) => headers),
    };
  });
  expect(seen.stored).toEqual([1, 1, 2]);
  expect(seen.order).toBe(true);
  expect(seen.outcomes).toEqual([
    { list: [1, "é", null, { deep: true }] },
    "text",
    expect.stringMatching(/^SyntaxError the payload of message ID is not JSON: /),
    "SyntaxError the payload of message ID is not JSON: it is not UTF-8",
  ]);
  const named = { "content-type": "application/x", other: "y" };
  expect(seen.headers).toEqual([{ "content-type": "application/json" }, named, {}, {}]);
});

test("get shows a message wherever it is, and promote ends delays", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("get");
    const none = new Uint8Array();
    const before = Date.now();
    const id = await mailbox.enqueue(none, none, { delay: 60_000 });
    const other = await mailbox.enqueue(none, none, { delay: 60_000, messageId: crypto.randomUUID() });
    const look = async () => /** @type {any} */ (await mailbox.get(id));
    const delayed = await look();
    const counts = await mailbox.status();
    const promoted = [await mailbox.promote([id, id]), await mailbox.promote([id]), await mailbox.promote([])];
    const due = await look();
    await mailbox.dequeue();
    const held = await look();
    await mailbox.nack(id, { failed: false, error: "not now" });
    const back = await look();
    await mailbox.dequeue();
    await mailbox.deadLetter(id, "why");
    const letter = await look();
    await mailbox.discard(id);
    return {
      delayed: [delayed.status, delayed.dueAt - before >= 60_000, counts.delayedMessages, counts.queuedMessages],
      oldest: +(/** @type {Date} */ (counts.oldestQueuedAt)) === +delayed.createdAt,
      promoted: [...promoted, await mailbox.promote(), (await mailbox.peek({ limit: 1 }))[0].id === other],
      due: [due.status, "dueAt" in due],
      held: [held.status, held.deliveryCount],
      back: [back.status, back.deliveryCount],
      letter: [letter.reason, letter.error, letter.record.id === id],
      gone: [await look(), await mailbox.get(crypto.randomUUID())],
    };
  });
  expect(seen).toEqual({
    delayed: ["queued", true, 2, 2],
    oldest: true,
    promoted: [1, 0, 0, 1, true],
    due: ["queued", false],
    held: ["inflight", 1],
    back: ["queued", 0],
    letter: ["why", "not now", true],
    gone: [null, null],
  });
});

test("an id stays known for as long as requested", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("known");
    const none = new Uint8Array();
    const messageId = crypto.randomUUID();
    const store = async () => {
      const ids = await mailbox.enqueueMany([{ sender: none, payload: none, messageId, dedupeFor: 60_000 }]);
      return ids.join() === messageId && (await mailbox.ack(messageId));
    };
    const stored = [await store(), await store()];
    const { now } = Date;
    Date.now = () => now() + 60_001;
    stored.push(await store(), await store());
    Date.now = now;
    return stored;
  });
  expect(seen).toEqual([true, false, true, false]);
});

test("changes reports other tabs' commits, and ends when asked to", async ({ page, context, baseURL }) => {
  const other = await context.newPage();
  for (const each of [page, other]) {
    if (each === other) await each.goto(`${baseURL}/`);
    await each.waitForFunction(() => "pymailbox" in globalThis);
    await each.evaluate(async () => {
      const globals = /** @type {any} */ (globalThis);
      globals.mailbox = await pymailbox.openMailbox("changes");
    });
  }
  await page.evaluate(() => {
    const globals = /** @type {any} */ (globalThis);
    globals.states = [];
    globals.ends = {};
    const watch = async (/** @type {string} */ name, /** @type {any} */ options) => {
      try {
        for await (const { queuedMessages, inflightMessages } of globals.mailbox.changes(options)) {
          globals.states.push([queuedMessages, inflightMessages]);
          if (name === "left" && queuedMessages === 1) break;
        }
        globals.ends[name] = "ended";
      } catch (error) {
        globals.ends[name] = String(error);
      }
    };
    globals.abort = new AbortController();
    for (const name of ["closed", "left"]) void watch(name, undefined);
    void watch("aborted", { signal: globals.abort.signal });
  });
  const last = (/** @type {number} */ count) =>
    page.waitForFunction((count) => /** @type {any} */ (globalThis).states.at(-1)?.[0] === count, count);
  const ends = () => page.evaluate(() => /** @type {any} */ (globalThis).ends);
  await last(0);
  await other.evaluate(() => /** @type {any} */ (globalThis).mailbox.enqueue(new Uint8Array(), new Uint8Array()));
  await last(1);
  await expect.poll(ends).toEqual({ left: "ended" });
  await page.evaluate(() => /** @type {any} */ (globalThis).abort.abort(new Error("enough")));
  await expect.poll(ends).toEqual({ left: "ended", aborted: "Error: enough" });
  await other.evaluate(() => /** @type {any} */ (globalThis).mailbox.purge());
  await last(0);
  await page.evaluate(() => /** @type {any} */ (globalThis).mailbox.close());
  await expect.poll(ends).toEqual({ left: "ended", aborted: "Error: enough", closed: "ended" });
  expect(
    await page.evaluate(async () => {
      const error = await Promise.resolve()
        .then(() => /** @type {any} */ (globalThis).mailbox.changes())
        .catch((error) => error);
      return error.name;
    }),
  ).toBe("MailboxClosedError");
  await other.close();
});

test("a mailbox survives export and import", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { exportMailbox, importMailbox, openMailbox } = pymailbox;
    const [source, target] = [await openMailbox("from"), await openMailbox("to")];
    const text = new TextEncoder();
    // more than one page of an export
    const many = Array.from({ length: 700 }, (_, i) => ({ sender: text.encode("s"), payload: text.encode(`${i}`) }));
    await source.enqueueMany(many);
    await source.enqueue(text.encode("é"), text.encode("x"), { delay: 60_000, priority: "high", headers: { a: "b" } });
    const [dead] = await source.dequeue({ limit: 1 });
    await source.deadLetter(dead.id, "why");
    const file = await new Response(exportMailbox(source)).text();
    /** @type {number[]} */
    const refused = [];
    const broken = new File([file.replace("\n", "\n{}\n")], "mailbox.ndjson");
    const report = await importMailbox(target, broken, { onRefused: ({ line }) => refused.push(line) });
    const again = await importMailbox(target, exportMailbox(source));
    const cut = await importMailbox(target, file.slice(0, -20));
    const stats = await target.status();
    const [high] = await target.peek({ limit: 1, offset: 699 });
    const letters = await target.deadLetters();
    const same = file === (await new Response(exportMailbox(target)).text());
    // it stops when its reader stops
    const reader = exportMailbox(source).getReader();
    await reader.read();
    await reader.cancel();
    const aborted = await importMailbox(target, "", { signal: AbortSignal.abort("enough") }).catch((error) => error);
    const controller = new AbortController();
    const stalled = new ReadableStream({ start: (stream) => stream.enqueue(file.slice(0, 100)) });
    const stalling = importMailbox(target, stalled, { signal: controller.signal }).catch((error) => error);
    controller.abort("stalled");
    await Promise.all([source.close(), target.close()]);
    return {
      reports: [report, again, cut].map(({ stored, alreadyThere, complete }) => [stored, alreadyThere, complete]),
      refused,
      counts: [stats.queuedMessages, stats.deadLetters, stats.delayedMessages],
      high: [high.headers, high.priority],
      letters: letters.map(({ record, reason }) => [record.id === dead.id, reason]),
      same,
      aborted: [aborted, await stalling],
    };
  });
  expect(seen).toEqual({
    reports: [
      [701, 0, false],
      [0, 701, true],
      [0, 701, false],
    ],
    refused: [2],
    counts: [700, 1, 1],
    high: [{ a: "b" }, "high"],
    letters: [[true, "why"]],
    same: true,
    aborted: ["enough", "stalled"],
  });
});
