/** Peeking: what a transaction does to show messages without changing anything. */

import { DELAYED, INFLIGHT, QUEUED, packBatch } from "../../model/frames.js";
import { countOf, firstDelayed, firstInflight, firstQueued } from "../../model/queries.js";
import { tellOfUnavailable } from "../unavailable-values.js";

/** @typedef {import("../../model/types.js").LaneRun} LaneRun */

/**
 * Shows messages: queued ones in the order in which they would be handed out, then those not yet due, then inflight
 * ones. What cannot be read at present is passed over.
 * @param {import("../read-transaction.js").ReadTransaction} tx
 * @param {import("../../model/state.js").MailboxState} state
 * @param {number} limit @param {number | undefined} status
 * @param {number} offset how many are passed over; they are not read
 * @param {number} bytes after which no further message is shown
 * @returns {Promise<Uint8Array>} a batch
 * @throws {import("../read-transaction.js").Unreadable}
 */
export async function peek(tx, state, limit, status, offset, bytes) {
  const now = Date.now();
  const end = offset + limit;
  const passedOver = tx.unavailable.messagesOf(state.number);
  for (;;) {
    const before = passedOver.count;
    /** @type {import("../../model/types.js").Entry[]} */
    const shown = [];
    let left = bytes;
    const show = async (/** @type {LaneRun[]} */ runs, /** @type {number} */ as) => {
      if (left <= 0) return;
      const entries = await tx.entries(state, runs, as, left, passedOver);
      for (const entry of entries) {
        left -= entry.frame.end - entry.frame.offset;
        if (left >= 0 || shown.length === 0) shown.push(entry);
      }
      if (entries.length < countOf(runs)) left = 0;
    };
    let queued = 0;
    if (status !== INFLIGHT) {
      const first = await tx.run(state, firstQueued(state.pages, end, now, passedOver));
      const later = await tx.run(state, firstDelayed(state.pages, end - countOf(first), now, passedOver));
      const due = countOf(first);
      queued = due + countOf(later);
      await show(beyond(first, offset), QUEUED);
      await show(beyond(later, Math.max(0, offset - due)), DELAYED);
    }
    if (status !== QUEUED) {
      const inflight = await tx.run(state, firstInflight(state.pages, end - queued, passedOver));
      await show(beyond(inflight, Math.max(0, offset - queued)), INFLIGHT);
    }
    if (passedOver.count > before) continue;
    await tellOfUnavailable(tx, state, "segments");
    return packBatch(shown);
  }
}

/** Runs without their first messages. @param {LaneRun[]} runs @param {number} offset how many */
function beyond(runs, offset) {
  return runs.flatMap((run) => {
    const passed = Math.min(offset, run.to - run.from);
    offset -= passed;
    return run.from + passed < run.to ? [{ ...run, from: run.from + passed }] : [];
  });
}
