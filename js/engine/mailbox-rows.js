/** A mailbox as rows of the database: the number that a new one gets, and all that goes with one that is deleted. */

import { ROWS_BY_MAILBOX, STORES_BY_MAILBOX } from "../storage/database.js";
import { result } from "../storage/requests.js";
import { forgetNumber, keysOf, lastVersion } from "../storage/stored-state.js";
import { isCount } from "../model/bytes.js";
import { MailboxError } from "../model/errors.js";

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */

/** The number of the next mailbox that is made. @param {WriteTransaction} tx @returns {Promise<number>} */
export async function readNextNumber(tx) {
  const next = await result(tx.store("meta").get("nextMailbox"));
  if (isCount(next) && next > 0 && (await lastVersion(tx.store("journal"), next)) === undefined) return next;
  // this is the first, or something else changed the record: then the numbers that are in use tell
  const states = await result(tx.store("mailboxes").getAll());
  const used = states.flatMap((state) => (isCount(state?.number) ? [state.number] : []));
  for (const store of STORES_BY_MAILBOX) {
    const last = await result(tx.store(store).openKeyCursor(IDBKeyRange.bound([0], [Infinity, []]), "prev"));
    if (last !== null) used.push(Math.ceil(/** @type {number[]} */ (last.key)[0]));
  }
  return Math.max(0, ...used) + 1;
}

/**
 * Deletes a mailbox with all that is in it.
 * @param {WriteTransaction} tx @param {string} mailbox @throws {import("./write-lease.js").FencedError}
 */
export async function deleteMailbox(tx, mailbox) {
  tx.deletedMailbox = mailbox;
  /** @type {MailboxState} */
  let state;
  try {
    state = await tx.state(mailbox);
  } catch (error) {
    if (!(error instanceof MailboxError) || error.name !== "StorageCorruptError") throw error;
    await deleteUnreadable(tx, mailbox);
    return;
  }
  // no write follows that would fail where another context has written since
  await tx.checkStillLatest(mailbox);
  tx.segmentWriters?.delete(state);
  tx.states.delete(mailbox);
  tx.changedMailboxes.delete(mailbox);
  await tx.writeLeases.delete((name) => tx.store(name), mailbox, state);
  for (const store of ROWS_BY_MAILBOX) tx.store(store).delete(keysOf(state));
  tx.afterCommit.push(() => forgetNumber(mailbox));
}

/** Deletes a mailbox whose state cannot be read. @param {WriteTransaction} tx @param {string} mailbox */
async function deleteUnreadable(tx, mailbox) {
  // which rows are its own cannot be told; but who may write it without reading it is not to go on
  const row = await result(tx.store("mailboxes").get(mailbox));
  if (isCount(row?.number)) await tx.writeLeases.sealUnreadable((name) => tx.store(name), mailbox, row.number);
  tx.store("mailboxes").delete(mailbox);
}
