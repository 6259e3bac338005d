/** A mailbox as rows of the database: the number of a new one, and everything that is deleted with one. */

import { ROWS_BY_MAILBOX, STORES_BY_MAILBOX } from "../storage/database.js";
import { result } from "../storage/requests.js";
import { forgetNumber, keysOf, lastVersion } from "../storage/stored-state.js";
import { isCount } from "../model/bytes.js";
import { MailboxError } from "../model/errors.js";

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */

/** The number for the next new mailbox. @param {WriteTransaction} tx @returns {Promise<number>} */
export async function readNextNumber(tx) {
  const next = await result(tx.store("meta").get("nextMailbox"));
  if (isCount(next) && next > 0 && (await lastVersion(tx.store("journal"), next)) === undefined) return next;
  // this is the first mailbox, or something else changed the record: then the numbers in use show it
  const states = await result(tx.store("mailboxes").getAll());
  const used = states.flatMap((state) => (isCount(state?.number) ? [state.number] : []));
  for (const store of STORES_BY_MAILBOX) {
    const last = await result(tx.store(store).openKeyCursor(IDBKeyRange.bound([0], [Infinity, []]), "prev"));
    if (last !== null) used.push(Math.ceil(/** @type {number[]} */ (last.key)[0]));
  }
  return Math.max(0, ...used) + 1;
}

/**
 * Deletes a mailbox with everything in it.
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
  // no write follows that would fail if another context has written since
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
  // nothing shows which rows are its own; but nobody may go on writing it without reading it
  const row = await result(tx.store("mailboxes").get(mailbox));
  if (isCount(row?.number)) await tx.writeLeases.sealUnreadable((name) => tx.store(name), mailbox, row.number);
  tx.store("mailboxes").delete(mailbox);
}
