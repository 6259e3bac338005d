/** The rows of dead letters: adds, counts and deletes them, whatever they came from. */

import { result } from "../storage/requests.js";
import { keysOf } from "../storage/stored-state.js";
import { DEAD, numberOfDeadLetter } from "../storage/rows.js";
import { bytesOfText, forgetDeadIds } from "./message-rows.js";

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../model/types.js").StoredDeadLetter & {id: Uint8Array<ArrayBuffer>}} DeadLetter */

/**
 * Adds a dead letter as the newest.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {DeadLetter} letter
 */
export function addDeadLetter(tx, state, letter) {
  putDeadLetter(tx, state, state.addDeadLetter(), letter);
}

/** @param {WriteTransaction} tx @param {MailboxState} state @param {number} number @param {DeadLetter} letter */
export function putDeadLetter(tx, state, number, letter) {
  tx.moves();
  const bytes = letter.frame.length + bytesOfText(letter.reason) + bytesOfText(letter.error ?? "");
  tx.put("dead", letter, [state.number, number], bytes);
  tx.store("ids").put([DEAD, number], [state.number, letter.id]);
}

/**
 * Deletes a dead letter.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} number @param {Uint8Array<ArrayBuffer>} id
 * @returns {Promise<boolean>} false if something else had
 */
export async function deleteDeadLetter(tx, state, number, id) {
  const dead = tx.store("dead");
  if ((await result(dead.getKey([state.number, number]))) === undefined) {
    await recountDeadLetters(tx, state);
    return false;
  }
  state.deadLetters -= 1;
  dead.delete([state.number, number]);
  tx.store("ids").delete([state.number, id]);
  return true;
}

/**
 * Corrects the count of dead letters, and forgets the ids of those that something else deleted.
 * @param {WriteTransaction} tx @param {MailboxState} state
 */
export async function recountDeadLetters(tx, state) {
  const keys = await result(tx.store("dead").getAllKeys(keysOf(state)));
  const numbers = keys.flatMap((key) => numberOfDeadLetter(key) ?? []);
  state.deadLetters = numbers.length;
  state.nextDeadLetter = Math.max(state.nextDeadLetter, (numbers.at(-1) ?? -1) + 1);
  await forgetDeadIds(tx, state, new Set(numbers));
}
