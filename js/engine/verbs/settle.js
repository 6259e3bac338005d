/**
 * Settling: what a transaction does to acknowledge messages, to give them back (as failed, or as never handed out), and
 * to purge the queue.
 */

import { runsOf } from "../../model/claims.js";
import { failures, hasCustomId } from "../../model/delivery.js";
import { INFLIGHT, timeIn } from "../../model/frames.js";
import { failedReason } from "../../model/reasons.js";
import { deleteRowsOf, forgetDeadIds, forgetErrors, keepError } from "../message-rows.js";
import { Unreadable } from "../read-transaction.js";
import { deleteDead, deleteDeadAmong, deleteDeadAtHand, deleteSegments, flush } from "../stored-segments.js";
import { ValueUnavailable } from "../unavailable-values.js";
import { buryIfPossible } from "./dead-letters.js";

/** @typedef {import("../write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../../model/types.js").Place} Place */
/** @typedef {Uint8Array<ArrayBuffer>} Id */

/**
 * Deletes messages, wherever they are.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Id[]} ids
 * @returns {Promise<number>} how many there were
 */
export async function ack(tx, state, ids) {
  const places = await Promise.all(ids.map((id) => tx.find(state, id)));
  /** @type {Map<number, number[]>} */
  const dead = new Map();
  let acked = 0;
  places.forEach((place, i) => {
    if (place === undefined || !ackOne(tx, state, place, ids[i])) return;
    noteDead(dead, place);
    acked += 1;
  });
  for (const [priority, sequences] of dead) {
    let seenTo = 0;
    for (const [from, to] of runsOf(sequences)) {
      // messages that share a segment with earlier ones were looked at with those
      if (to > seenTo) seenTo = await deleteDead(tx, state, priority, Math.max(from, seenTo), to);
    }
  }
  return acked;
}

/**
 * Deletes those of the messages that a holder has.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {string} holder @param {Id[]} ids
 */
export async function ackHeld(tx, state, holder, ids) {
  const places = await Promise.all(ids.map((id) => tx.find(state, id)));
  const held = places.map((place) => place !== undefined && state.isHeldBy(holder, place));
  return ack(
    tx,
    state,
    ids.filter((_, i) => held[i]),
  );
}

/**
 * Deletes messages, whoever has them, but no newer message that was given the id of one.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Id[]} ids
 * @param {number[]} created when each was made, milliseconds since 1970
 */
export async function ackLate(tx, state, ids, created) {
  /** @type {Id[]} */
  const same = [];
  for (const [i, id] of ids.entries()) if (await isStill(tx, state, id, created[i])) same.push(id);
  return ack(tx, state, same);
}

/**
 * Whether the message with an id is the one made at that time; one that cannot be read is not.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Id} id @param {number} created
 */
async function isStill(tx, state, id, created) {
  const place = await tx.find(state, id);
  const delivery = place && state.deliveryOf(place);
  if (place === undefined || delivery === undefined) return false;
  // a generated id is never used again
  if (!hasCustomId(delivery)) return true;
  flush(tx);
  const { priority, sequence } = place;
  try {
    const [{ bytes, frame }] = await tx.entries(
      state,
      [{ priority, from: sequence, to: sequence + 1, delivery }],
      INFLIGHT,
    );
    return timeIn(bytes, frame) === created;
  } catch (error) {
    if (error instanceof Unreadable || error instanceof ValueUnavailable) return false;
    throw error;
  }
}

/**
 * As `ack`, if nothing has to be read for it and at least one exists; undefined otherwise.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Id[]} ids
 * @param {string} [holder] only what it holds
 * @returns {number | undefined} how many there were
 */
