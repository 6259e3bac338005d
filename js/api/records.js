/** What the API hands out: frozen values, made from what the engine gives. */

import { PRIORITIES, STATUSES } from "./validate.js";
import { DELAYED, QUEUED, unpackBatch } from "../model/frames.js";
import { unpackHeaders } from "../model/headers.js";
import { ID_BYTES } from "../model/ids.js";
import { textOfId } from "../model/uuids.js";

/** @typedef {import("./values.js").MessageRecord} MessageRecord */
/** @typedef {import("./values.js").DeadLetter} DeadLetter */

const decoder = new TextDecoder("utf-8", { fatal: true });

/** @type {MessageRecord["headers"]} */
const NO_HEADERS = Object.freeze(Object.create(null));

/** What is handed out of a message; a copy of it, by `structuredClone` or `postMessage`, has the same data. */
class HandedOut {
  /** @param {import("../model/types.js").Unpacked} message */
  constructor({ id, headers, sender, payload, priority, createdAt, deliveryCount, status, due }) {
    this.id = textOfId(id);
    this.sender = sender;
    this.payload = payload;
    this.priority = PRIORITIES[priority];
    this.createdAt = new Date(createdAt);
    this.status = STATUSES[status === DELAYED ? QUEUED : status];
    this.deliveryCount = deliveryCount;
    this.headers = headers.length === 0 ? NO_HEADERS : headersOf(headers);
    if (status === DELAYED) this.dueAt = new Date(due);
    Object.freeze(this);
  }

  /** @returns {any} */
  json() {
    let why = "it is not UTF-8";
    try {
      const text = decoder.decode(this.payload);
      why = "";
      return JSON.parse(text);
    } catch (cause) {
      why ||= cause instanceof Error ? cause.message : String(cause);
      throw new SyntaxError(`the payload of message ${this.id} is not JSON: ${why}`, { cause });
    }
  }
}

/** @param {Uint8Array} stored @returns {MessageRecord["headers"]} */
function headersOf(stored) {
  // without a prototype, so that no name is special
  const headers = Object.create(null);
  for (const [name, text] of unpackHeaders(stored)) headers[name] = text;
  return Object.freeze(headers);
}

/** @param {Uint8Array} batch @returns {MessageRecord[]} */
export const recordsOf = (batch) => unpackBatch(batch).map((message) => new HandedOut(message));

/**
 * @param {Uint8Array} batch @param {string} deaths JSON: `[reason, error, diedAt]` of each
 * @returns {DeadLetter[]}
 */
export function deadLettersOf(batch, deaths) {
  /** @type {[string, string | null, number][]} */
  const told = JSON.parse(deaths);
  return recordsOf(batch).map((record, i) => {
    const [reason, error, diedAt] = told[i];
    return Object.freeze({ record, reason, error, diedAt: new Date(diedAt) });
  });
}

/** @param {import("../engine/types.js").Counts} counts @returns {import("./values.js").MailboxStats} */
export function statsOf({ queued: [normal, high], inflight, deadLetters, delayed, oldest, everQueued }) {
  return Object.freeze({
    queuedMessages: normal + high,
    inflightMessages: inflight,
    queuedByPriority: Object.freeze({ normal, high }),
    deadLetters,
    delayedMessages: delayed,
    oldestQueuedAt: oldest === undefined ? null : new Date(oldest),
    everQueued,
  });
}

/**
 * What there is of a message.
 * @param {Uint8Array} batch of one at most @param {string} deaths as for `deadLettersOf`, none if it lives
 * @returns {MessageRecord | DeadLetter | null}
 */
export const foundIn = (batch, deaths) =>
  (deaths === "[]" ? recordsOf(batch)[0] : deadLettersOf(batch, deaths)[0]) ?? null;

/** All ids of some bytes. @param {Uint8Array} bytes @returns {string[]} */
export function idsOf(bytes) {
  /** @type {string[]} */
  const ids = [];
  for (let at = 0; at < bytes.length; at += ID_BYTES) ids.push(textOfId(bytes, at));
  return ids;
}
