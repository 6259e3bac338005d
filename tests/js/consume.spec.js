// `consume` and `Backpressure` in JavaScript. What is the same in Python has the name of the check there, see
// pymailbox/testing/checks/consuming.py.

import { expect, test as base } from "./page.js";

/** Tests whose page has `consuming` at hand, and whose console is written down. */
const test = base.extend({
  page: async ({ page }, use) => {
    await page.addScriptTag({ url: "/consuming.js", type: "module" });
    await page.waitForFunction(() => "consuming" in globalThis);
    await use(page);
  },
});

/** What the page has written to its console, except for what only those see who look at everything. */
function consoleOf(/** @type {import("@playwright/test").Page} */ page) {
  /** @type {string[]} */
  const lines = [];
  page.on("console", (message) => {
    if (message.type() !== "debug") lines.push(`${message.type()}: ${message.text()}`);
  });
  return lines;
}

const UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";

// -- handlers that return ---------------------------------------------------------------------------------------------

test("handled messages are acked", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, eventually, numbered, send, sleep, textOf } = consuming;
    const [mailbox, sender] = [await pymailbox.openMailbox("acked"), await pymailbox.openMailbox("acked")];
    await send(sender, numbered(40));
    /** @type {string[]} */
    const seen = [];
    const consumer = mailbox.consume(async (message) => {
      await sleep(0);
      seen.push(`${textOf(message)}:${message.deliveryCount}`);
    });
    await allHandled(sender);
    await send(sender, numbered(5, "later"));
    await eventually(() => seen.length === 45);
    await allHandled(sender);
    const ended = [consumer.stopping, await consumer.stop(), consumer.stopping, await consumer.finished];
    return { seen, ended };
  });
  const numbers = (/** @type {number} */ count, /** @type {string} */ name) =>
    Array.from({ length: count }, (_, i) => `${name}${i}:1`);
  expect(seen.seen).toEqual([...numbers(40, "m"), ...numbers(5, "later")]);
  expect(seen.ended).toEqual([false, undefined, true, undefined]);
});

test("high priority is handled first", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, numbered, send, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("priority");
    await send(mailbox, numbered(3));
    await send(mailbox, numbered(3, "high"), { priority: "high" });
    /** @type {string[]} */
    const seen = [];
    // not asynchronous, and without a context
    const consumer = mailbox.consume((message) => seen.push(textOf(message)));
    await allHandled(mailbox);
    await consumer.stop();
    return seen;
  });
  expect(seen).toEqual(["high0", "high1", "high2", "m0", "m1", "m2"]);
});

test("concurrency is kept", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, door, eventually, numbered, send, sleep } = consuming;
    const mailbox = await pymailbox.openMailbox("concurrency");
    await send(mailbox, numbered(8));
    const { opened, open } = door();
    let [running, most, begun] = [0, 0, 0];
    const handler = async () => {
      begun += 1;
      running += 1;
      most = Math.max(most, running);
      await opened;
      running -= 1;
    };
    const consumer = mailbox.consume(handler, { concurrency: 3 });
    await eventually(() => begun === 3);
    await sleep(50); // time for one too many
    const before = begun;
    open();
    await allHandled(mailbox);
    await consumer.stop();
    return [before, most, begun];
  });
  expect(seen).toEqual([3, 3, 8]);
});

test("consumers share a mailbox", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, numbered, send, sleep, textOf } = consuming;
    const mailboxes = await Promise.all([1, 2, 3].map(() => pymailbox.openMailbox("shared", { batchSize: 3 })));
    await send(mailboxes[0], numbered(60));
    /** @type {string[]} */
    const seen = [];
    const consumers = mailboxes.map((mailbox) =>
      mailbox.consume(async (message) => {
        await sleep(0);
        seen.push(textOf(message));
      }),
    );
    await allHandled(mailboxes[0]);
    await Promise.all(consumers.map((consumer) => consumer.stop()));
    return [seen.length, new Set(seen).size];
  });
  expect(seen).toEqual([60, 60]);
});

test("sends commit with the ack, and a failed handler sends nothing", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { AT_ONCE, allHandled, bytes, numbered, rest, send } = consuming;
    const [inbox, outbox] = [await pymailbox.openMailbox("in"), await pymailbox.openMailbox("out")];
    await send(inbox, numbered(5));
    /** @type {number[]} */
    const depths = [];
    /** @type {unknown[]} */
    const late = [];
    const consumer = inbox.consume(
      async (message, context) => {
        const buffer = message.payload.slice();
        context.send(outbox, { sender: bytes("actor"), payload: buffer });
        buffer.fill(0);
        context.send(outbox, { sender: bytes("actor"), payload: bytes("again"), priority: "high" });
        await inbox.status(); // time for a send that does not wait for the handler
        depths.push((await outbox.status()).queuedMessages);
        if (context.mailbox !== inbox || context.message !== message) throw new Error("another context");
        setTimeout(() => {
          try {
            context.send(outbox, { sender: bytes("actor"), payload: bytes("too late") });
          } catch (error) {
            late.push(/** @type {Error} */ (error).message);
          }
        }, 20);
        if (message.deliveryCount === 1 && message.payload[1] === 48) throw new Error("on purpose");
      },
      { retry: AT_ONCE },
    );
    await allHandled(inbox);
    await consumer.stop();
    await consuming.eventually(() => late.length === 6);
    return { depths, sent: await rest(outbox), late: [...new Set(late)] };
  });
  expect(seen.depths).toEqual([0, 0, 2, 4, 6, 8]);
  expect(seen.sent.slice(0, 5)).toEqual(Array(5).fill("again:1"));
  expect(seen.sent.slice(5).sort()).toEqual(["m0:1", "m1:1", "m2:1", "m3:1", "m4:1"]);
  expect(seen.late).toEqual(["This handler has ended: it must send before it returns."]);
});

