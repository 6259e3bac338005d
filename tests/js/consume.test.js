// The loop of an actor without a browser: its pure parts, and what it does when its mailbox fails.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Companions } from "../../js/api/actors/companions.js";
import { RunningConsumer } from "../../js/api/actors/consumer.js";
import { LONGEST_LINE, LONGEST_TEXT, firstLine, inShort, shortened, textOf } from "../../js/api/actors/failures.js";
import { checkConsumeOptions } from "../../js/api/actors/options.js";
import { Pace } from "../../js/api/actors/pace.js";
import { PrefetchBuffer, SenderOrderedBuffer } from "../../js/api/actors/prefetch.js";
import { Retry, checkRetryPolicy, delayAfter } from "../../js/api/actors/retry.js";
import { Stop, setTimer } from "../../js/api/actors/stop.js";
import { ConnectionLostError, MailboxClosedError, StorageCorruptError } from "../../js/model/errors.js";
import { FakeMailbox, consoleOf, consume, recordOf, turns } from "./fake-mailbox.js";
import { random } from "./random.js";

/** @typedef {import("../../js/index.js").MessageRecord} MessageRecord */

// -- pauses -----------------------------------------------------------------------------------------------------------

test("pauses grow up to the longest, and chance only shortens them", () => {
  const pauses = (/** @type {object} */ policy) =>
    [1, 2, 3, 4, 5].map((count) => delayAfter(checkRetryPolicy(policy), count));
  const given = { firstDelay: 500, factor: 3, longestDelay: 10_000, jitter: 0 };
  assert.deepEqual(pauses(given), [500, 1500, 4500, 10_000, 10_000]);
  assert.deepEqual(pauses({ firstDelay: 2000, factor: 1, jitter: 0 }), Array(5).fill(2000));
  assert.deepEqual(pauses({ firstDelay: 0 }), Array(5).fill(0));
  const half = () => 0.5;
  assert.deepEqual(pauses({ firstDelay: 8, factor: 1, jitter: 0.5, random: half }), Array(5).fill(6));
  assert.equal(delayAfter(checkRetryPolicy({ jitter: 0 }), 1e9), 300_000);
  assert.equal(delayAfter(checkRetryPolicy({ firstDelay: 0 }), 1e9), 0);
});

test("a retry says what it asks for", () => {
  const cause = new Error("503");
  const seen = [new Retry(), new Retry(1500), new Retry(60_000, { failed: false, cause })].map((retry) => [
    retry.delay,
    retry.failed,
    retry.message,
    retry.cause,
  ]);
  assert.deepEqual(seen, [
    [undefined, true, "again when its policy says", undefined],
    [1500, true, "again in 1500 ms", undefined],
    [60_000, false, "again in 60000 ms; this delivery does not count", cause],
  ]);
});

test("a pause ends when a stop is asked for, and a timer waits as long as it is told", async () => {
  const stop = new Stop();
  const pause = stop.pause(1e12);
  stop.ask();
  await pause;
  await stop.pause(1e12);
  // longer than any timer of the platform: it must not go off at once
  const forget = setTimer(2 ** 40, () => assert.fail("too early"));
  const started = performance.now();
  await new Promise((resolve) => setTimer(5, () => resolve(undefined)));
  assert.ok(performance.now() - started >= 3);
  forget();
});

// -- what handlers throw ----------------------------------------------------------------------------------------------

test("anything that is thrown has a text", () => {
  const speechless = {
    toString() {
      throw new Error("on purpose");
    },
  };
  class Speechless extends Error {
    /** @override @returns {unknown} */
    get cause() {
      throw new Error("on purpose");
    }
  }
  const circular = new Error("outer");
  circular.cause = new Error("inner", { cause: circular });
  assert.match(
    textOf(new RangeError("too much", { cause: "a text" })),
    /^RangeError: too much\n.*\ncaused by: a text$/s,
  );
  assert.match(textOf(circular), /^Error: outer.*caused by: Error: inner/s);
  for (const [thrown, text] of [
    ["a text", "a text"],
    [undefined, "undefined"],
    [speechless, "something without a text"],
    [Object.create(null), "something without a text"],
    [new Speechless("why"), "Error: why"],
    [new Error("first\nsecond"), "Error: first"],
  ]) {
    assert.equal(inShort(thrown), text);
    assert.ok(textOf(thrown).startsWith(/** @type {string} */ (text)));
  }
});

