// A call that takes the next batch, on a clock of the test's own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { claimWithin } from "../../js/engine/claim-loop.js";
import { Waiters } from "../../js/coordination/waiters.js";
import { NO_BATCH } from "../../js/model/frames.js";

test("what memory shows is no answer: a call whose time is over looks at the database first", async (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => (now += 2));
  const life = { begun: true, over: false };
  const nothing = { batch: NO_BATCH, life, strangers: new Map(), more: false, nextDue: Infinity, nextRetry: Infinity };
  const something = { ...nothing, batch: new Uint8Array(NO_BATCH.length + 1) };
  const claimant = /** @type {any} */ ({
    engine: { lifecycle: { whenBack: () => undefined }, waiters: new Waiters() },
    mailbox: "inbox",
    isClosed: () => false,
    recovery: { see: () => {}, isDue: false },
    lookInMemory: () => nothing,
    look: async () => something,
    parked: () => assert.fail("its time is over"),
  });
  const neverCancelled = /** @type {any} */ ({ isCancelled: false, listen: () => () => {} });
  assert.equal(await claimWithin(claimant, {}, 1, neverCancelled), something);
});