// -- handlers that fail -----------------------------------------------------------------------------------------------

test("failed message comes again, and waits in the queue", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { AT_ONCE, MUCH_LATER, allHandled, eventually, left, rest, send, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("failing");
    await send(mailbox, ["good", "bad", "better"]);
    /** @type {string[]} */
    const seen = [];
    const handler = (/** @type {any} */ message) => {
      seen.push(`${textOf(message)}:${message.deliveryCount}`);
      if (textOf(message) === "bad" && message.deliveryCount < 4) throw new Error("on purpose");
    };
    const first = mailbox.consume(handler, { retry: AT_ONCE });
    await allHandled(mailbox);
    await first.stop();
    await send(mailbox, ["bad", "good"]);
    const second = mailbox.consume(handler, { retry: MUCH_LATER });
    await eventually(async () => seen.length === 8 && (await left(mailbox)).join() === "1,0");
    const ready = await rest(mailbox);
    await second.stop();
    return { bad: seen.filter((one) => one.startsWith("bad")), others: seen.length, ready };
  });
  expect(seen).toEqual({ bad: ["bad:1", "bad:2", "bad:3", "bad:4", "bad:1"], others: 8, ready: [] });
});

test("failures end with a dead letter; the policy has a limit of its own; a rejected message is one at once", async ({
  page,
}) => {
  const lines = consoleOf(page);
  const letters = await page.evaluate(async () => {
    const { AT_ONCE, allHandled, send, textOf } = consuming;
    const found = [];
    for (const [maxDeliveries, retry] of /** @type {const} */ ([
      [3, AT_ONCE],
      [undefined, { ...AT_ONCE, maxDeliveries: 2 }],
    ])) {
      const mailbox = await pymailbox.openMailbox(`letters ${maxDeliveries}`, { maxDeliveries });
      await send(mailbox, ["bad", "rejected", "good"]);
      /** @type {number[]} */
      const counts = [];
      const consumer = mailbox.consume(
        async function failsOnPurpose(message) {
          if (textOf(message) === "rejected")
            throw new pymailbox.Reject("no such command", { cause: new Error("not JSON") });
          if (textOf(message) === "good") return;
          counts.push(message.deliveryCount);
          throw new RangeError(`number ${message.deliveryCount}`, { cause: new Error("the cause") });
        },
        { retry },
      );
      await allHandled(mailbox);
      await consumer.stop();
      const letters = await mailbox.deadLetters();
      letters.sort((one, other) => textOf(one.record).localeCompare(textOf(other.record)));
      found.push({ counts, letters: letters.map(({ reason, error }) => ({ reason, error })) });
    }
    return found;
  });
  const thrown = (/** @type {number} */ count) =>
    new RegExp(`RangeError: number ${count}\\n[\\s\\S]*failsOnPurpose[\\s\\S]*caused by: Error: the cause`);
  const rejected = { reason: expect.stringMatching(/^no such command\n\nError: not JSON/), error: null };
  expect(letters[0]).toEqual({
    counts: [1, 2, 3],
    letters: [{ reason: "3 of at most 3 deliveries failed", error: expect.stringMatching(thrown(3)) }, rejected],
  });
  expect(letters[1].counts).toEqual([1, 2]);
  const reason = expect.stringMatching(new RegExp(`^2 of at most 2 deliveries failed\n\n${thrown(2).source}`));
  expect(letters[1].letters).toEqual([{ reason, error: expect.stringContaining("number 1") }, rejected]);
  // one line for each retry, one for each dead letter
  const retries = [1, 1, 2].map(
    (count) => `info: message ID failed at delivery ${count}, again after 0.0 s: RangeError: number ${count}`,
  );
  const deaths = [
    ...[2, 3].map((count) => `${count} of at most ${count} deliveries failed: RangeError: number ${count}`),
    ...Array(2).fill("no such command"),
  ].map((reason) => `warning: message ID is a dead letter: ${reason}`);
  expect(lines.map((line) => line.replace(new RegExp(UUID), "ID")).sort()).toEqual([...retries, ...deaths]);
});

test("retry waits in the queue, and sends have the headers that they had at the call", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { bytes, eventually, left, rest, send, textOf } = consuming;
    const [mailbox, outbox] = [await pymailbox.openMailbox("later"), await pymailbox.openMailbox("headers")];
    await send(mailbox, ["not now", "good"]);
    const consumer = mailbox.consume((message, context) => {
      if (textOf(message) === "not now") throw new pymailbox.Retry(1_000_000, { failed: false });
      const headers = new Map([["trace", "1"]]);
      const answer = { sender: bytes(""), payload: bytes("answer") };
      context.send(outbox, { ...answer, headers });
      context.send(outbox, { ...answer, headers: headers.entries() }); // which can be read only once
      headers.set("trace", "2");
    });
    await eventually(async () => (await left(mailbox)).join() === "1,0");
    await consumer.stop();
    const sent = (await outbox.dequeue()).map(({ headers }) => headers);
    const [waiting] = await mailbox.peek();
    return { sent, ready: await rest(mailbox), waiting: [textOf(waiting), waiting.deliveryCount] };
  });
  expect(seen).toEqual({ sent: [{ trace: "1" }, { trace: "1" }], ready: [], waiting: ["not now", 0] });
});