test("a line of the console is one, and has an end", () => {
  for (const text of ["first\nsecond", "\n first \r\nsecond", "first\rsecond", "first\u2028second"])
    assert.equal(firstLine(text).trim(), "first");
  const long = "x".repeat(64 * 1024 * 1024);
  assert.equal(firstLine(long), `${"x".repeat(LONGEST_LINE)}…`);
  assert.equal(inShort(new Error(long)).length, LONGEST_LINE + 1);
  assert.equal(firstLine("x".repeat(LONGEST_LINE)), "x".repeat(LONGEST_LINE));
});

test("a long text loses its middle", () => {
  const short = shortened(`begin${"x".repeat(20_000)}end`);
  assert.equal(short.length, LONGEST_TEXT);
  assert.match(short, /^begin.*\n… 12\d\d\d characters left out …\n.*end$/s);
  assert.equal(shortened("x".repeat(LONGEST_TEXT)).length, LONGEST_TEXT);
});

// -- what was claimed -------------------------------------------------------------------------------------------------

test("a buffer gives high ones first, and each in order", () => {
  const buffer = new PrefetchBuffer();
  const [one, two, high] = [recordOf("a"), recordOf("b"), recordOf("a", "high")];
  buffer.add([one, two]);
  buffer.add([high]);
  assert.equal(buffer.size, 3);
  assert.deepEqual([buffer.take(), buffer.take()], [high, one]);
  assert.deepEqual([buffer.takeFree(), buffer.take(), buffer.size], [[two], undefined, 0]);
});

test("a buffer in the order of senders gives one of each at a time", () => {
  const buffer = new SenderOrderedBuffer();
  const [a1, a2, a3, b1] = [recordOf("a"), recordOf("a"), recordOf("a", "high"), recordOf("b")];
  buffer.add([a1, b1, a2, a3]);
  assert.deepEqual([buffer.take(), buffer.take(), buffer.take()], [a3, b1, undefined]);
  assert.deepEqual(buffer.successors(a3), [a1, a2]);
  buffer.finished(b1);
  assert.equal(buffer.take(), undefined);
  buffer.finished(a3);
  assert.equal(buffer.take(), a1);
  const [b2, b3] = [recordOf("b"), recordOf("b", "high")];
  buffer.add([b2, b3]);
  assert.deepEqual(buffer.takeFree(), [b3, b2]); // a's has to wait for the one that runs
  assert.deepEqual(buffer.takeSuccessors(a1), [a2]);
  buffer.finished(a1);
  assert.deepEqual([buffer.take(), buffer.size, buffer.takeAll()], [undefined, 0, []]);
});

test("a buffer in the order of senders keeps to it in any sequence", () => {
  for (const { below } of random(200)) {
    const buffer = new SenderOrderedBuffer();
    /** @type {MessageRecord[]} */
    const running = [];
    /** @type {Map<string, string[]>} */
    const seen = new Map();
    const senders = ["a", "b", "c", "\x80", "\u00ff"];
    const senderOf = (/** @type {MessageRecord} */ { sender }) => new TextDecoder().decode(sender);
    let added = 0;
    for (let step = 0; step < 60 || running.length > 0 || buffer.size > 0; step++) {
      const choice = below(10);
      if (choice < 4 && step < 60) {
        buffer.add([recordOf(senders[below(senders.length)])]);
        added += 1;
      } else if (choice < 7 && running.length < 3) {
        const record = buffer.take();
        if (record === undefined) continue;
        assert.ok(!running.some((one) => senderOf(one) === senderOf(record)));
        running.push(record);
      } else if (running.length > 0) {
        const [record] = running.splice(below(running.length), 1);
        buffer.finished(record);
        seen.set(senderOf(record), [...(seen.get(senderOf(record)) ?? []), record.id]);
      }
    }
    for (const ids of seen.values())
      assert.deepEqual(
        ids,
        ids.toSorted((one, other) => Number(one) - Number(other)),
      );
    assert.equal([...seen.values()].flat().length, added);
  }
});

