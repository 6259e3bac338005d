/**
 * What a message has been through, in one number, so that a run of messages shares it and the database stores it plain.
 *
 * Three flags, how often it has been handed out, and how often that failed.
 */

/** Its id was given by its sender, and stands in the store `ids`. */
const NAMED = 1;
/** A holder died with it: it is handed out in a batch of its own, so that one that kills its consumer is found out. */
const SUSPECT = 2;
/** Its last hand-out was a batch of its own. */
const ALONE = 4;

const DELIVERY = 8;
const FAILURE = DELIVERY * 2 ** 20;

/** Deliveries are counted up to here. */
const MOST_DELIVERIES = 2 ** 20 - 1;

/** The history of a message never handed out. @param {boolean} named whether its id was given by its sender */
export const unseen = (named) => (named ? NAMED : 0);

/**
 * The history of a message that was in a mailbox before, under an id that stands in the store `ids`.
 * @param {number} handOuts @param {number} failures @param {boolean} suspect
 */
export const restored = (handOuts, failures, suspect) =>
  NAMED + (suspect ? SUSPECT : 0) + Math.min(handOuts, MOST_DELIVERIES) * DELIVERY + Math.min(failures, MOST_DELIVERIES) * FAILURE;

/** @param {number} history */
export const isNamed = (history) => (history & NAMED) !== 0;

/** @param {number} history */
export const isSuspect = (history) => (history & SUSPECT) !== 0;

/** How often it has been handed out. @param {number} history */
export const deliveries = (history) => Math.floor((history % FAILURE) / DELIVERY);

/** How many of these failed. @param {number} history */
export const failures = (history) => Math.floor(history / FAILURE);

/** @param {number} history @param {boolean} alone whether it is the only one of its batch */
export const handedOut = (history, alone) =>
  history + (deliveries(history) < MOST_DELIVERIES ? DELIVERY : 0) + (alone ? ALONE : 0);

/** What turned out to be the only one of its batch. @param {number} history */
export const alone = (history) => without(ALONE, history) + ALONE;

/** As if the last hand-out had not been. @param {number} history */
export const takenBack = (history) => without(ALONE, history) - DELIVERY;

/** Its holder gave it back as failed; so it did not kill its holder. @param {number} history */
export const failed = (history) => without(SUSPECT, without(ALONE, history)) + FAILURE;

/** Its holder died. Only a message that was alone is to blame. @param {number} history */
export const orphaned = (history) =>
  ((history & ALONE) !== 0 ? failed(history) : without(SUSPECT, history)) + SUSPECT;

/** @param {number} flag @param {number} history */
const without = (flag, history) => ((history & flag) !== 0 ? history - flag : history);
