/** A call that takes the next batch: it looks, and waits for as long as it may, until there is something. */

import { waiters } from "../context.js";
import { NO_BATCH } from "../frames.js";
import { whenBack } from "./page-lifecycle.js";
import { SLOW_POLL } from "./recovery.js";

/**
 * What one look found.
 * @typedef {object} Found
 * @property {Uint8Array} batch
 * @property {import("./liveness.js").Life} life the one that holds the batch
 * @property {import("./liveness.js").Holders} strangers who holds something in other contexts
 * @property {boolean} more whether there is something left to claim
 * @property {number} nextDue milliseconds since 1970
 * @property {number} nextTry when to look whether what could not be read can be, on the clock of `performance.now()`
 */

/**
 * Whoever claims.
 * @typedef {object} Claimant
 * @property {string} mailbox
 * @property {() => boolean} isClosed
 * @property {import("./recovery.js").Recovery} recovery
 * @property {() => Promise<Found>} claimNow
 */

/**
 * Takes the next batch; an empty one when the time is over.
 * @param {Claimant} claimant @param {unknown} owner by whom it may be woken @param {number} wait milliseconds
 * @param {AbortSignal} cancelled
 * @returns {Promise<Found>} whose `life` is not over
 */
export async function claimWithin(claimant, owner, wait, cancelled) {
  const { mailbox, recovery } = claimant;
  const deadline = performance.now() + wait;
  // another one that waits has to look, since this one may have been chosen for it and has not
  let owesALook = false;
  try {
    for (;;) {
      // so that nothing is missed between the look and the waiting
      const waiter = waiters.begin(mailbox, owner);
      try {
        owesALook = wait > 0;
        const back = whenBack(cancelled);
        if (back !== undefined) await back;
        const found = await claimant.claimNow();
        if (cancelled.aborted) return found;
        // what it held has been given back meanwhile
        if (found.life.over || !found.life.begun) continue;
        owesALook = wait > 0 && found.more;
        recovery.see(found.strangers);
        if (found.batch.length > NO_BATCH.length) {
          if (found.strangers.size > 0) recovery.lookAside();
          return found;
        }
        // a call that was under way when the handle was closed is let finish; one that waits ends with an error
        if (claimant.isClosed() && wait === 0) return found;
        if (found.strangers.size > 0 && recovery.isDue) {
          const recovered = await lookFor(claimant);
          if (claimant.isClosed() && wait === 0) return found;
          if (recovered > 0) continue;
        }
        const now = performance.now();
        if (deadline <= now) return found;
        const nextLook = found.strangers.size > 0 ? recovery.nextLook : Infinity;
        waiters.setAlarm(mailbox, Math.min(nextLook, now + SLOW_POLL, now + found.nextDue - Date.now(), found.nextTry));
        await waiter.within(deadline - now, cancelled);
      } finally {
        waiter.end();
        if (waiter.woken) owesALook = true;
      }
    }
  } finally {
    if (owesALook) waiters.wake(mailbox);
  }
}

/** @param {Claimant} claimant @returns {Promise<number>} how many messages came back */
async function lookFor({ recovery, isClosed }) {
  try {
    return (await recovery.look()).recovered;
  } catch (error) {
    if (!isClosed()) throw error;
    return 0;
  }
}
