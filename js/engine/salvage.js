/**
 * Damaged rows: what something else deleted, or put in place of messages, pages or dead letters, becomes dead letters,
 * so that everything intact goes on and nothing is discarded unseen.
 */

import { result } from "../storage/requests.js";
import { DEAD, placeIn, salvagedDeadLetter } from "../storage/rows.js";
import { idIn, viewOf } from "../model/frames.js";
import { ID_BYTES, writeId } from "../model/ids.js";
import {
  STRAY_ROW,
  UNREADABLE_DEAD_LETTER,
  UNREADABLE_PAGE,
  deletedReason,
  unreadableReason,
} from "../model/reasons.js";
import { Segment } from "../model/segments.js";
import { addDeadLetter, putDeadLetter, recountDeadLetters } from "./dead-letter-rows.js";
import { forgetDeadIds, forgetErrors } from "./message-rows.js";
import { Unreadable } from "./read-transaction.js";
import { deleteSegment, flush, openedHasLiving, segmentKeysOf, segmentsOf, unload } from "./stored-segments.js";

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../model/types.js").Place} Place */

/**
 * Turns what cannot be read into a dead letter: the messages of a segment from a certain one on, whatever is where
 * their segment should be, or a damaged dead letter. What is intact stays as it is.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place
 * @throws {import("./unavailable-values.js").ValueUnavailable} nothing was deleted
 */
export async function salvage(tx, state, { priority, sequence }) {
  unload(tx, state);
  tx.cache.clear();
  if (priority === DEAD) return salvageDeadLetter(tx, state, sequence);
  // if it is the message's page, opening it deals with that
  await tx.openBetween(state, priority, sequence, sequence + 1);
  if (state.deliveryOf({ priority, sequence }) === undefined) return undefined;
  const { own, others } = await segmentKeysOf(tx, state, priority, sequence);
  const segments = tx.store("segments");
  if (others.length > 0) {
    // with these out of the way, the message may well be there
    for (const key of others) {
      const [value] = await tx.values("segments", key);
      addSalvaged(tx, state, priority, value, STRAY_ROW);
      segments.delete(key);
    }
    return undefined;
  }
  const { next } = state.lanes[priority];
  if (own.key !== undefined) {
    const [value] = await tx.values("segments", own.key);
    const lost = await tx.run(state, state.removeBetween(priority, sequence, Math.min(own.last + 1, next)));
    forgetErrors(tx, state, priority, sequence, own.last + 1);
    addSalvaged(tx, state, priority, value, unreadableReason(lost));
    if (!(await openedHasLiving(tx, state, priority, own))) segments.delete(own.key);
  } else {
    // the numbers up to the next segment are gone too
    const to = Math.min(own.first, next);
    const lost = await tx.run(state, state.removeBetween(priority, sequence, to));
    forgetErrors(tx, state, priority, sequence, to);
    addSalvaged(tx, state, priority, undefined, deletedReason(lost));
  }
  return forgetDeadIds(tx, state);
}

/**
 * Turns what cannot be read into a dead letter. @param {WriteTransaction} tx @param {MailboxState} state @param
 * {number} priority @param {unknown} value
 * @param {string} reason
 */
function addSalvaged(tx, state, priority, value, reason) {
  addDeadLetter(tx, state, salvagedDeadLetter(priority, value, reason));
}

/**
 * Replaces a damaged dead letter by a readable one.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} number
 */
async function salvageDeadLetter(tx, state, number) {
  const key = [state.number, number];
  const dead = tx.store("dead");
  const isThere = (await result(dead.getKey(key))) !== undefined;
  const [value] = await tx.values("dead", key);
  dead.delete(key);
  await recountDeadLetters(tx, state);
  if (!isThere) return;
  state.deadLetters += 1;
  putDeadLetter(tx, state, number, salvagedDeadLetter(0, value, UNREADABLE_DEAD_LETTER));
}

/**
 * Pages of a state that should be there and cannot be read: their messages become dead letters, and the counts are
 * corrected.
 * @param {WriteTransaction} tx @param {MailboxState} state
 * @param {import("../model/page-directory.js").PageEntry[]} lost
 */
export async function salvagePages(tx, state, lost) {
  const mailbox = [...tx.states].find(([, known]) => known === state)?.[0];
  if (mailbox !== undefined) unload(tx, state);
  else throw new Unreadable({ priority: lost[0].priority, sequence: state.pages.numbersOf(lost[0]).from });
  // the state in memory may be old, and what it says about the pages too
  await tx.checkStillLatest(mailbox);
  // another call of this transaction may already be doing it
  const entries = lost.filter((entry) => state.pages.has(entry));
  if (entries.length === 0) return;
  for (const entry of entries) state.pages.remove(entry);
  await tx.open(state, state.pages.allLacking());
  state.pages.recount();
  tx.changed(mailbox);
  for (const entry of entries) await buryAllOf(tx, state, entry.priority, state.pages.numbersOf(entry));
}

/**
 * Turns the messages of a page that cannot be read into dead letters: all that are still there, since nothing shows
 * which of them were settled.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority
 * @param {{from: number, to: number}} numbers
 */
async function buryAllOf(tx, state, priority, { from, to }) {
  flush(tx);
  for (const { key, first, last } of await segmentsOf(tx, state, priority, from, to)) {
    if (key === undefined) continue;
    const [value] = await tx.values("segments", key);
    const segment = Segment.from(value);
    const living = await openedHasLiving(tx, state, priority, { first, last });
    if (segment === undefined && !living) {
      addSalvaged(tx, state, priority, value, unreadableReason(0));
    }
    for (
      let sequence = Math.max(from, first);
      segment !== undefined && sequence < to && sequence <= segment.last;
      sequence++
    ) {
      const frame = segment.frameOf(sequence);
      const id = new Uint8Array(ID_BYTES);
      if (frame.hasCustomId) id.set(idIn(segment.bytes, frame));
      else writeId(viewOf(id), 0, state.idBase, priority, sequence);
      const [place, error] = await Promise.all([
        result(tx.store("ids").get([state.number, id])).then(placeIn),
        result(tx.store("errors").get([state.number, priority, sequence])),
      ]);
      // a message with a custom id has it here only while it lives, any other only once it is gone
      const isHere = place?.priority === priority && place.sequence === sequence;
      if (frame.priority !== priority || (frame.hasCustomId ? !isHere : place !== undefined)) continue;
      addDeadLetter(tx, state, {
        id,
        frame: segment.bytes.slice(frame.offset, frame.end),
        deliveries: 0,
        reason: UNREADABLE_PAGE,
        error: typeof error === "string" ? error : undefined,
        diedAt: Date.now(),
      });
    }
    if (!living) deleteSegment(tx, state, priority, { key, first, last });
  }
  forgetErrors(tx, state, priority, from, to);
}
