// The judge of the races accepts what is allowed, and finds what is not.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Judge, Wrong } from "./pages/races/judge.js";

/** @typedef {import("./pages/races/judge.js").Handle} Handle */

/** A judge with two handles, and calls in short form. @param {number} [max] */
function begin(max = Infinity) {
  const judge = new Judge();
  const [a, b] = [judge.handle("a", max), judge.handle("b", max)];
  const call = (
    /** @type {Handle} */ handle,
    /** @type {string} */ verb,
    /** @type {any} */ given,
    /** @type {any} */ value,
  ) => {
    const begun = judge.begin(handle, verb, given);
    judge.end(begun, value);
    return begun;
  };
  return {
    judge,
    a,
    b,
    call,
    enqueue: (/** @type {string} */ label, /** @type {object} */ more = {}) =>
      call(a, "enqueue", { messages: [{ label, ...more }] }, [`id of ${label}`]),
    dequeue: (/** @type {Handle} */ by, /** @type {string[]} */ labels, count = 1, given = {}) =>
      call(by, "dequeue", given, records(labels, count)),
    drain: (/** @type {string[]} */ labels) =>
      call(judge.handle("the last", Infinity), "dequeue", {}, records(labels, 1)),
  };
}

/** @param {string[]} labels @param {number} count */
const records = (labels, count) => labels.map((label) => ({ id: `id of ${label}`, label, count }));

