// Calls that wait: who is woken, and for how long a call may wait.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Cancellation } from "../../js/coordination/cancellation.js";
import { Waiters } from "../../js/coordination/waiters.js";

/** More milliseconds than a timer can wait: 34 years. */
const YEARS = 2 ** 40;

/** @param {Waiters} waiters @param {unknown} [owner] @param {number} [time] */
function waiting(waiters, owner = {}, time = Infinity) {
  const waiter = waiters.begin("inbox", owner);
  waiter.listen();
  const seen = { waiter, isOver: false };
  waiter.within(time, new Cancellation()).then(() => {
    seen.isOver = true;
  });
  return seen;
}

test("as many are woken as there are messages, longest wait first", async () => {
  const waiters = new Waiters();
  const all = Array.from({ length: 5 }, () => waiting(waiters));
  const over = async () => {
    await sleep(0);
    return all.map(({ isOver }) => isOver);
  };
  waiters.wake("another", 5);
  assert.deepEqual(await over(), [false, false, false, false, false]);
  waiters.wake("inbox", 2);
  assert.deepEqual(await over(), [true, true, false, false, false]);
  waiters.wake("inbox");
  assert.deepEqual(await over(), [true, true, true, false, false]);
  waiters.wakeAll(all[4]?.waiter.owner);
  assert.deepEqual(await over(), [true, true, true, false, true]);
  waiters.wakeAll();
  assert.deepEqual(await over(), [true, true, true, true, true]);
  for (const { waiter } of all) waiter.end();
});

test("a wait, or a message that is due, may be further away than a timer can wait", async () => {
  const waiters = new Waiters();
  const [one, other] = [waiting(waiters, {}, YEARS), waiting(waiters)];
  waiters.setAlarm("inbox", performance.now() + YEARS);
  await sleep(50);
  assert.deepEqual([one.isOver, other.isOver], [false, false]);
  for (const { waiter } of [one, other]) waiter.end();
});
