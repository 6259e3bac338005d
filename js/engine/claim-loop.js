/** A call that takes the next batch: it looks, and if there is nothing, waits for as long as it is allowed to. */

import { NO_BATCH } from "../model/frames.js";

/** Milliseconds after which a call that looked only in memory checks the database, unless it is served before. */
const CHECK_AFTER = 3;

/**
 * The result of one look.
 * @typedef {object} Found
 * @property {Uint8Array} batch
 * @property {import("../coordination/liveness.js").Life} life the one that holds the batch
 * @property {import("../coordination/liveness.js").Holders} strangers the holders of other contexts
 * @property {boolean} more whether there is something left to claim
 * @property {number} nextDue milliseconds since 1970
 * @property {boolean} [isCutShort] whether it only acknowledged, and still has to claim
 * @property {number} nextRetry when to try again what could not be read, on the clock of `performance.now()`
 */

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {ReturnType<Engine["waiters"]["begin"]>} Waiter */
/** @typedef {import("../coordination/cancellation.js").Cancellation} Cancellation */

/**
 * Something that claims.
 * @typedef {object} Claimant
 * @property {Engine} engine
 * @property {string} mailbox
 * @property {() => boolean} isClosed
 * @property {import("./recovery.js").Recovery} recovery
 * @property {() => Found | undefined} lookInMemory what a look would find, if memory shows that this is nothing
 * @property {(waits: boolean, onCommit: (found: Found) => void) => Promise<Found>} look `waits`: whether the call goes
 * on waiting if it finds nothing; `onCommit` is called at once after the commit
 * @property {() => import("../coordination/waiters.js").Claiming<Found>} parked how others' commits serve it
 */

/**
 * Takes the next batch; an empty one when the time is up.
 * @param {Claimant} claimant @param {unknown} owner in whose name it may be woken @param {number} wait milliseconds
 * @param {Cancellation} cancelled
 * @returns {Promise<Found>} whose `life` is not over
 */
export async function claimWithin(claimant, owner, wait, cancelled) {
  const { engine, mailbox, recovery } = claimant;
  const { lifecycle, waiters } = engine;
  const deadline = performance.now() + wait;
  // this waiter may have been woken and has not looked, so another must
  let owesALook = false;
  let isFirst = true;
  const waiter = waiters.begin(mailbox, owner);
  try {
    for (;;) {
      // listens first, so that nothing is missed between the look and the wait
      waiter.listen();
      try {
        owesALook = wait > 0;
        const back = lifecycle.whenBack(cancelled);
        if (back !== undefined) await back;
        const inMemory = isFirst && wait > 0 ? claimant.lookInMemory() : undefined;
        isFirst = false;
        const parkIfEmpty = (/** @type {Found} */ looked) => {
          if (isEmpty(looked) && !looked.more && performance.now() < deadline) waiter.park(claimant.parked());
        };
        // parked as soon as a commit has found nothing, so that the very next commit can serve it
        let found = inMemory ?? (await claimant.look(wait > 0, parkIfEmpty));
        while (found.isCutShort && !found.life.over && !(claimant.isClosed() && wait === 0)) {
          found = await claimant.look(wait > 0, parkIfEmpty);
        }
        if (waiter.serving !== undefined) found = (await waiter.serving) ?? found;
        if (isEmpty(found) && isAlive(found) && !cancelled.isCancelled) {
          owesALook = wait > 0 && found.more;
          recovery.see(found.strangers);
          // a call that was under way when the handle was closed may finish; one that waits ends with an error
          if (claimant.isClosed() && wait === 0) return found;
          if (found.strangers.size > 0 && recovery.isDue) {
            const recovered = await recoverFor(claimant, waiter);
            if (claimant.isClosed() && wait === 0) return found;
            if (recovered > 0 && waiter.serving === undefined) continue;
          }
          const now = performance.now();
          const isOver = deadline <= now && !waiter.isParked;
          // others may have stored something that memory does not show
          if (isOver && inMemory !== undefined) continue;
          if (!isOver || waiters.areMany(mailbox)) setAlarm(claimant, found);
          if (isOver) return found;
          waiter.park(claimant.parked());
          const check = inMemory && setTimeout(wakeIfOld, CHECK_AFTER, claimant, waiter);
          const served = await waiter.within(deadline - now, cancelled);
          clearTimeout(check);
          if (served === undefined && !cancelled.isCancelled) continue;
          found = served ?? found;
        }
        if (cancelled.isCancelled) return found;
        // what that life held has been given back meanwhile
        if (!isAlive(found)) continue;
        owesALook = wait > 0 && found.more;
        recovery.see(found.strangers);
        if (found.strangers.size > 0) recovery.recoverInBackground();
        // the alarm may have rung for this one only, and others wait for the next
        if (waiters.areMany(mailbox)) setAlarm(claimant, found);
        return found;
      } finally {
        if (waiter.woken) owesALook = true;
      }
    }
  } finally {
    waiter.end();
    if (owesALook) waiters.wake(mailbox);
  }
}

/**
 * Makes waiters look again when there may be something that nobody notifies them of.
 * @param {Claimant} claimant @param {Found} found
 */
function setAlarm({ engine, mailbox, recovery }, { strangers, nextDue, nextRetry }) {
  const now = performance.now();
  const nextLook = strangers.size > 0 ? recovery.nextLook : Infinity;
  engine.waiters.setAlarm(
    mailbox,
    Math.min(nextLook, now + engine.settings.slowPoll, now + nextDue - Date.now(), nextRetry),
  );
}

/**
 * Makes a call that has looked only in memory look again if that is not the latest state.
 * @param {Claimant} claimant @param {Waiter} waiter
 */
async function wakeIfOld({ engine, mailbox }, waiter) {
  if (waiter.serving === undefined && !(await engine.groupCommit.isLatest(mailbox))) waiter.wake();
}

/** @param {Found} found */
const isEmpty = ({ batch }) => batch.length === NO_BATCH.length;

/** Whether the handle still holds what was found. @param {Found} found */
const isAlive = ({ life }) => life.begun && !life.over;

/**
 * @param {Claimant} claimant @param {Waiter} waiter that may be served meanwhile
 * @returns {Promise<number>} how many messages came back
 */
async function recoverFor({ recovery, isClosed }, waiter) {
  try {
    return (await recovery.recover()).recovered;
  } catch (error) {
    if (isClosed() || waiter.serving !== undefined) return 0;
    // from here on nothing serves it
    waiter.wake();
    throw error;
  }
}