test("retry comes again after its delay, and may take the hand-out back", async ({ page }) => {
  const lines = consoleOf(page);
  const seen = await page.evaluate(async () => {
    const { MUCH_LATER, allHandled, eventually, left, send, sleep, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("retry", { maxDeliveries: 3 });
    await send(mailbox, ["soon", "later", "by policy"]);
    /** @type {string[]} */
    const seen = [];
    /** @type {Record<string, number | undefined>} */
    const delays = { soon: 0, later: 1_000_000, "by policy": undefined };
    const first = mailbox.consume(
      (message) => {
        seen.push(`${textOf(message)}:${message.deliveryCount}`);
        if (message.deliveryCount < 3) throw new pymailbox.Retry(delays[textOf(message)]);
      },
      { retry: MUCH_LATER },
    );
    await eventually(() => seen.length === 5);
    await sleep(20); // time for one that should not come yet
    await first.stop();
    await mailbox.purge();

    const settled = await pymailbox.openMailbox("put off", { maxDeliveries: 2 });
    await send(settled, ["not now", "good"]);
    /** @type {string[]} */
    const putOff = [];
    const second = settled.consume(
      (message) => {
        putOff.push(`${textOf(message)}:${message.deliveryCount}`);
        if (textOf(message) === "not now" && putOff.length < 6)
          throw new pymailbox.Retry(0, { failed: false, cause: new Error("503") });
      },
      { retry: { firstDelay: 0, maxDeliveries: 2 } },
    );
    await allHandled(settled);
    await second.stop();
    return {
      seen: seen.sort(),
      putOff: putOff.sort(),
      letters: (await settled.status()).deadLetters,
      left: await left(mailbox),
    };
  });
  expect(seen).toEqual({
    seen: ["by policy:1", "later:1", "soon:1", "soon:2", "soon:3"],
    putOff: ["good:1", ...Array(5).fill("not now:1")].sort().slice(0, 6),
    letters: 0,
    left: [0, 0],
  });
  expect(lines.filter((line) => line.includes("put off"))).toEqual(
    Array(4).fill(
      expect.stringMatching(
        new RegExp(`^info: message ${UUID} was put off at delivery 1, again after 0.0 s: Error: 503$`),
      ),
    ),
  );
});

// -- handlers that take too long --------------------------------------------------------------------------------------

test("timeout is a failed delivery, whether its handler listens, answers, or hangs", async ({ page }) => {
  const lines = consoleOf(page);
  const letters = await page.evaluate(async () => {
    const { AT_ONCE, allHandled, send, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("timeout", { maxDeliveries: 1 });
    await send(mailbox, ["listens", "hangs", "returns", "throws", "rejects", "raises its own", "good"]);
    /** @type {unknown[]} */
    const reasons = [];
    const consumer = mailbox.consume(
      async (message, context) => {
        const text = textOf(message);
        if (text === "good") return;
        if (text === "raises its own") throw new DOMException("the server is slow", "TimeoutError");
        if (text === "hangs") await new Promise(() => {});
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        const { reason } = context.signal;
        reasons.push(reason.name);
        if (text === "listens") throw reason;
        if (text === "throws") throw new Error("cleaning up failed");
        if (text === "rejects") throw new pymailbox.Reject("always too slow");
      },
      { timeout: 30, concurrency: 2, retry: AT_ONCE },
    );
    await allHandled(mailbox);
    await consumer.stop();
    const letters = await mailbox.deadLetters();
    return {
      reasons,
      letters: Object.fromEntries(letters.map(({ record, reason, error }) => [textOf(record), error ?? reason])),
    };
  });
  const tooLong = /^TimeoutError: the handler took longer than 30 ms and was aborted/;
  expect(letters).toEqual({
    reasons: Array(4).fill("TimeoutError"),
    letters: {
      listens: expect.stringMatching(tooLong),
      hangs: expect.stringMatching(tooLong),
      returns: expect.stringMatching(tooLong),
      throws: expect.stringMatching(new RegExp(`${tooLong.source}\ncaused by: Error: cleaning up failed`)),
      rejects: "always too slow",
      "raises its own": expect.stringMatching(/^TimeoutError: the server is slow/),
    },
  });
  expect(lines.filter((line) => line.includes("left behind"))).toHaveLength(1);
});

test("a handler that has ended in time is not aborted", async ({ page }) => {
  const aborted = await page.evaluate(async () => {
    const { send, sleep, allHandled } = consuming;
    const mailbox = await pymailbox.openMailbox("in time");
    await send(mailbox, ["work"]);
    /** @type {AbortSignal[]} */
    const signals = [];
    const consumer = mailbox.consume((_, { signal }) => signals.push(signal), { timeout: 20 });
    await allHandled(mailbox);
    await consumer.stop();
    await sleep(50);
    return signals.map(({ aborted }) => aborted);
  });
  expect(aborted).toEqual([false]);
});

// -- handlers that settle their message themselves --------------------------------------------------------------------

test("what a handler settled by hand is the last word, and decides what becomes of its sends", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { MUCH_LATER, allHandled, bytes, left, rest, send, textOf } = consuming;
    const [inbox, outbox] = [await pymailbox.openMailbox("by hand"), await pymailbox.openMailbox("by hand, out")];
    const work = ["acks", "acks many", "acks and sends", "nacks", "nacks and throws", "buries"];
    await send(inbox, work);
    /** @type {string[]} */
    const seen = [];
    const consumer = inbox.consume(
      async (message, context) => {
        const text = textOf(message);
        const { id } = message;
        seen.push(`${text}:${message.deliveryCount}`);
        context.send(outbox, { sender: bytes("handler"), payload: bytes(`${text} ${message.deliveryCount}`) });
        if (text === "acks") await inbox.ack(id.toUpperCase());
        if (text === "acks many") await context.mailbox.ackMany([id]);
        if (text === "acks and sends")
          await inbox.ackAndSend(id, [[outbox, { sender: bytes("handler"), payload: bytes("by hand") }]]);
        if (text.startsWith("nacks") && message.deliveryCount === 1) {
          await inbox.nack(id);
          if (text === "nacks and throws") throw new Error("after that");
        }
        if (text === "buries") {
          await inbox.deadLetter(id, "by hand");
          throw new pymailbox.Reject("by the loop");
        }
      },
      { retry: MUCH_LATER },
    );
    await allHandled(inbox);
    await consumer.stop();
    const letters = (await inbox.deadLetters()).map(({ reason }) => reason);
    return { seen: seen.sort(), sent: (await rest(outbox)).sort(), letters, left: await left(inbox) };
  });
  expect(seen.letters).toEqual(["by hand"]);
  expect(seen.sent).toEqual(
    ["acks 1:1", "acks and sends 1:1", "acks many 1:1", "by hand:1", "nacks 2:1", "nacks and throws 2:1"].sort(),
  );
  expect(seen.left).toEqual([0, 0]);
});

