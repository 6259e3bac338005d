/**
 * The reasons why messages are given up, in words: those in `pymailbox/contract/reasons.py` (a test compares them), and
 * some of IndexedDB only, where any script can write.
 */

/** @param {number} count of messages that were lost with a record */
export const unreadableReason = (count) => `${count} message(s) could not be read: something else wrote into the store`;

/** @param {number} failures @param {number} maxDeliveries */
export const failedReason = (failures, maxDeliveries) => `${failures} of at most ${maxDeliveries} deliveries failed`;

/** @param {number} failures @param {number} maxDeliveries */
export const diedReason = (failures, maxDeliveries) => `its holder died; ${failedReason(failures, maxDeliveries)}`;

/** @param {number} count of messages whose record is gone */
export const deletedReason = (count) => `${count} message(s) could not be read: something else deleted them`;

/** For what is where no record of messages belongs. */
export const STRAY_ROW = "0 message(s) could not be read: something else is in the store";

/** For what is where a dead letter was. */
export const UNREADABLE_DEAD_LETTER = "a dead letter that could not be read: something else wrote into the store";

/** For each message of a page of the state. */
export const UNREADABLE_PAGE =
  "The record of its state could not be read: something else wrote into the store. It may have been handled " +
  "before.";
