/**
 * For transactions whose outcome is in doubt or that completed only in part: whether they were committed, and how to
 * undo them.
 */

import { result } from "../storage/requests.js";
import { lastVersion } from "../storage/stored-state.js";
import { idIn } from "../model/frames.js";
import { recountDeadLetters } from "./dead-letter-rows.js";
import { deleteRowsOf } from "./message-rows.js";
import { forget } from "./remembered-ids.js";
import { deleteDead, putSegment } from "./stored-segments.js";

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("./read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../model/segments.js").Segment} Segment */

/**
 * Whether what a transaction wrote is there; undefined if it may have been overwritten.
 * @param {ReadTransaction} reading after it @param {WriteTransaction} done
 */
export async function wasCommitted(reading, done) {
  const [mailbox] = done.changedMailboxes;
  if (mailbox === undefined) {
    // deleted is deleted, whoever did it
    return (
      done.deletedMailbox !== undefined &&
      (await result(reading.store("mailboxes").getKey(done.deletedMailbox))) === undefined
    );
  }
  const { number, version } = /** @type {MailboxState} */ (done.states.get(mailbox));
  const journal = reading.store("journal");
  const [stored, last] = await Promise.all([result(journal.get([number, version])), lastVersion(journal, number)]);
  if (stored !== undefined) {
    if (stored?.commitId !== done.commitId) return false;
    return done.soleHead !== undefined && last?.version !== version ? undefined : true;
  }
  return last === undefined || last.version < version ? false : undefined;
}

/**
 * Deletes the head that another transaction wrote and that is not the last version, so means nothing.
 * @param {WriteTransaction} tx @param {WriteTransaction} fenced
 */
export async function deleteFencedHead(tx, { soleHead, commitId }) {
  if (soleHead === undefined) return;
  const { key } = soleHead;
  const journal = tx.store("journal");
  const [stored, last] = await Promise.all([result(journal.get(key)), lastVersion(journal, key[0])]);
  if (stored?.commitId === commitId && last !== undefined && last.version > key[1]) journal.delete(key);
}

/**
 * Undoes a transaction that completed although one of its requests failed: removes what it enqueued and takes back what
 * it handed out. A mailbox that somebody else has written to since is left as it is: what is incomplete there becomes a
 * dead letter when it is read.
 * @param {WriteTransaction} tx @param {WriteTransaction} broken
 */
export async function undo(tx, broken) {
  for (const mailbox of broken.changedMailboxes) {
    const then = broken.states.get(mailbox);
    const { number = then?.number } = (await result(tx.store("mailboxes").get(mailbox))) ?? {};
    const { commitId = 0 } = /** @type {any} */ ((await lastVersion(tx.store("journal"), number ?? 0))?.stored) ?? {};
    const wasWritten = commitId === broken.commitId;
    const isLast = wasWritten || commitId === broken.commitIdsBefore.get(mailbox);
    if (then === undefined || !isLast || then.number !== number) continue;
    // any of these may have failed, and without them no state is known
    for (const { key, bytes, before } of broken.stateRows?.get(mailbox) ?? []) {
      const intact = wasWritten ? bytes : before;
      if (intact !== undefined) tx.store("pages").put(intact, [number, ...key]);
    }
    const state = await tx.state(mailbox);
    if (then.number !== state.number) continue;
    // what was beside the head is now in the store, or beside the head as before
    for (const [number, priority, segment] of broken.written) {
      if (number !== state.number) continue;
      if (wasWritten) putSegment(tx, state, priority, segment);
      else tx.store("segments").delete([number, priority, segment.last, segment.first]);
    }
    for (const { from, holder, places } of broken.handedOut) {
      if (from !== then) continue;
      tx.announce(mailbox, undefined, [], places.length);
      for (const place of places) {
        await tx.openBetween(state, place.priority, place.sequence, place.sequence + 1);
        state.release(holder, place);
      }
    }
    for (const [number, priority, segment] of broken.appended) {
      if (number === state.number) await removeSegment(tx, state, priority, segment);
    }
    await recountDeadLetters(tx, state);
    tx.changed(mailbox);
  }
}

/**
 * Removes a segment and all its messages, as far as they exist.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {Segment} segment
 */
async function removeSegment(tx, state, priority, segment) {
  await tx.openBetween(state, priority, segment.first, segment.last + 1);
  for (let sequence = segment.first; sequence <= segment.last; sequence++) {
    const frame = segment.frameOf(sequence);
    const id = idIn(segment.bytes, frame);
    const delivery = state.ack({ priority, sequence });
    if (delivery !== undefined) deleteRowsOf(tx, state, { priority, sequence }, id, delivery);
    if (frame.hasCustomId) tx.store("ids").delete([state.number, id]);
    if (frame.until > 0) await forget(tx, state, { id, until: frame.until });
  }
  await deleteDead(tx, state, priority, segment.first, segment.last + 1);
}
