/**
 * Message ids that say where their messages are, so that acknowledging needs no lookup.
 *
 * A generated id is a UUIDv8 (RFC 9562, section 5.8): 76 bits name the mailbox (70 of them random, drawn when the
 * mailbox is made), 4 bits hold the priority, 48 bits the sequence number within it.
 */

export const ID_BYTES = 16;

const PRIORITY_AT = 9;
const SEQUENCE_HIGH_AT = 10;
const SEQUENCE_LOW_AT = 12;

/** The id of a new mailbox's place 0 at priority 0. */
export function newIdBase() {
  const base = crypto.getRandomValues(new Uint8Array(ID_BYTES));
  base[6] = 0x80 | (base[6] & 0x0f);
  base[8] = 0x80 | (base[8] & 0x3f);
  base[PRIORITY_AT] &= 0xf0;
  base.fill(0, SEQUENCE_HIGH_AT);
  return base;
}

/** An id that says nothing: a UUIDv4. */
export function randomId() {
  const id = crypto.getRandomValues(new Uint8Array(ID_BYTES));
  id[6] = 0x40 | (id[6] & 0x0f);
  id[8] = 0x80 | (id[8] & 0x3f);
  return id;
}

/** A random name; `crypto.randomUUID` exists only in secure contexts. */
export const randomName = () => Array.from(randomId(), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** An id as a key for a Set. @param {Uint8Array} id */
export const keyOf = (id) => String.fromCharCode(...id);

/** Consecutive ids. @param {Uint8Array} ids @returns {Uint8Array<ArrayBuffer>[]} */
export function eachId(ids) {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const each = [];
  for (let at = 0; at < ids.length; at += ID_BYTES) each.push(ids.slice(at, at + ID_BYTES));
  return each;
}

/**
 * Writes the id of a place.
 * @param {DataView} target @param {number} offset @param {Uint8Array} base @param {number} priority
 * @param {number} sequence
 */
export function writeId(target, offset, base, priority, sequence) {
  for (let i = 0; i < PRIORITY_AT; i++) target.setUint8(offset + i, base[i]);
  target.setUint8(offset + PRIORITY_AT, base[PRIORITY_AT] | priority);
  target.setUint16(offset + SEQUENCE_HIGH_AT, Math.floor(sequence / 2 ** 32));
  target.setUint32(offset + SEQUENCE_LOW_AT, sequence % 2 ** 32);
}

/**
 * The place that an id names, if this mailbox made it.
 * @param {Uint8Array} id @param {Uint8Array} base @returns {import("./types.js").Place | undefined}
 */
export function placeOf(id, base) {
  for (let i = 0; i < PRIORITY_AT; i++) if (id[i] !== base[i]) return undefined;
  if ((id[PRIORITY_AT] & 0xf0) !== base[PRIORITY_AT]) return undefined;
  const high = (id[SEQUENCE_HIGH_AT] << 8) | id[SEQUENCE_HIGH_AT + 1];
  const low =
    (id[SEQUENCE_LOW_AT] << 24) |
    (id[SEQUENCE_LOW_AT + 1] << 16) |
    (id[SEQUENCE_LOW_AT + 2] << 8) |
    id[SEQUENCE_LOW_AT + 3];
  return { priority: id[PRIORITY_AT] & 0x0f, sequence: high * 2 ** 32 + (low >>> 0) };
}
