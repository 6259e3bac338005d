// Who may write a state without reading it: only for a while after the last commit, and only with a lock.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Locks } from "../../js/coordination/locks.js";
import { WriteLeases, moment } from "../../js/engine/write-lease.js";
import { MailboxState } from "../../js/model/state.js";

/** Web Locks that are granted in a moment, and can be taken away. */
function lockManager() {
  /** @type {((reason: Error) => void)[]} */
  const rob = [];
  const request = (/** @type {string} */ _, /** @type {() => Promise<void>} */ held) =>
    new Promise((resolve, reject) => {
      rob.push(reject);
      queueMicrotask(() => held().then(resolve));
    });
  return { manager: /** @type {any} */ ({ request }), robAll: () => rob.splice(0).forEach((one) => one(new Error())) };
}

/** Commits as many times to a mailbox that nobody else writes. @param {WriteLeases} leases @param {number} commits */
function commit(leases, commits, state = MailboxState.create(1)) {
  for (let i = 0; i < commits; i++) {
    const at = moment();
    leases.writeUnsealed(() => /** @type {any} */ ({ add: () => ({}) }), "inbox", state);
    leases.committed("inbox", state, at);
  }
  return state;
}

const turn = () => new Promise((resolve) => setTimeout(resolve));

async function leased() {
  const { manager, robAll } = lockManager();
  const leases = new WriteLeases(new Locks(manager));
  await turn();
  const state = commit(leases, 4);
  assert.equal(leases.get("inbox"), state);
  return { leases, state, robAll };
}

test("a context gets a lease when it has had a mailbox to itself for three commits", async () => {
  const { manager } = lockManager();
  const leases = new WriteLeases(new Locks(manager));
  await turn();
  const state = commit(leases, 3);
  assert.deepEqual([state.leased, leases.get("inbox")], [false, undefined]);
  commit(leases, 1, state);
  assert.equal(leases.get("inbox"), state);
});

test("without locks nobody gets one", async () => {
  const leases = new WriteLeases(new Locks(undefined));
  await turn();
  const state = commit(leases, 10);
  assert.deepEqual([state.leased, leases.get("inbox")], [false, undefined]);
});

test("it ends half a minute after its last transaction began, by either clock", async (t) => {
  for (const clock of [Date, performance]) {
    for (const [passed, holds] of [
      [29_000, true],
      [31_000, false],
    ]) {
      const { leases, state } = await leased();
      const begun = clock.now();
      const { mock } = t.mock.method(clock, "now", () => begun + Number(passed));
      assert.equal(leases.get("inbox"), holds ? state : undefined, `${passed} ms`);
      mock.restore();
    }
  }
  const { leases } = await leased();
  const begun = Date.now();
  t.mock.method(Date, "now", () => begun - 31_000);
  assert.equal(leases.get("inbox"), undefined, "a clock that was put back");
});

test("a commit that is reported late is as old as its transaction", async () => {
  const { leases, state } = await leased();
  const { wall, steady } = moment();
  leases.committed("inbox", state, { wall, steady: steady - 31_000 });
  assert.equal(leases.get("inbox"), undefined);
});

test("it ends with its lock, and as its page is left; what was under way then gives none", async () => {
  for (const end of ["lock", "page"]) {
    const { leases, state, robAll } = await leased();
    if (end === "lock") robAll();
    else leases.suspend();
    await turn();
    assert.equal(leases.get("inbox"), undefined, end);
    leases.committed("inbox", state, moment());
    assert.equal(leases.get("inbox"), undefined, end);
    // the next one is another context's
    const { writer } = state;
    commit(leases, 1, state);
    assert.notEqual(state.writer, writer, end);
    assert.equal(state.leased, false, end);
  }
});
