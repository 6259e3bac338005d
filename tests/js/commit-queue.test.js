// Which operations share a transaction, and what it is then like.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CommitQueue, LARGEST_GROUP, Submitted } from "../../js/engine/commit-queue.js";

/** @param {IDBTransactionDurability} durability @param {boolean} [notes] */
function submitted(durability, notes = false) {
  const operation = /** @type {import("../../js/engine/types.js").Operation<unknown>} */ ({
    durability,
    stores: false,
    needsNotes: () => notes,
    run: () => Promise.resolve(),
  });
  return new Submitted(
    operation,
    () => {},
    () => {},
  );
}

/** @param {import("../../js/engine/commit-queue.js").Group} group */
function joinAll(group) {
  while (group.join() !== undefined);
  return group.joined.length;
}

test("a transaction is strict if one of its operations is", () => {
  for (const strict of [0, 1, 2]) {
    const queue = new CommitQueue();
    for (let i = 0; i < 3; i++) queue.add(submitted(i === strict ? "strict" : "relaxed"));
    const group = queue.nextGroup();
    assert.equal(group.durability, "strict");
    assert.equal(joinAll(group), 3);
  }
  const queue = new CommitQueue();
  queue.add(submitted("relaxed"));
  assert.equal(queue.nextGroup().durability, "relaxed");
});

test("a strict operation that comes later joins no relaxed transaction, nor does what comes after it", () => {
  const queue = new CommitQueue();
  queue.add(submitted("relaxed"));
  const group = queue.nextGroup();
  for (const durability of /** @type {const} */ (["relaxed", "strict", "relaxed"])) queue.add(submitted(durability));
  assert.equal(joinAll(group), 2);
  const next = queue.nextGroup();
  assert.equal(next.durability, "strict");
  assert.equal(joinAll(next), 2);
});

test("an operation that needs the unload notes joins no transaction without them", () => {
  const queue = new CommitQueue();
  queue.add(submitted("relaxed"));
  const group = queue.nextGroup();
  assert.equal(group.notes, false);
  queue.add(submitted("relaxed", true));
  assert.equal(joinAll(group), 1);
  assert.equal(queue.nextGroup().notes, true);
});

test("no transaction has more than so many operations, and their order is that of the calls", () => {
  const queue = new CommitQueue();
  const all = Array.from({ length: LARGEST_GROUP + 1 }, () => submitted("relaxed"));
  for (const one of all) queue.add(one);
  const group = queue.nextGroup();
  assert.equal(joinAll(group), LARGEST_GROUP);
  queue.putBack(group.joined);
  assert.deepEqual(queue.takeAll(), all);
});
