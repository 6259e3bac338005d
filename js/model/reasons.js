/** Why a message was given up, in words: as in `pymailbox/contract/reasons.py`, with which a test compares them. */

/** @param {number} count of messages that were lost with a record */
export const unreadableReason = (count) => `${count} message(s) could not be read: something else wrote into the store`;

/** @param {number} failures @param {number} maxDeliveries */
export const failedReason = (failures, maxDeliveries) => `${failures} of at most ${maxDeliveries} deliveries failed`;

/** @param {number} failures @param {number} maxDeliveries */
export const diedReason = (failures, maxDeliveries) => `its holder died; ${failedReason(failures, maxDeliveries)}`;