test("earlier messages are acknowledged before a later one is settled", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { MUCH_LATER, allHandled, eventually, numbered, send, textOf } = consuming;
    /** @type {Record<string, (mailbox: import("../../js/index.js").Mailbox, id: string) => Promise<unknown>>} */
    const verbs = {
      ack: (mailbox, id) => mailbox.ack(id),
      ackMany: (mailbox, id) => mailbox.ackMany([id]),
      ackAndSend: (mailbox, id) => mailbox.ackAndSend(id, []),
      nack: (mailbox, id) => mailbox.nack(id),
      deadLetter: (mailbox, id) => mailbox.deadLetter(id, "no"),
      dequeue: (mailbox, id) => mailbox.dequeue({ ack: [id], limit: 1 }),
    };
    /** @type {[string, string[]][]} */
    const seen = [];
    for (const [verb, settle] of Object.entries(verbs)) {
      for (const orderedBySender of [true, false]) {
        const [mailbox, other] = [await pymailbox.openMailbox(verb), await pymailbox.openMailbox(verb)];
        await send(mailbox, [...numbered(40, "quick"), "settled", "more"]);
        let isSettled = false;
        const consumer = mailbox.consume(
          async (message) => {
            if (textOf(message) !== "settled" || isSettled) return;
            isSettled = true;
            await settle(mailbox, message.id);
            const left = await other.peek({ limit: 100 });
            seen.push([verb, left.map(textOf).filter((text) => text.startsWith("quick"))]);
          },
          { orderedBySender, retry: MUCH_LATER },
        );
        await eventually(() => isSettled);
        await consumer.stop();
        await mailbox.close();
        const after = other.consume(() => {});
        await allHandled(other);
        await after.stop();
      }
    }
    return seen;
  });
  const verbs = ["ack", "ackMany", "ackAndSend", "nack", "deadLetter", "dequeue"];
  expect(seen).toEqual(verbs.flatMap((verb) => [verb, verb]).map((verb) => [verb, []]));
});

test("ack with a dequeue is the last word, at once though that waits", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { bytes, left, rest, send } = consuming;
    const [inbox, outbox] = [await pymailbox.openMailbox("with a claim"), await pymailbox.openMailbox("out")];
    await send(inbox, ["work"]);
    const controller = new AbortController();
    const { signal } = controller;
    /** @type {Promise<unknown> | undefined} */
    let waiting;
    const consumer = inbox.consume(async (message, context) => {
      context.send(outbox, { sender: bytes(""), payload: message.payload });
      // it waits longer than its handler runs
      waiting = inbox.dequeue({ wait: Infinity, ack: [message.id], signal }).catch((error) => error.name);
      context.stop();
    });
    await consumer.finished;
    controller.abort();
    return { left: await left(inbox), sent: await rest(outbox), waiting: await waiting };
  });
  expect(seen).toEqual({ left: [0, 0], sent: ["work:1"], waiting: "AbortError" });
});

test("ack by hand leaves a new message under the same id alone", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, bytes, eventually, send, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("same id");
    await send(mailbox, ["old"]);
    /** @type {string[]} */
    const seen = [];
    const consumer = mailbox.consume(async (message) => {
      seen.push(textOf(message));
      if (textOf(message) !== "old") return;
      await mailbox.ack(message.id);
      await mailbox.enqueue(bytes(""), bytes("new"), { messageId: message.id });
    });
    await eventually(() => seen.length === 2);
    await allHandled(mailbox);
    await consumer.stop();
    return seen;
  });
  expect(seen).toEqual(["old", "new"]);
});

