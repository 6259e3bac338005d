/**
 * The delivery state of a message: its history in one number, which a run of messages can share and the database stores
 * as it is.
 *
 * Four flags, how often it has been handed out, and how often that failed. `pymailbox/core/delivery.py` has the same
 * numbers.
 */

import { MOST_COUNTED } from "./limits.js";

/** It has a custom id, which is in the store `ids`. */
const CUSTOM_ID = 1;
/** A holder died with it: it is handed out in a batch of its own, to find out whether it kills its consumers. */
const SUSPECT = 2;
/** Its last hand-out was a batch of its own. */
const SOLO = 4;
/** A nack gave an error, which is in the store `errors`. */
const HAS_ERROR = 8;

const HAND_OUT = 16;
const FAILURE = HAND_OUT * (MOST_COUNTED + 1);

/** For a message that was never handed out. @param {boolean} custom whether it has a custom id */
export const fresh = (custom) => (custom ? CUSTOM_ID : 0);

/**
 * For a message that comes from another mailbox, under an id that is in the store `ids`.
 * @param {number} handOuts @param {number} failures @param {boolean} suspect @param {boolean} hasError
 */
export const restored = (handOuts, failures, suspect, hasError) =>
  CUSTOM_ID +
  (suspect ? SUSPECT : 0) +
  (hasError ? HAS_ERROR : 0) +
  Math.min(handOuts, MOST_COUNTED) * HAND_OUT +
  Math.min(failures, MOST_COUNTED) * FAILURE;

/** @param {number} delivery */
export const hasCustomId = (delivery) => (delivery & CUSTOM_ID) !== 0;

/** @param {number} delivery */
export const isSuspect = (delivery) => (delivery & SUSPECT) !== 0;

/** Whether it may have a row in the store `errors`. @param {number} delivery */
export const hasError = (delivery) => (delivery & HAS_ERROR) !== 0;

/** How often it has been handed out. @param {number} delivery */
export const handOuts = (delivery) => Math.floor((delivery % FAILURE) / HAND_OUT);

/** How many of these failed. @param {number} delivery */
export const failures = (delivery) => Math.floor(delivery / FAILURE);

/** @param {number} delivery @param {boolean} solo whether it is the only one of its batch */
export const handedOut = (delivery, solo) =>
  without(SOLO, delivery) + (handOuts(delivery) < MOST_COUNTED ? HAND_OUT : 0) + (solo ? SOLO : 0);

/** For a message that turned out to be the only one of its batch. @param {number} delivery */
export const solo = (delivery) => without(SOLO, delivery) + SOLO;

/** As if the last hand-out had not happened. @param {number} delivery */
export const undelivered = (delivery) => without(SOLO, delivery) - (handOuts(delivery) > 0 ? HAND_OUT : 0);

/** Its holder gave it back as failed, so it did not kill its holder. @param {number} delivery */
export const failed = (delivery) =>
  without(SUSPECT, without(SOLO, delivery)) + (failures(delivery) < MOST_COUNTED ? FAILURE : 0);

/** Its holder died. Only a message that was solo is to blame. @param {number} delivery */
export const abandoned = (delivery) =>
  ((delivery & SOLO) !== 0 ? failed(delivery) : without(SUSPECT, delivery)) + SUSPECT;

/** A nack gave an error. @param {number} delivery */
export const withError = (delivery) => without(HAS_ERROR, delivery) + HAS_ERROR;

/** Whether a number can be one. @param {number} delivery */
export const isDelivery = (delivery) =>
  Number.isSafeInteger(delivery) && delivery >= 0 && failures(delivery) <= MOST_COUNTED;

/** @param {number} flag @param {number} delivery */
const without = (flag, delivery) => ((delivery & flag) !== 0 ? delivery - flag : delivery);
