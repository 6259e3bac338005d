/** Counting: what a transaction does to find how many messages there are, since when they wait and when delays end. */

import { QUEUED, timeIn } from "../../model/frames.js";
import { delays, firstWaiting } from "../../model/queries.js";
import { Unreadable } from "../read-transaction.js";
import { ValueUnavailable } from "../unavailable-values.js";

/** @typedef {import("../read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../../model/state.js").MailboxState} MailboxState */

const NO_DELAYS = { due: 0, next: Infinity };

/**
 * Counts what there is, at a cost that does not grow with the backlog.
 * @param {ReadTransaction} tx @param {MailboxState} state @returns {Promise<import("../types.js").Counts>}
 */
export async function status(tx, state) {
  const { due, next } = state.delayedCount === 0 ? NO_DELAYS : await tx.run(state, delays(state.pages, Date.now()));
  let oldest = Infinity;
  for (const [priority, { queued }] of state.lanes.entries())
    if (queued > 0) oldest = Math.min(oldest, (await oldestOf(tx, state, priority)) ?? Infinity);
  return {
    queued: state.queuedByPriority(),
    inflight: state.inflightCount(),
    deadLetters: state.deadLetters,
    delayed: state.delayedCount - due,
    nextDue: next === Infinity ? undefined : next,
    oldest: oldest === Infinity ? undefined : oldest,
    everQueued: state.everQueued(),
  };
}

/**
 * When the first queued message of a lane was made; undefined if it cannot be read, which its claim will deal with.
 * @param {ReadTransaction} tx @param {MailboxState} state @param {number} priority
 */
async function oldestOf(tx, state, priority) {
  try {
    const first = await tx.run(state, firstWaiting(state.pages, priority));
    if (first === undefined) return undefined;
    // it may be large, and stays the first for a long time if nobody takes it
    const noted = tx.cache.timeOf(state.number, priority, first.from);
    if (noted !== undefined) return noted;
    const [{ bytes, frame }] = await tx.entries(state, [first], QUEUED);
    const time = timeIn(bytes, frame);
    tx.cache.noteTime(state.number, priority, first.from, time);
    return time;
  } catch (error) {
    if (error instanceof Unreadable || error instanceof ValueUnavailable) return undefined;
    throw error;
  }
}
