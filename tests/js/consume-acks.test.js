// When the loop of an actor acknowledges, without a browser. What is the same in Python has the name of the test there,
// see tests/unit/test_consume_acks.py.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RunningConsumer } from "../../js/api/actors/consumer.js";
import { checkConsumeOptions } from "../../js/api/actors/options.js";
import { Pace } from "../../js/api/actors/pace.js";
import { Reject } from "../../js/api/actors/retry.js";
import { ConnectionLostError } from "../../js/model/errors.js";
import { FakeMailbox, consoleOf, consume, turns } from "./fake-mailbox.js";

/** @typedef {import("../../js/index.js").Context} Context */
/** @typedef {import("../../js/index.js").MessageRecord} MessageRecord */

/**
 * A mailbox with so many messages, all of which a claim takes; no timer goes off by itself.
 * @param {import("node:test").TestContext} t @param {number} count
 */
function filled(t, count) {
  consoleOf(t);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(Pace.prototype, "soon", () => 100);
  const fake = new FakeMailbox(count);
  return { fake, ids: fake.queue.map(({ id }) => id) };
}

/** An asynchronous handler that is quick up to one message, on which it works until it may end. @param {string} id */
function gated(id) {
  let letEnd = () => {};
  const mayEnd = new Promise((/** @type {(_: void) => void} */ resolve) => {
    letEnd = resolve;
  });
  const handler = async (/** @type {MessageRecord} */ message) => {
    if (message.id === id) await mayEnd;
  };
  return { handler, letEnd };
}

/** What was called except for claims that acknowledge nothing. @param {FakeMailbox} fake */
const callsOf = ({ calls }) => calls.filter((call) => call !== "claim");

// -- what waits for the next claim ------------------------------------------------------------------------------------

for (const suspends of [true, false]) {
  const how = suspends ? "suspend" : "do not suspend";
  test(`quick handlers of a batch are acknowledged with the next claim: they ${how}`, async (t) => {
    const { fake, ids } = filled(t, 8);
    const consumer = consume(fake, async () => {
      if (suspends) for (let i = 0; i < 3; i++) await Promise.resolve();
    });
    await turns();
    await consumer.stop();
    assert.deepEqual(callsOf(fake), [["claim", ...ids].join(" ")]);
  });
}

test("acks do not wait for a slow handler", async (t) => {
  const { fake, ids } = filled(t, 5);
  const { handler, letEnd } = gated(ids[3]);
  const consumer = consume(fake, handler);
  await turns();
  assert.deepEqual(callsOf(fake), []);
  t.mock.timers.tick(10);
  await turns();
  assert.deepEqual([...fake.held], ids.slice(3));
  letEnd();
  await consumer.stop();
});

test("acks do not wait for a synchronous handler that has a turn of its own", async (t) => {
  const { fake, ids } = filled(t, 5);
  let now = 0;
  t.mock.method(performance, "now", () => now);
  /** @type {number[]} */
  const held = [];
  const consumer = consume(fake, () => {
    held.push(fake.held.size);
    now += 1.5;
  });
  for (let i = 0; i < 5; i++) await turns();
  await consumer.stop();
  assert.deepEqual(held, [5, 5, 3, 3, 1]);
  assert.deepEqual(callsOf(fake).slice(0, 2), [`ackHeld ${ids[0]} ${ids[1]}`, `ackHeld ${ids[2]} ${ids[3]}`]);
});

test("acks do not wait for what goes back", async (t) => {
  const { fake, ids } = filled(t, 4);
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const doors = [gated(ids[0]), gated(ids[1])];
  fake.doors.release = new Promise(() => {});
  const consumer = consume(fake, (message) => Promise.all(doors.map(({ handler }) => handler(message))), {
    concurrency: 2,
  });
  await turns();
  now = 50;
  t.mock.timers.tick(50);
  for (const { letEnd } of doors) {
    await turns();
    letEnd();
  }
  await turns();
  assert.deepEqual(callsOf(fake), [`release ${ids[2]} ${ids[3]}`, `claim ${ids[0]}`, `ackHeld ${ids[1]}`]);
  consumer.stop();
});

// -- what they come before --------------------------------------------------------------------------------------------

/** Ways to settle a message singly. @type {Record<string, (message: MessageRecord, context: Context) => unknown>} */
const SETTLING = {
  send: (_, context) => context.send(context.mailbox, { sender: new Uint8Array(), payload: new Uint8Array() }),
  throw: () => {
    throw new Error("on purpose");
  },
  reject: () => {
    throw new Reject("no");
  },
  ack: ({ id }, { mailbox }) => mailbox.ack(id),
  nack: ({ id }, { mailbox }) => mailbox.nack(id),
  deadLetter: ({ id }, { mailbox }) => mailbox.deadLetter(id, "no"),
};