// -- claiming by need, and order --------------------------------------------------------------------------------------

test("what cannot begin is for others", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { door, eventually, left, numbered, send, textOf } = consuming;
    const [mailbox, other] = [await pymailbox.openMailbox("need"), await pymailbox.openMailbox("need")];
    await send(mailbox, [...numbered(20, "quick"), ...numbered(10)]);
    const { opened, open } = door();
    /** @type {string[]} */
    const begun = [];
    const handler = async (/** @type {any} */ message) => {
      if (textOf(message).startsWith("quick")) return;
      begun.push(textOf(message));
      await opened;
    };
    const consumer = mailbox.consume(handler, { concurrency: 2 });
    await eventually(async () => begun.length === 2 && (await left(other)).join() === "8,2");
    const taken = (await other.dequeue({ limit: 3 })).map((record) => `${textOf(record)}:${record.deliveryCount}`);
    await send(other, ["urgent"], { priority: "high" });
    open();
    await eventually(async () => (await left(other)).join() === "0,3");
    await consumer.stop();
    return { taken, begun: begun.slice(2) };
  });
  expect(seen).toEqual({ taken: ["m2:1", "m3:1", "m4:1"], begun: ["urgent", "m5", "m6", "m7", "m8", "m9"] });
});

test("handlers that block let others have a turn, and keep nothing that they cannot begin soon", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, numbered, send, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("blocking");
    await send(mailbox, [...numbered(40, "quick"), ...numbered(12)]);
    let turns = 0;
    const others = setInterval(() => {
      turns += 1;
    }, 1);
    /** @type {string[]} */
    const begun = [];
    const seenTurns = new Set();
    const consumer = mailbox.consume((message) => {
      if (textOf(message).startsWith("quick")) return;
      begun.push(textOf(message));
      seenTurns.add(turns);
      if (begun.length === 1) send(mailbox, ["urgent"], { priority: "high" });
      const end = performance.now() + 20;
      while (performance.now() < end);
    });
    await allHandled(mailbox);
    await consumer.stop();
    clearInterval(others);
    return { urgent: begun.indexOf("urgent"), begun: begun.filter((text) => text !== "urgent"), turns: seenTurns.size };
  });
  expect(seen.begun).toEqual(Array.from({ length: 12 }, (_, i) => `m${i}`));
  expect(seen.turns).toBeGreaterThan(6);
  expect(seen.urgent).toBeLessThan(8);
});

test("handlers begin in order", async ({ page }) => {
  const begun = await page.evaluate(async () => {
    const { allHandled, door, numbered, send, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("in order");
    await send(mailbox, [...numbered(20, "quick"), ...numbered(6)]);
    const { opened, open } = door();
    /** @type {string[]} */
    const begun = [];
    const handler = async (/** @type {import("../../js/index.js").MessageRecord} */ message) => {
      const text = textOf(message);
      if (text.startsWith("quick")) return;
      begun.push(text);
      if (text === "m0") await opened;
      if (text !== "m1") return;
      open();
      const end = performance.now() + 10;
      while (performance.now() < end); // others have a turn before the next handler begins
    };
    const consumer = mailbox.consume(handler, { concurrency: 2 });
    await allHandled(mailbox);
    await consumer.stop();
    return begun;
  });
  expect(begun).toEqual(["m0", "m1", "m2", "m3", "m4", "m5"]);
});

test("senders stay in order, also when one fails or is put off, and however many wait", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, eventually, left, numbered, send, sleep, textOf, MUCH_LATER } = consuming;
    const mailbox = await pymailbox.openMailbox("order", { batchSize: 4 });
    for (let i = 0; i < 6; i++) {
      for (const sender of ["anna", "ben", "cleo"]) await send(mailbox, [`${sender}${i}`], { sender });
    }
    /** @type {Record<string, number>} */
    const trouble = { anna1: 2, ben3: 1, cleo0: 2 };
    /** @type {string[]} */
    const seen = [];
    /** @type {Set<string>} */
    const running = new Set();
    let atOnce = 0;
    const consumer = mailbox.consume(
      async (message) => {
        const sender = textOf(message).slice(0, -1);
        if (running.has(sender)) seen.push(`two of ${sender} at once`);
        running.add(sender);
        atOnce = Math.max(atOnce, running.size);
        try {
          await sleep(0);
          if (trouble[textOf(message)]-- > 0) {
            if (sender === "cleo") throw new pymailbox.Retry(1, { failed: false });
            throw new Error("on purpose");
          }
          seen.push(textOf(message));
        } finally {
          running.delete(sender);
        }
      },
      { concurrency: 3, orderedBySender: true, retry: { firstDelay: 5, jitter: 0 } },
    );
    await allHandled(mailbox);
    await consumer.stop();

    const many = await pymailbox.openMailbox("many");
    await send(many, numbered(400, "held back"), { sender: "anna" });
    await send(many, numbered(5), { sender: "ben" });
    /** @type {string[]} */
    const others = [];
    const second = many.consume(
      (message) => {
        if (textOf(message).startsWith("held")) throw new Error("on purpose");
        others.push(textOf(message));
      },
      { concurrency: 2, orderedBySender: true, retry: MUCH_LATER },
    );
    await eventually(() => others.length === 5);
    await second.stop();
    return { seen, atOnce, others, left: await left(many) };
  });
  for (const sender of ["anna", "ben", "cleo"]) {
    expect(seen.seen.filter((text) => text.includes(sender))).toEqual([0, 1, 2, 3, 4, 5].map((i) => `${sender}${i}`));
  }
  expect(seen.atOnce).toBeGreaterThan(1);
  expect(seen.others).toEqual(["m0", "m1", "m2", "m3", "m4"]);
  expect(seen.left).toEqual([400, 0]);
});

