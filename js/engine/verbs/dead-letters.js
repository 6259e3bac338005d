/** Dead letters: what a transaction does to bury a message, to redrive or discard a dead letter, and to list them. */

import { handOuts } from "../../model/delivery.js";
import { INFLIGHT, frameAt, idIn, packBatch, viewOf, withCustomId } from "../../model/frames.js";
import { ID_BYTES } from "../../model/ids.js";
import { result } from "../../storage/requests.js";
import { DEAD, isDeadLetter, numberOfDeadLetter } from "../../storage/rows.js";
import { keysOf } from "../../storage/stored-state.js";
import { deleteDeadLetter, putDeadLetter } from "../dead-letter-rows.js";
import { Unreadable } from "../read-transaction.js";
import { salvage } from "../salvage.js";
import { deleteDead, flush } from "../stored-segments.js";
import { ValueUnavailable, tellOfUnavailable, withId } from "../unavailable-values.js";
import { enqueueFrame, openToEnqueue } from "./enqueue.js";

/** @typedef {import("../write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../../model/types.js").Place} Place */
/** @typedef {Uint8Array<ArrayBuffer>} Id */

/** How many dead letters are read at once: each may be as large as a message can be. */
const READ_AT_ONCE = 8;

/**
 * Moves a message that a holder has to the dead letters.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {string} holder @param {Id} id @param {string} reason
 * @throws {ValueUnavailable}
 */
export async function bury(tx, state, holder, id, reason) {
  const place = await tx.find(state, id);
  if (place === undefined || !state.isHeldBy(holder, place)) return false;
  await withIdIn(id, buryOrSalvage(tx, state, place, state.deliveryOf(place) ?? 0, reason));
  return true;
}

/**
 * As `buryOrSalvage`, but what cannot be read at present, or has no room as a dead letter, stays where it is.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place @param {number} delivery
 * @param {string} reason @returns {Promise<boolean>} whether it is a dead letter
 */
export async function buryIfPossible(tx, state, place, delivery, reason) {
  if (tx.lacksRoom) return false;
  try {
    await buryOrSalvage(tx, state, place, delivery, reason);
    return true;
  } catch (error) {
    if (error instanceof ValueUnavailable) return false;
    throw error;
  }
}

/**
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place @param {number} delivery
 * @param {string} reason
 */
async function buryOrSalvage(tx, state, place, delivery, reason) {
  while (state.deliveryOf(place) !== undefined) {
    try {
      return await buryLiving(tx, state, place, delivery, reason);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      await salvage(tx, state, error.place);
    }
  }
}

/**
 * Moves a living message to the dead letters.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place @param {number} delivery
 * @param {string} reason
 * @throws {ValueUnavailable} nothing was changed
 */
async function buryLiving(tx, state, place, delivery, reason) {
  const { priority, sequence } = place;
  flush(tx);
  const errorKey = [state.number, priority, sequence];
  const run = { priority, from: sequence, to: sequence + 1, delivery };
  const [entry] = await tx.entries(state, [run], INFLIGHT);
  const [error] = await tx.values("errors", errorKey);
  const id = new Uint8Array(ID_BYTES);
  if (entry.frame.hasCustomId) id.set(idIn(entry.bytes, entry.frame));
  else entry.writeIdTo(viewOf(id), 0);
  const number = state.bury(place);
  tx.store("errors").delete(errorKey);
  putDeadLetter(tx, state, number, {
    id,
    frame: entry.bytes.slice(entry.frame.offset, entry.frame.end),
    deliveries: handOuts(delivery),
    reason,
    error: typeof error === "string" ? error : undefined,
    diedAt: Date.now(),
  });
  await deleteDead(tx, state, priority, sequence, sequence + 1);
}

/**
 * Puts a dead letter at the end of its priority, as new.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Id} id
 * @returns {Promise<boolean | undefined>} undefined if there is none, false if it could not be read
 * @throws {ValueUnavailable}
 */
export async function redrive(tx, state, id) {
  const place = await tx.find(state, id);
  if (place?.priority !== DEAD) return undefined;
  try {
    await withIdIn(id, redriveReadable(tx, state, place.sequence, id));
    return true;
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    await salvage(tx, state, error.place);
    return false;
  }
}

/**
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} number @param {Id} id @throws {Unreadable}
 * @throws {ValueUnavailable}
 */
async function redriveReadable(tx, state, number, id) {
  const [letter] = await tx.values("dead", [state.number, number]);
  tx.moves();
  if (isDeadLetter(letter)) await deleteDeadLetter(tx, state, number, id);
  else throw new Unreadable({ priority: DEAD, sequence: number });
  const frame = withCustomId(letter.frame, id);
  await openToEnqueue(tx, state);
  enqueueFrame(tx, state, frame, frameAt(viewOf(frame), 0));
}

