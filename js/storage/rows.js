/**
 * What the rows of the small stores may hold, and what to do with other rows: any script of the origin can write there.
 */

import { frameAt, frameOf, isTime, viewOf } from "../model/frames.js";
import { LARGEST_MESSAGE } from "../model/limits.js";
import { ID_BYTES, randomId } from "../model/ids.js";
import { isCount } from "../model/bytes.js";
import { PRIORITIES } from "../model/lane.js";

/** @typedef {import("../model/types.js").Place} Place */

/** In places, the lane of dead letters. */
export const DEAD = -1;

/**
 * A place as the store `ids` has it; undefined if it is not one. @param {unknown} value @returns {Place | undefined}
 */
export function placeIn(value) {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [priority, sequence] = value;
  return (priority === DEAD || isCount(priority)) && isCount(sequence) ? { priority, sequence } : undefined;
}

/** The number of a dead letter, from its key; undefined if it is not such a key. @param {IDBValidKey} key */
export function numberOfDeadLetter(key) {
  const [, number, ...more] = /** @type {unknown[]} */ (key);
  return isCount(number) && more.length === 0 ? number : undefined;
}

/**
 * Whether a stored value is a dead letter.
 * @param {any} value @returns {value is import("../model/types.js").StoredDeadLetter}
 */
export function isDeadLetter(value) {
  if (!(value?.frame instanceof Uint8Array) || !(value.id instanceof Uint8Array) || value.id.length !== ID_BYTES)
    return false;
  if (!isCount(value.deliveries) || !isTime(value.diedAt) || typeof value.reason !== "string") return false;
  if (value.error !== undefined && typeof value.error !== "string") return false;
  try {
    const { end, priority } = frameAt(viewOf(value.frame), 0);
    return end === value.frame.length && priority < PRIORITIES;
  } catch {
    return false;
  }
}

/**
 * A dead letter for what cannot be read, no larger than a message can be, so that no browser refuses to store it.
 * @param {number} priority @param {unknown} value @param {string} reason
 */
export function salvagedDeadLetter(priority, value, reason) {
  const id = randomId();
  const now = Date.now();
  return {
    id,
    frame: frameOf(priority, id, bytesOf(value).subarray(0, LARGEST_MESSAGE), now),
    deliveries: 0,
    reason,
    error: undefined,
    diedAt: now,
  };
}

/** What somebody else wrote, as bytes; empty if there is nothing. @param {unknown} value */
function bytesOf(value) {
  if (value === undefined) return new Uint8Array();
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return new TextEncoder().encode(typeof value === "string" ? value : asText(value));
}

/** @param {unknown} value */
function asText(value) {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value); // it contains itself, or a number that JSON cannot express
  }
}