test("a pace counts what is handled while something is", () => {
  let now = 0;
  const pace = new Pace(() => now);
  assert.equal(pace.soon(), 0);
  for (let i = 0; i < 10; i++) {
    pace.begins();
    now += 1000 / 256;
    pace.ends();
    now += 1000; // in which nothing is to do
  }
  assert.equal(pace.soon(), 12); // 10 in 10/256 s
  for (let i = 0; i < 4; i++) pace.begins(); // at the same time
  now += 125;
  for (let i = 0; i < 4; i++) pace.ends();
  assert.equal(pace.soon(), 3); // 5 and 4, in 5/256 and 1/8 s
  pace.begins();
  now += 10_000;
  assert.equal(pace.soon(), 0);
  const coarse = new Pace(() => 0);
  coarse.begins();
  coarse.ends();
  assert.equal(coarse.soon(), Infinity);
});

// -- a mailbox that fails ---------------------------------------------------------------------------------------------

test("passing errors are waited out, and said", async (t) => {
  const lines = consoleOf(t);
  const fake = new FakeMailbox(2);
  const first = fake.queue[0].id;
  const lost = () => new ConnectionLostError("on purpose");
  // the first claim; then one that acknowledges, whose acknowledgement is tried again by itself; then that one
  fake.failures = { claim: [lost()], ackHeld: [lost()] };
  let count = 0;
  const consumer = consume(fake, (_, context) => {
    count += 1;
    if (count === 1) fake.failures.claim.push(lost());
    if (count === 2) context.stop();
  });
  await consumer.finished;
  assert.equal(fake.held.size, 0);
  assert.deepEqual(fake.calls.slice(0, 5), [
    "claim",
    "claim",
    `claim ${first}`,
    `ackHeld ${first}`,
    `ackHeld ${first}`,
  ]);
  assert.equal(
    lines.filter((line) => /^warn: Mailbox: tried again in 0.\d s, attempt 2: on purpose$/.test(line)).length,
    2,
  );
});

test("a claim that takes long is left alone while all that was claimed waits for its sender", async () => {
  const fake = new FakeMailbox(12);
  fake.enqueue(recordOf("another"));
  Object.defineProperty(fake.doors, "claim", { get: () => new Promise((resolve) => setTimeout(resolve, 75)) });
  let goOn = () => {};
  const handler = (
    /** @type {MessageRecord} */ message,
    /** @type {import("../../js/index.js").Context} */ context,
  ) => {
    if (new TextDecoder().decode(message.sender) === "sender") {
      return new Promise((/** @type {(_: void) => void} */ resolve) => (goOn = resolve));
    }
    context.stop();
    goOn();
    return undefined;
  };
  const limit = setTimeout(() => assert.fail("the other sender's message was not handled"), 5000);
  await consume(fake, handler, { concurrency: 2, orderedBySender: true }).finished;
  clearTimeout(limit);
});

test("an error that does not pass ends it, when what runs has ended", async (t) => {
  consoleOf(t);
  const fake = new FakeMailbox(1);
  const id = fake.queue[0].id;
  let count = 0;
  const error = new StorageCorruptError("on purpose");
  const consumer = consume(fake, async () => {
    count += 1;
    fake.failures.claim = [error];
  });
  await assert.rejects(consumer.finished, error);
  assert.deepEqual([count, consumer.stopping, fake.held.size], [1, true, 0]);
  assert.deepEqual(fake.calls.slice(1), [`claim ${id}`, `ackHeld ${id}`]);
});

test("one more error at the end is in the console, and a nack that fails leaves the message to a release", async (t) => {
  const lines = consoleOf(t);
  const fake = new FakeMailbox(1);
  const id = fake.queue[0].id;
  const error = new StorageCorruptError("the first");
  fake.failures = { nack: [error], release: [new StorageCorruptError("the second")] };
  const consumer = consume(fake, () => {
    throw new Error("on purpose");
  });
  await assert.rejects(consumer.finished, error);
  assert.ok(fake.calls.includes(`release ${id}`));
  assert.match(lines.join("\n"), /error: Mailbox: one more error at the end: StorageCorruptError: the second/);
});