for (const [name, settle] of Object.entries(SETTLING)) {
  for (const fails of [false, true]) {
    for (const orderedBySender of [true, false]) {
      const how = `by ${name}, ${orderedBySender ? "of a sender" : "one at a time"}`;
      const when = fails ? ", and that fails first" : "";
      test(`earlier messages are acknowledged before a later one is settled: ${how}${when}`, async (t) => {
        const { fake, ids } = filled(t, 6);
        /** What is held whenever a message is settled. @type {string[][]} */
        const held = [];
        const { settling } = fake.watchers;
        t.mock.method(fake.watchers, "settling", (/** @type {Parameters<typeof settling>} */ ...[verb, of, call]) =>
          settling.call(fake.watchers, verb, of, () => {
            held.push([...fake.held]);
            return call();
          }),
        );
        const { handler, letEnd } = gated(ids[4]);
        const settlingOne = async (/** @type {MessageRecord} */ message, /** @type {Context} */ context) => {
          if (message.id === ids[3]) {
            const lost = new ConnectionLostError("planned");
            if (fails) fake.failures = { ackHeld: [lost], claim: [lost] };
            await settle(message, context);
          }
          await handler(message);
        };
        const consumer = consume(fake, settlingOne, { orderedBySender, retry: { firstDelay: 0 } });
        for (let i = 0; i < 10; i++) {
          await turns();
          t.mock.timers.tick(fails ? 100 : 0);
        }
        assert.deepEqual(held[0], ids.slice(3));
        letEnd();
        await consumer.stop();
      });
    }
  }
}

// -- how it ends ------------------------------------------------------------------------------------------------------

test("closing acknowledges what is handled", async (t) => {
  const { fake, ids } = filled(t, 6);
  const { handler, letEnd } = gated(ids[4]);
  const consumer = consume(fake, handler);
  await turns();
  fake.watchers.closing();
  // in the step in which the handle takes no more calls
  assert.deepEqual(callsOf(fake), [["ackHeld", ...ids.slice(0, 4)].join(" ")]);
  letEnd();
  await consumer.finished;
});

test("closing leaves a claim that acknowledges to its end", async (t) => {
  const { fake, ids } = filled(t, 1);
  const source = fake.source();
  let isUndone = false;
  const consumer = new RunningConsumer(
    {
      ...source,
      claim: (...given) => {
        const { claimed, undo } = source.claim(...given);
        if (given[1].length > 0) queueMicrotask(() => fake.watchers.closing());
        return {
          claimed,
          undo: () => {
            isUndone = true;
            return undo();
          },
        };
      },
    },
    checkConsumeOptions(async () => {}, {}),
  );
  await turns();
  assert.deepEqual([isUndone, callsOf(fake)], [false, [`claim ${ids[0]}`]]);
  fake.end();
  await consumer.finished;
});

for (const isClosed of [false, true]) {
  const how = isClosed ? ", also where the mailbox is closed at once" : "";
  test(`stop acknowledges what went along with a claim${how}`, async (t) => {
    const { fake, ids } = filled(t, 1);
    const lines = consoleOf(t);
    let letGo = () => {};
    const consumer = consume(fake, async () => {
      fake.doors.claim = new Promise((/** @type {(_: void) => void} */ resolve) => {
        letGo = resolve;
      });
    });
    await turns();
    assert.deepEqual(callsOf(fake), [`claim ${ids[0]}`]);
    consumer.stop();
    if (isClosed) {
      fake.watchers.closing();
      fake.end();
    }
    letGo();
    await consumer.finished;
    assert.deepEqual([callsOf(fake), [...fake.held], lines], [[`claim ${ids[0]}`, `ackHeld ${ids[0]}`], [], []]);
  });
}

test("a handler that asks for a stop is the last to begin", async (t) => {
  const { fake } = filled(t, 4);
  let begun = 0;
  const consumer = consume(
    fake,
    (_, context) => {
      begun += 1;
      context.stop();
    },
    { concurrency: 4 },
  );
  await consumer.finished;
  assert.equal(begun, 1);
});

// -- a mailbox that fails ---------------------------------------------------------------------------------------------

test("claim that fails with acks repeats them first", async (t) => {
  const { fake, ids } = filled(t, 1);
  const lost = () => new ConnectionLostError("planned");
  const consumer = consume(fake, async () => {
    fake.failures = { claim: [lost()], ackHeld: [lost(), lost()] };
  });
  for (let i = 0; i < 8; i++) {
    await turns();
    t.mock.timers.tick(200);
  }
  await consumer.stop();
  assert.deepEqual(fake.calls, ["claim", `claim ${ids[0]}`, ...Array(3).fill(`ackHeld ${ids[0]}`), "claim"]);
});

test("claim whose answer is lost has acknowledged", async (t) => {
  const { fake } = filled(t, 1);
  const lines = consoleOf(t);
  const consumer = consume(fake, async () => {
    fake.failures = { "claim's answer": [new ConnectionLostError("planned")] };
  });
  await turns();
  await consumer.stop();
  assert.deepEqual([...fake.held, ...lines], []);
});

test("page that is left begins to acknowledge at once", async (t) => {
  const { fake, ids } = filled(t, 4);
  const { handler, letEnd } = gated(ids[2]);
  const consumer = consume(fake, handler);
  await turns();
  fake.watchers.lifeOver();
  await Promise.resolve();
  assert.deepEqual(
    callsOf(fake).map((call) => call.replaceAll(/ of \d+/g, "")),
    [["ackLate", ...ids.slice(0, 2)].join(" ")],
  );
  letEnd();
  await consumer.stop();
});
