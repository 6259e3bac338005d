/** What the API hands out: frozen values, made from what the engine gives. */

import { PRIORITIES, STATUSES } from "./validate.js";
import { unpackBatch } from "../model/frames.js";
import { ID_BYTES } from "../model/ids.js";
import { textOfId } from "../model/uuids.js";

/** @param {Uint8Array} batch @returns {import("./values.js").MessageRecord[]} */
export function recordsOf(batch) {
  return unpackBatch(batch).map(({ id, sender, payload, priority, createdAt, deliveryCount, status }) =>
    Object.freeze({
      id: textOfId(id),
      sender,
      payload,
      priority: PRIORITIES[priority],
      createdAt: new Date(createdAt),
      status: STATUSES[status],
      deliveryCount,
    }),
  );
}

/**
 * @param {Uint8Array} batch @param {string} deaths JSON: `[reason, error, diedAt]` of each
 * @returns {import("./values.js").DeadLetter[]}
 */
export function deadLettersOf(batch, deaths) {
  /** @type {[string, string | null, number][]} */
  const told = JSON.parse(deaths);
  return recordsOf(batch).map((record, i) => {
    const [reason, error, diedAt] = told[i];
    return Object.freeze({ record, reason, error, diedAt: new Date(diedAt) });
  });
}

/** @param {number[]} counts as the engine gives them @returns {import("./values.js").MailboxStats} */
export function statsOf([everQueued, deadLetters, inflightMessages, normal, high]) {
  return Object.freeze({
    queuedMessages: normal + high,
    inflightMessages,
    queuedByPriority: Object.freeze({ normal, high }),
    deadLetters,
    everQueued,
  });
}

/** All ids of some bytes. @param {Uint8Array} bytes @returns {string[]} */
export function idsOf(bytes) {
  /** @type {string[]} */
  const ids = [];
  for (let at = 0; at < bytes.length; at += ID_BYTES) ids.push(textOfId(bytes, at));
  return ids;
}