/**
 * Deletes a dead letter.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Id} id
 * @returns {Promise<boolean | undefined>} undefined if there is none, false if something else had deleted it
 */
export async function discard(tx, state, id) {
  const place = await tx.find(state, id);
  if (place?.priority !== DEAD) return undefined;
  return deleteDeadLetter(tx, state, place.sequence, id);
}

/**
 * The newest dead letters. Those that cannot be read at present are passed over.
 * @param {ReadTransaction} tx @param {MailboxState} state @param {number} limit
 * @param {number} offset how many are passed over
 * @param {number} bytes after which no further one is shown
 * @returns {Promise<[Uint8Array, string]>} a batch, and JSON: `[reason, error, diedAt]` of each
 * @throws {Unreadable}
 */
export async function listDeadLetters(tx, state, limit, offset, bytes) {
  const dead = tx.store("dead");
  const isUnavailable = (/** @type {number} */ number) => tx.unavailable.has("dead", [state.number, number]);
  /** @type {(import("../../model/types.js").StoredDeadLetter | undefined)[]} */
  let letters;
  do {
    /** @type {number[]} */
    const numbers = [];
    let passedOver = 0;
    let [toAdvance, toPass] = tx.unavailable.isEmpty ? [offset, 0] : [0, offset];
    const request = dead.openKeyCursor(keysOf(state), "prev");
    let cursor = await result(request);
    if (cursor !== null && toAdvance > 0) {
      cursor.advance(toAdvance);
      cursor = await result(request);
    }
    for (; cursor !== null && numbers.length < limit; cursor = await result(request)) {
      const number = numberOfDeadLetter(cursor.key);
      if (number !== undefined && isUnavailable(number)) passedOver += 1;
      else if (number !== undefined && toPass > 0) toPass -= 1;
      else if (number !== undefined) numbers.push(number);
      if (numbers.length === limit) break;
      cursor.continue();
    }
    // something else deleted or added some: there is none with this number, and looking for it corrects the count
    const isAll = cursor === null && offset === 0;
    if (isAll && numbers.length + passedOver !== state.deadLetters)
      throw new Unreadable({ priority: DEAD, sequence: state.nextDeadLetter });
    letters = [];
    for (let left = bytes; letters.length < numbers.length && left > 0; ) {
      const next = numbers.slice(letters.length, letters.length + READ_AT_ONCE);
      const read = await Promise.all(next.map((number) => letterIn(tx, state, number)));
      letters.push(...read);
      for (const letter of read) left -= letter === undefined ? 0 : sizeOf(letter);
    }
  } while (letters.includes(undefined));
  await tellOfUnavailable(tx, state, "dead");
  const readable = letters.filter((letter) => letter !== undefined);
  let left = bytes;
  return batchOf(readable.filter((letter, i) => (left -= sizeOf(letter)) >= 0 || i === 0));
}

/** About how many bytes it takes to show it. @param {import("../../model/types.js").StoredDeadLetter} letter */
const sizeOf = ({ frame, reason, error = "" }) => frame.length + reason.length + error.length;

/**
 * A dead letter; undefined if it cannot be read at present.
 * @param {ReadTransaction} tx @param {MailboxState} state @param {number} number @throws {Unreadable}
 */
async function letterIn(tx, state, number) {
  try {
    const [letter] = await tx.values("dead", [state.number, number]);
    if (isDeadLetter(letter)) return letter;
  } catch (error) {
    if (error instanceof ValueUnavailable) return undefined;
    throw error;
  }
  throw new Unreadable({ priority: DEAD, sequence: number });
}

/**
 * @param {import("../../model/types.js").StoredDeadLetter[]} letters
 * @returns {[Uint8Array, string]} a batch, and JSON: `[reason, error, diedAt]` of each
 */
export const batchOf = (letters) => [
  packBatch(letters.map(entryOf)),
  JSON.stringify(letters.map(({ reason, error, diedAt }) => [reason, error ?? null, diedAt])),
];

/**
 * A dead letter as an entry of a batch.
 * @param {import("../../model/types.js").StoredDeadLetter} letter @returns {import("../../model/types.js").Entry}
 */
export const entryOf = ({ id, frame, deliveries }) => ({
  bytes: frame,
  frame: frameAt(viewOf(frame), 0),
  writeIdTo: (view, offset) => id.forEach((byte, i) => view.setUint8(offset + i, byte)),
  deliveryCount: deliveries,
  status: INFLIGHT,
});

/** Makes an error name the message that cannot be read. @template T @param {Id} id @param {Promise<T>} done */
async function withIdIn(id, done) {
  try {
    return await done;
  } catch (error) {
    throw error instanceof ValueUnavailable ? withId(error, id) : error;
  }
}
