/** The rows that messages have beside their segments: custom ids, and the errors that nacks gave. */

import { result } from "../storage/requests.js";
import { keysOf } from "../storage/stored-state.js";
import { DEAD, placeIn } from "../storage/rows.js";
import { hasCustomId, hasError } from "../model/delivery.js";
import { viewOf } from "../model/frames.js";
import { ID_BYTES, writeId } from "../model/ids.js";

/** Up to this many ids, each is deleted by itself. */
const FEW_IDS = 100;

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../model/types.js").Place} Place */

/**
 * Passes over places whose ids are in use as custom ids.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority
 */
export async function skipCustomIds(tx, state, priority) {
  const id = new Uint8Array(ID_BYTES);
  for (;;) {
    writeId(viewOf(id), 0, state.idBase, priority, state.lanes[priority].next);
    if ((await result(tx.store("ids").getKey([state.number, id]))) === undefined) return;
    state.skip(priority);
  }
}

/**
 * Deletes what is kept about a message that has died.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place @param {Uint8Array<ArrayBuffer>} id
 * @param {number} delivery its delivery state
 */
export function deleteRowsOf(tx, state, { priority, sequence }, id, delivery) {
  if (hasCustomId(delivery)) tx.store("ids").delete([state.number, id]);
  if (hasError(delivery)) forgetErrors(tx, state, priority, sequence, sequence + 1);
}

/**
 * Keeps the error that a nack gave.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place @param {string} error
 */
export function keepError(tx, state, { priority, sequence }, error) {
  tx.put("errors", error, [state.number, priority, sequence], bytesOfText(error));
}

/**
 * Deletes the errors that nacks gave for messages of a lane.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {number} from
 * @param {number} to exclusive
 */
export function forgetErrors(tx, { number }, priority, from, to) {
  if (from >= to) return;
  tx.store("errors").delete(IDBKeyRange.bound([number, priority, from], [number, priority, to], false, true));
}

/**
 * Deletes the ids of all messages that are gone and are not dead letters.
 * @param {WriteTransaction} tx @param {MailboxState} state
 * @param {Set<number>} [deadLetters] the numbers of the existing ones, if they matter
 */
export async function forgetDeadIds(tx, state, deadLetters) {
  const ids = tx.store("ids");
  if (state.customIds + state.deadLetters === 0) {
    ids.delete(keysOf(state));
    return;
  }
  const [keys, values] = await Promise.all([result(ids.getAllKeys(keysOf(state))), result(ids.getAll(keysOf(state)))]);
  const rows = values.map((value, i) => ({ key: keys[i], value, place: placeIn(value) }));
  for (const { place } of rows) {
    if (place !== undefined) await tx.openBetween(state, place.priority, place.sequence, place.sequence + 1);
  }
  const isDead = (/** @type {{place: Place | undefined}} */ { place }) =>
    place === undefined ||
    (place.priority === DEAD ? deadLetters?.has(place.sequence) === false : state.deliveryOf(place) === undefined);
  const dead = rows.filter(isDead);
  if (dead.length > FEW_IDS && dead.length > rows.length / 2) {
    // what stays is put back, which is less work than deleting the others one by one
    tx.moves();
    ids.delete(keysOf(state));
    for (const { key, value } of rows.filter((row) => !isDead(row))) tx.put("ids", value, key, 0);
  } else {
    for (const { key } of dead) ids.delete(key);
  }
}

/** The most bytes that a text takes in the database. @param {string} text */
export const bytesOfText = (text) => 2 * text.length;