test("a mailbox that was closed ends it without an error, and the console says what was not acknowledged", async (t) => {
  const lines = consoleOf(t);
  const fake = new FakeMailbox(1);
  const closed = () => new MailboxClosedError("on purpose");
  const consumer = consume(fake, async () => {
    fake.failures = { claim: [closed()], ackHeld: [closed()] };
  });
  await consumer.finished;
  assert.match(lines.join("\n"), /warn: Mailbox was closed before 1 handled message could be acknowledged/);
});

test("a message that comes back to its handler is not begun again, and another of the same id is", async (t) => {
  consoleOf(t);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const first = recordOf("sender");
  for (const [createdAt, expected] of /** @type {const} */ ([
    [first.createdAt, 1],
    [new Date(0), 2],
  ])) {
    const fake = new FakeMailbox(0);
    fake.queue = [{ ...first, createdAt: new Date(first.createdAt) }];
    /** @type {(() => void)[]} */
    const ends = [];
    const handler = (/** @type {MessageRecord} */ message) => {
      message.createdAt.setFullYear(1999); // its own to change
      return new Promise((/** @type {(_: void) => void} */ resolve) => ends.push(resolve));
    };
    const consumer = consume(fake, handler, { concurrency: 2 });
    await turns();
    fake.watchers.lifeOver();
    fake.enqueue({ ...first, createdAt });
    await turns();
    t.mock.timers.tick(1000);
    await turns();
    assert.equal(ends.length, expected);
    for (const end of ends) end();
    await consumer.stop();
    assert.equal(fake.held.size, 0);
  }
});

test("a late acknowledgement says when its message was made, so that no other with its id is taken", async () => {
  const fake = new FakeMailbox(1);
  const [{ id, createdAt }] = fake.queue;
  const madeAt = createdAt.getTime();
  const consumer = consume(fake, (message) => {
    message.createdAt.setTime(0);
    fake.watchers.lifeOver();
  });
  while (!fake.calls.some((call) => call.startsWith("ackLate"))) await new Promise((resolve) => setTimeout(resolve, 2));
  await consumer.stop();
  assert.ok(fake.calls.includes(`ackLate ${id} of ${madeAt}`), fake.calls.join());
});

test("what else was sent is not lost with an answer whose mailbox cannot be opened", async (t) => {
  const lines = consoleOf(t);
  for (const isPassing of [true, false]) {
    const fake = new FakeMailbox(0);
    fake.queue = [{ ...recordOf("sender"), headers: { "reply-to": "replies" } }];
    const errors = [isPassing ? new ConnectionLostError("on purpose") : new StorageCorruptError("on purpose")];
    /** @type {string[]} */
    const stored = [];
    const mailboxOf = (/** @type {string} */ name) => ({
      name,
      enqueueMany: async (/** @type {object[]} */ messages) => stored.push(`${messages.length} to ${name}`),
      close: async () => {},
    });
    const nearby = {
      names: async () => {
        const error = errors.pop();
        if (error !== undefined) throw error;
        return ["replies"];
      },
      open: async (/** @type {string} */ name) => /** @type {any} */ (mailboxOf(name)),
      delete: async () => true,
    };
    const companions = new Companions(nearby);
    const source = { ...fake.source(), companions: () => companions };
    const handler = (/** @type {MessageRecord} */ _, /** @type {import("../../js/index.js").Context} */ context) => {
      context.send(/** @type {any} */ (mailboxOf("other")), { sender: new Uint8Array(), payload: new Uint8Array() });
      context.reply(new Uint8Array());
      fake.mailbox.ack(context.message.id);
    };
    const expected = isPassing ? ["1 to other", "1 to replies"] : ["1 to other"];
    const consumer = new RunningConsumer(source, checkConsumeOptions(handler, {}));
    for (let i = 0; i < 1000 && stored.length < expected.length; i++)
      await new Promise((resolve) => setTimeout(resolve, 5));
    await consumer.stop();
    assert.deepEqual(stored, expected);
  }
  assert.equal(lines.filter((line) => /^error: .*1 answers/.test(line)).length, 1);
});