// -- the end ----------------------------------------------------------------------------------------------------------

for (const way of /** @type {const} */ (["stop", "signal", "context"])) {
  test(`stop is clean: by ${way}`, async ({ page }) => {
    const seen = await page.evaluate(async (way) => {
      const { door, eventually, left, numbered, rest, send, textOf } = consuming;
      const [mailbox, other] = [await pymailbox.openMailbox("stop"), await pymailbox.openMailbox("stop")];
      await send(mailbox, [...numbered(20, "quick"), ...numbered(5)]);
      const { opened, open } = door();
      const controller = new AbortController();
      /** @type {string[]} */
      const ended = [];
      /** @type {import("../../js/index.js").Context[]} */
      const contexts = [];
      const consumer = mailbox.consume(
        async (message, context) => {
          if (textOf(message).startsWith("quick")) return;
          contexts.push(context);
          await opened;
          ended.push(textOf(message));
        },
        { concurrency: 2, signal: controller.signal },
      );
      await eventually(() => contexts.length === 2);
      const before = contexts[0].stopping;
      if (way === "stop") consumer.stop();
      else if (way === "signal") controller.abort();
      else contexts[1].stop();
      await eventually(async () => (await left(other)).join() === "3,2");
      let isOver = false;
      consumer.finished.then(() => {
        isOver = true;
      });
      await left(other);
      const early = isOver;
      open();
      await consumer.finished;
      return { before, after: contexts[0].stopping, early, ended, rest: await rest(other) };
    }, way);
    expect(seen).toEqual({
      before: false,
      after: true,
      early: false,
      ended: ["m0", "m1"],
      rest: ["m2:1", "m3:1", "m4:1"],
    });
  });
}

test("stop ends the waiting, and nothing that comes later is taken", async ({ page }) => {
  const later = await page.evaluate(async () => {
    const { rest, send, sleep } = consuming;
    const mailbox = await pymailbox.openMailbox("waiting");
    const consumer = mailbox.consume(() => {});
    await sleep(20);
    await consumer.stop();
    const aborted = mailbox.consume(() => {}, { signal: AbortSignal.abort() });
    await aborted.finished;
    await send(mailbox, ["later"]);
    await sleep(50); // time for a claim that goes on without its consumer
    return rest(mailbox);
  });
  expect(later).toEqual(["later:1"]);
});

test("closing the mailbox ends it, waiting or working; a closed one is refused", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { door, eventually, numbered, rest, send } = consuming;
    const [waiting, working, other] = await Promise.all([1, 2, 3].map(() => pymailbox.openMailbox("closing")));
    const idle = waiting.consume(() => {});
    await new Promise((resolve) => setTimeout(resolve, 20));
    await waiting.close();
    await idle.finished;
    await send(other, numbered(3));
    const { opened, open } = door();
    let begun = 0;
    const busy = working.consume(async () => {
      begun += 1;
      await opened;
    });
    await eventually(() => begun === 1);
    await working.close();
    open();
    await busy.finished;
    let refused = "";
    try {
      working.consume(() => {});
    } catch (error) {
      refused = /** @type {Error} */ (error).name;
    }
    return { rest: await rest(other), refused };
  });
  expect(seen).toEqual({ rest: ["m0:1", "m1:1", "m2:1"], refused: "MailboxClosedError" });
});

for (const concurrency of [1, 2]) {
  test(`closing acknowledges what is handled, and gives back the rest: ${concurrency} at once`, async ({ page }) => {
    const left = await page.evaluate(async (concurrency) => {
      const { door, numbered, rest, send, sleep, textOf } = consuming;
      const [mailbox, other] = [await pymailbox.openMailbox("closed"), await pymailbox.openMailbox("closed")];
      await send(mailbox, [...numbered(40, "quick"), ...numbered(3)]);
      const { opened, open } = door();
      const consumer = mailbox.consume(
        async (message) => {
          if (textOf(message).startsWith("quick")) return;
          // one that has returned in this very turn has not been heard of yet
          await sleep(0);
          mailbox.close().then(open);
          await opened;
        },
        { concurrency },
      );
      await consumer.finished;
      return rest(other);
    }, concurrency);
    expect(left).toEqual(["m0:1", "m1:1", "m2:1"]);
  });
}

test("when the page is frozen what has not begun goes back, and what runs is acknowledged late", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { door, eventually, numbered, send, sleep, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("frozen");
    await send(mailbox, [...numbered(20, "quick"), ...numbered(3)]);
    const { opened, open } = door();
    /** @type {string[]} */
    const seen = [];
    const consumer = mailbox.consume(async (message) => {
      if (textOf(message).startsWith("quick")) return;
      seen.push(textOf(message));
      if (seen.length === 1) await opened;
    });
    await eventually(() => seen.length === 1);
    dispatchEvent(new Event("freeze"));
    const other = await pymailbox.openMailbox("frozen");
    dispatchEvent(new Event("resume"));
    const theirs = await other.dequeue({ wait: 60_000, limit: 2 });
    open();
    await eventually(async () => !(await other.peek()).some((record) => textOf(record) === "m0"));
    const meanwhile = [...seen];
    // after a pause the loop goes on
    await eventually(() => seen.length === 2);
    await sleep(0);
    await consumer.stop();
    return { theirs: theirs.map((record) => `${textOf(record)}:${record.deliveryCount}`), meanwhile, seen };
  });
  expect(seen).toEqual({ theirs: ["m0:1", "m1:1"], meanwhile: ["m0"], seen: ["m0", "m2"] });
});