export function ackAtHand(tx, state, ids, holder) {
  /** @type {{place: Place, id: Id}[]} */
  const living = [];
  for (const id of ids) {
    const place = state.ownPlaceOf(id);
    const segment = place && tx.segmentAtHand(state, place.priority, place.sequence);
    if (
      place !== undefined &&
      segment !== undefined &&
      state.pages.lacking(place.priority, segment.first, segment.last + 1).length === 0
    ) {
      if (state.livesByOwnId(place)) {
        if (holder === undefined || state.isHeldBy(holder, place)) living.push({ place, id });
        continue;
      }
    } else if (place !== undefined) {
      return undefined;
    }
    if (state.customIds + state.deadLetters > 0) return undefined;
  }
  if (living.length === 0) return undefined;
  /** @type {Map<number, number[]>} */
  const dead = new Map();
  let acked = 0;
  for (const { place, id } of living) {
    if (!ackOne(tx, state, place, id)) continue;
    noteDead(dead, place);
    acked += 1;
  }
  for (const [priority, sequences] of dead) {
    let seenTo = 0;
    for (const [from, to] of runsOf(sequences)) {
      if (to > seenTo) seenTo = deleteDeadAtHand(tx, state, priority, Math.max(from, seenTo), to);
    }
  }
  return acked;
}

/** @param {Map<number, number[]>} dead numbers by priority @param {Place} place */
function noteDead(dead, { priority, sequence }) {
  const lane = dead.get(priority);
  if (lane === undefined) dead.set(priority, [sequence]);
  else lane.push(sequence);
}

/**
 * Removes a message, wherever it is, with everything but its bytes, see `deleteDead`. Its page must be open.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place @param {Id} id
 * @returns {boolean} false if there is no such message
 */
function ackOne(tx, state, place, id) {
  const delivery = state.ack(place);
  if (delivery === undefined) return false;
  deleteRowsOf(tx, state, place, id, delivery);
  return true;
}

/**
 * Gives back a message that a holder has. As failed, it becomes a dead letter after too many failures, if that is
 * possible now; as not failed, its hand-out is undone.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {string} holder @param {number} maxDeliveries
 * @param {Id} id
 * @param {number} due 0 for at once @param {string | undefined} error @param {boolean} failed
 * @returns {Promise<boolean | string>} false if it is not the holder's; the reason if it is a dead letter
 */
export async function nack(tx, state, holder, maxDeliveries, id, due, error, failed) {
  const place = await tx.find(state, id);
  const delivery = place && state.nack(holder, place, failed, error !== undefined);
  if (place === undefined || delivery === undefined) return false;
  if (error !== undefined) keepError(tx, state, place, error);
  if (failed && maxDeliveries > 0 && failures(delivery) >= maxDeliveries) {
    const reason = failedReason(failures(delivery), maxDeliveries);
    if (await buryIfPossible(tx, state, place, delivery, reason)) return reason;
  }
  if (due > Date.now()) state.delay(place, due);
  return true;
}

/**
 * Gives back messages that a holder has, and undoes their hand-outs.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {string} holder @param {Id[]} ids
 * @returns {Promise<number>} how many it held
 */
export async function release(tx, state, holder, ids) {
  let released = 0;
  for (const id of ids) {
    const place = await tx.find(state, id);
    if (place !== undefined && state.release(holder, place) !== undefined) released += 1;
  }
  return released;
}

/**
 * Deletes all queued messages, page by page.
 * @param {WriteTransaction} tx @param {MailboxState} state
 * @returns {Promise<number>} how many there were
 */
export async function purge(tx, state) {
  const { customIds } = state;
  const { count, withErrors, kept } = await tx.run(state, state.purge());
  if (count === 0) return 0;
  flush(tx);
  for (const priority of state.lanes.keys()) {
    const { next } = state.lanes[priority];
    let [from, segmentsFrom] = [0, 0];
    for (const staying of [...kept.filter((numbers) => numbers.priority === priority), { from: next, to: next }]) {
      deleteSegments(tx, state, priority, segmentsFrom, staying.from);
      forgetErrors(tx, state, priority, from, staying.from);
      if (staying.from < staying.to) segmentsFrom = await deleteDeadAmong(tx, state, priority, staying);
      from = staying.to;
    }
  }
  for (const { priority, from, to } of withErrors) forgetErrors(tx, state, priority, from, to);
  if (state.customIds < customIds) await forgetDeadIds(tx, state);
  return count;
}