/** @type {Record<string, (begun: ReturnType<typeof begin>) => void>} */
const RIGHT = {
  "a message is handed out again after its holder died": ({ judge, a, b, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    judge.lifeOver(a, "dies", true);
    dequeue(b, ["m"], 2);
  },
  "an enqueue that failed has stored, or not": ({ judge, a, drain, enqueue }) => {
    judge.fail(judge.begin(a, "enqueue", { messages: [{ label: "m" }] }), "ConnectionLostError");
    judge.fail(judge.begin(a, "enqueue", { messages: [{ label: "n" }] }), "ConnectionLostError");
    enqueue("o");
    drain(["m", "o"]);
    judge.finish([]);
  },
  "an acknowledgement that failed has removed": ({ judge, a, enqueue, dequeue, drain }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    judge.fail(judge.begin(a, "ack", { id: "id of m" }), "Killed");
    drain([]);
    judge.finish([]);
  },
  "a claim overlaps with the release": ({ judge, a, b, call, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    const claim = judge.begin(b, "dequeue", {});
    call(a, "nack", { id: "id of m" }, true);
    judge.end(claim, records(["m"], 2));
  },
  "a message that failed too often is a dead letter": ({ judge, a, b, call, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    call(a, "nack", { id: "id of m" }, true);
    dequeue(b, ["m"], 2);
    judge.lifeOver(b, "dies", true);
    judge.finish(["m"]);
  },
  "a claim that is under way has what would come first": ({ judge, a, b, enqueue, dequeue }) => {
    enqueue("m");
    enqueue("n");
    const claim = judge.begin(a, "dequeue", {});
    dequeue(b, ["n"]);
    judge.fail(claim, "AbortError");
  },
  "a batch overlaps with an enqueue": ({ judge, a, b, enqueue }) => {
    const claim = judge.begin(b, "dequeue", {});
    enqueue("m");
    judge.end(claim, []);
    assert.equal(judge.heldBy(a).length, 0);
  },
  "a message that is stored while the mailbox is deleted is there or not": ({
    judge,
    b,
    call,
    enqueue,
    dequeue,
    drain,
  }) => {
    enqueue("gone");
    dequeue(b, ["gone"]);
    const deletion = judge.begin(b, "delete", {});
    enqueue("m");
    enqueue("n");
    judge.end(deletion, true);
    call(b, "ack", { id: "id of gone" }, false);
    drain(["n"]);
    judge.finish([]);
  },
  "what is sent to another mailbox is not seen in this one": ({ a, b, judge, call, enqueue, dequeue, drain }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    call(a, "ackAndSend", { id: "id of m", label: "sent", isBeside: true }, true);
    dequeue(b, []);
    call(b, "peek", {}, []);
    call(b, "purge", {}, 0);
    drain([]);
    drain(["sent"]);
    judge.finish([]);
  },
};

/** @type {Record<string, (begun: ReturnType<typeof begin>) => void>} */
const WRONG = {
  "m is handed out to b while a has it": ({ a, b, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    dequeue(b, ["m"]);
  },
  "m is handed out after it was removed": ({ a, b, call, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    call(a, "ack", { id: "id of m" }, true);
    dequeue(b, ["m"]);
  },
  "m is handed out, and was refused": ({ judge, a, b, dequeue }) => {
    judge.fail(judge.begin(a, "enqueue", { messages: [{ label: "m" }] }), "StorageFullError");
    dequeue(b, ["m"]);
  },
  "m is handed out for the 1th time after the 2th": ({ judge, a, b, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"], 2);
    judge.lifeOver(a, "dies", true);
    dequeue(b, ["m"], 1);
  },
  "n is handed out before m": ({ b, enqueue, dequeue }) => {
    enqueue("m");
    enqueue("n");
    dequeue(b, ["n"]);
  },
  "m is handed out before n": ({ b, enqueue, dequeue }) => {
    enqueue("m");
    enqueue("n", { priority: "high" });
    dequeue(b, ["m", "n"]);
  },
  "nothing is handed out though m waits": ({ b, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(b, []);
  },
  "nothing is handed out though o waits": ({ judge, a, b, enqueue, dequeue }) => {
    judge.fail(judge.begin(a, "dequeue", {}), "AbortError");
    enqueue("o");
    dequeue(b, []);
  },
  "m is not shown": ({ b, call, enqueue }) => {
    enqueue("m");
    call(b, "peek", {}, []);
  },
  "m is removed twice": ({ a, b, call, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    call(a, "ack", { id: "id of m" }, true);
    call(b, "ack", { id: "id of m" }, true);
  },
  "m is not there to be acknowledged": ({ a, call, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    call(a, "ack", { id: "id of m" }, false);
  },
  "m is lost": ({ judge, drain, enqueue }) => {
    enqueue("m", { delay: 1 });
    drain([]);
    judge.finish([]);
  },
  "sent was sent to another mailbox": ({ a, b, call, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    call(a, "ackAndSend", { id: "id of m", label: "sent", isBeside: true }, true);
    dequeue(b, ["sent"]);
  },
  "sent is lost": ({ judge, a, b, call, enqueue, dequeue, drain }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    call(a, "ackAndSend", { id: "id of m", label: "sent", isBeside: true }, true);
    call(b, "purge", {}, 0);
    call(b, "delete", {}, true);
    drain([]);
    judge.finish([]);
  },
  "m is a dead letter without a reason": ({ judge, a, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    judge.lifeOver(a, "is left", false);
    judge.finish(["m"]);
  },
  "m was removed, and is a dead letter": ({ judge, a, call, enqueue, dequeue }) => {
    enqueue("m");
    dequeue(a, ["m"]);
    call(a, "nack", { id: "id of m" }, true);
    call(a, "nack", { id: "id of m" }, true);
    call(a, "ack", { id: "id of m" }, true);
    judge.finish(["m"]);
  },
  "n is handed out after it was removed": ({ a, b, call, enqueue, dequeue }) => {
    enqueue("n");
    call(a, "delete", {}, true);
    dequeue(b, ["n"]);
  },
};

for (const [name, happens] of Object.entries(RIGHT)) test(name, () => happens(begin(2)));

for (const [message, happens] of Object.entries(WRONG)) {
  test(`found: ${message}`, () => assert.throws(() => happens(begin(2)), new Wrong(message)));
}