test("a late acknowledgement takes no other message that has got the id meanwhile", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { bytes, door, eventually, rest, send, sleep, textOf } = consuming;
    const mailbox = await pymailbox.openMailbox("late");
    const [messageId, kept] = [crypto.randomUUID(), crypto.randomUUID()];
    await mailbox.enqueue(bytes("sender"), bytes("first"), { messageId });
    await mailbox.enqueue(bytes("sender"), bytes("kept"), { messageId: kept });
    await send(mailbox, ["own"]);
    const { opened, open } = door();
    /** @type {string[]} */
    const seen = [];
    const consumer = mailbox.consume(
      async (message) => {
        seen.push(textOf(message));
        message.createdAt.setTime(0); // its own to change
        await opened;
      },
      { concurrency: 3 },
    );
    await eventually(() => seen.length === 3);
    dispatchEvent(new Event("freeze"));
    const other = await pymailbox.openMailbox("late");
    dispatchEvent(new Event("resume"));
    await other.ack(messageId);
    await sleep(5);
    await other.enqueue(bytes("sender"), bytes("second"), { messageId });
    open();
    // those that were handled are gone, whoever made their ids
    await eventually(async () => (await other.peek()).length === 1);
    await sleep(100);
    const left = (await other.peek()).map(textOf);
    // after a pause the loop goes on
    await eventually(() => seen.length === 4);
    await consumer.stop();
    return { left, seen, rest: await rest(other) };
  });
  expect(seen).toEqual({ left: ["second"], seen: ["first", "kept", "own", "second"], rest: [] });
});

test("arguments are checked at the call, before anything is claimed", async ({ page }) => {
  const outcomes = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("bad");
    await consuming.send(mailbox, ["one"]);
    const any = /** @type {any} */ (mailbox);
    const { Backpressure, Retry } = /** @type {any} */ (pymailbox);
    const handler = () => {};
    /** @type {[string, () => unknown][]} */
    const calls = [
      ["TypeError handler", () => any.consume()],
      ["TypeError handler", () => any.consume("handler")],
      ["TypeError handler", () => any.consume(function* () {})],
      ["TypeError handler", () => any.consume(async function* () {})],
      ["TypeError options", () => any.consume(handler, 3)],
      ["TypeError options", () => any.consume(handler, { ordered_by_sender: true })],
      ["TypeError concurrency", () => any.consume(handler, { concurrency: "2" })],
      ["RangeError concurrency", () => any.consume(handler, { concurrency: 0 })],
      ["TypeError orderedBySender", () => any.consume(handler, { orderedBySender: 1 })],
      ["TypeError retry", () => any.consume(handler, { retry: 3 })],
      ["TypeError retry", () => any.consume(handler, { retry: { delay: 3 } })],
      ["RangeError retry.firstDelay", () => any.consume(handler, { retry: { firstDelay: -1 } })],
      ["TypeError retry.factor", () => any.consume(handler, { retry: { factor: null } })],
      ["RangeError retry.factor", () => any.consume(handler, { retry: { factor: 0.5 } })],
      ["RangeError retry.jitter", () => any.consume(handler, { retry: { jitter: NaN } })],
      ["RangeError retry.maxDeliveries", () => any.consume(handler, { retry: { maxDeliveries: 0 } })],
      ["TypeError retry.random", () => any.consume(handler, { retry: { random: 4 } })],
      ["RangeError timeout", () => any.consume(handler, { timeout: 0 })],
      ["RangeError timeout", () => any.consume(handler, { timeout: -1 })],
      ["RangeError timeout", () => any.consume(handler, { timeout: NaN })],
      ["TypeError timeout", () => any.consume(handler, { timeout: "1" })],
      ["TypeError signal", () => any.consume(handler, { signal: 1 })],
      ["RangeError delay", () => new Retry(-1)],
      ["RangeError delay", () => new Retry(NaN)],
      ["TypeError delay", () => new Retry("30")],
      ["TypeError failed", () => new Retry(1, { failed: 0 })],
      ["TypeError options", () => new Retry(1, true)],
      ["TypeError options", () => new Retry(1, { fail: false })],
      ["TypeError pauseAt", () => new Backpressure(mailbox, {})],
      ["RangeError pauseAt", () => new Backpressure(mailbox, { pauseAt: 0 })],
      ["TypeError mailbox", () => new Backpressure({ name: "bad" }, { pauseAt: 5 })],
      ["TypeError options", () => new Backpressure(mailbox, { pauseAt: 5, resume: 1 })],
      ["TypeError resumeAt", () => new Backpressure(mailbox, { pauseAt: 5, resumeAt: "2" })],
      ["TypeError resumeAt", () => new Backpressure(mailbox, { pauseAt: 5, resumeAt: null })],
      ["RangeError resumeAt", () => new Backpressure(mailbox, { pauseAt: 5, resumeAt: 5 })],
      ["RangeError interval", () => new Backpressure(mailbox, { pauseAt: 5, interval: 0 })],
      ["TypeError onChange", () => new Backpressure(mailbox, { pauseAt: 5, onChange: 1 })],
    ];
    const outcomes = calls.map(([expected, call]) => {
      try {
        return [`${call} ${expected}`, `${call} gave ${call()}`];
      } catch (error) {
        const { name, message } = /** @type {Error} */ (error);
        return [`${call} ${expected}`, `${call} ${name} ${message.split(" ")[0]}`];
      }
    });
    // and in a handler
    /** @type {[string, (context: any) => void][]} */
    const sends = [
      [
        "TypeError mailbox",
        (context) => context.send("outbox", { sender: new Uint8Array(), payload: new Uint8Array() }),
      ],
      ["TypeError message.payload", (context) => context.send(mailbox, { sender: new Uint8Array() })],
      ["TypeError message", (context) => context.send(mailbox)],
    ];
    const consumer = mailbox.consume((_, context) => {
      for (const [expected, call] of sends) {
        try {
          call(context);
        } catch (error) {
          const { name, message } = /** @type {Error} */ (error);
          outcomes.push([`${call} ${expected}`, `${call} ${name} ${message.split(" ")[0]}`]);
        }
      }
      context.stop();
    });
    await consumer.finished;
    outcomes.push(["40", String(outcomes.length)]);
    return outcomes;
  });
  expect(outcomes.map(([, outcome]) => outcome)).toEqual(outcomes.map(([expected]) => expected));
});

// -- backpressure -----------------------------------------------------------------------------------------------------

test("backpressure holds producers back until there is room, and tells who asks", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { eventually, numbered, send } = consuming;
    const mailbox = await pymailbox.openMailbox("pressure", { batchSize: 100 });
    await send(mailbox, numbered(3));
    /** @type {boolean[]} */
    const changes = [];
    const onChange = (/** @type {boolean} */ paused) => changes.push(paused);
    const pressure = new pymailbox.Backpressure(mailbox, { pauseAt: 5, interval: 5, onChange });
    await pressure.room();
    const known = pressure.queuedMessages;
    await send(mailbox, ["four"]);
    await pressure.room();
    await send(mailbox, ["five"]);
    let hasRoom = false;
    const waiting = pressure.room().then(() => {
      hasRoom = true;
    });
    const other = await pymailbox.openMailbox("pressure");
    const [one, ...more] = await other.dequeue({ limit: 3 });
    await other.ack(one.id);
    await eventually(() => pressure.queuedMessages === 2);
    await waiting;
    const open = [pressure.paused, hasRoom];
    await other.ackMany(more.map(({ id }) => id));
    await send(mailbox, numbered(9));
    const late = pressure.room();
    pressure.close();
    await late;
    await mailbox.close();
    pressure.close();
    return { known, open, changes };
  });
  expect(seen).toEqual({ known: 3, open: [false, true], changes: [true, false, true] });
});

test("backpressure does not let go on between its limits, and ends with its mailbox", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { eventually, numbered, send } = consuming;
    const mailbox = await pymailbox.openMailbox("limits");
    await send(mailbox, numbered(6));
    const pressure = new pymailbox.Backpressure(mailbox, { pauseAt: 6, resumeAt: 2, interval: 5 });
    await eventually(() => pressure.paused);
    await mailbox.dequeue({ limit: 3 });
    await eventually(() => pressure.queuedMessages === 3);
    const between = pressure.paused;
    const room = () =>
      pressure.room().then(
        () => "room",
        (error) => error.name,
      );
    const waiting = room();
    await mailbox.close();
    const open = [await waiting, await room()];
    pressure.close();
    return [between, ...open, await room()];
  });
  expect(seen).toEqual([true, "MailboxClosedError", "MailboxClosedError", "room"]);
});

test("backpressure waits out an error that passes, and ends with one that does not", async ({ page }) => {
  const lines = consoleOf(page);
  const seen = await page.evaluate(async () => {
    const { eventually, numbered, send } = consuming;
    const { ConnectionLostError, StorageCorruptError } = pymailbox;
    const mailbox = await pymailbox.openMailbox("obstacles");
    await send(mailbox, numbered(6));
    const pressure = new pymailbox.Backpressure(mailbox, { pauseAt: 6, resumeAt: 2, interval: 5 });
    await eventually(() => pressure.paused);
    let failures = 0;
    const failWith = (/** @type {Error} */ error) => {
      mailbox.status = () => {
        failures++;
        return Promise.reject(error);
      };
    };
    failWith(new ConnectionLostError("on purpose"));
    const waiting = pressure.room().then(() => "room");
    await eventually(() => failures > 1);
    const meanwhile = await Promise.race([waiting, Promise.resolve("waits")]);
    await mailbox.purge();
    Reflect.deleteProperty(mailbox, "status");
    const afterwards = await waiting;
    failWith(new StorageCorruptError("on purpose"));
    await send(mailbox, numbered(6));
    const failed = await pressure.room().then(
      () => "room",
      (error) => error.name,
    );
    pressure.close();
    return [meanwhile, afterwards, failed];
  });
  expect(seen).toEqual(["waits", "room", "StorageCorruptError"]);
  expect([...new Set(lines)]).toEqual(['warning: The depth of the mailbox "obstacles" is not known: on purpose']);
});
