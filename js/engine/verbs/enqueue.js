/** Enqueueing: what a transaction does to put messages into a mailbox. */

import { framesIn, idIn, viewOf } from "../../model/frames.js";
import { ID_BYTES, keyOf, writeId } from "../../model/ids.js";
import { LATEST } from "../../model/limits.js";
import { skipCustomIds } from "../message-rows.js";
import { remember, rememberedUntil } from "../remembered-ids.js";
import { segmentWritersOf } from "../stored-segments.js";

/** @typedef {import("../write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../../model/types.js").Frame} Frame */

/**
 * Enqueues the messages whose ids are new: neither in the mailbox nor remembered.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} frames
 * @param {Uint8Array} [sentOn] the id of a message of this mailbox that was just acknowledged in order to be sent on;
 * that it is remembered does not matter
 * @returns {Promise<{ids: Uint8Array, enqueued: number}>}
 */
export async function enqueue(tx, state, frames, sentOn) {
  const incoming = framesIn(frames);
  const known = await customIdsAlreadyThere(tx, state, frames, incoming);
  if (state.remembered > 0) await addRemembered(tx, state, frames, incoming, known, sentOn);
  if (state.mayCollide || incoming.some(({ hasCustomId, due }) => hasCustomId || due > 0))
    await openToEnqueue(tx, state);
  const ids = new Uint8Array(incoming.length * ID_BYTES);
  const view = viewOf(ids);
  let enqueued = 0;
  /** @type {import("../remembered-ids.js").Known[]} */
  const remembered = [];
  for (const [i, frame] of incoming.entries()) {
    if (frame.hasCustomId) {
      const id = idIn(frames, frame);
      ids.set(id, i * ID_BYTES);
      // the second lookup finds what this same call has stored under an id that it generated
      if (known.has(keyOf(id)) || state.livingPlaceOf(id) !== undefined) continue;
      known.add(keyOf(id));
      state.noteCustomId(id);
      if (frame.until > Date.now()) remembered.push({ id, until: Math.min(frame.until, LATEST) });
      if (state.mayCollide) await openToEnqueue(tx, state);
    } else if (state.mayCollide) {
      await skipCustomIds(tx, state, frame.priority);
    }
    const sequence = enqueueFrame(tx, state, frames, frame);
    if (!frame.hasCustomId) writeId(view, i * ID_BYTES, state.idBase, frame.priority, sequence);
    enqueued += 1;
  }
  if (remembered.length > 0) await remember(tx, state, remembered);
  return { ids, enqueued };
}

/**
 * Adds those custom ids that are remembered, whether or not their messages still exist.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} bytes @param {Frame[]} frames in `bytes`
 * @param {Set<string>} known @param {Uint8Array} [sentOn] an id to pass over
 */
async function addRemembered(tx, state, bytes, frames, known, sentOn) {
  const given = frames.filter(({ hasCustomId }) => hasCustomId).map((frame) => idIn(bytes, frame));
  const untils = await rememberedUntil(tx, state, given);
  const now = Date.now();
  const passedOver = sentOn && keyOf(sentOn);
  for (const [i, id] of given.entries()) {
    if ((untils[i] ?? 0) > now && keyOf(id) !== passedOver) known.add(keyOf(id));
  }
}

/**
 * As `enqueue`, if nothing has to be read for it; undefined otherwise.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} frames
 * @returns {{ids: Uint8Array, enqueued: number} | undefined}
 */
export function enqueueAtHand(tx, state, frames) {
  if (state.mayCollide) return undefined;
  const incoming = framesIn(frames);
  if (incoming.length === 0) return undefined;
  for (const { hasCustomId, due } of incoming) if (hasCustomId || due > 0) return undefined;
  const ids = new Uint8Array(incoming.length * ID_BYTES);
  const view = viewOf(ids);
  for (let i = 0; i < incoming.length; i++) {
    const sequence = enqueueFrame(tx, state, frames, incoming[i]);
    writeId(view, i * ID_BYTES, state.idBase, incoming[i].priority, sequence);
  }
  return { ids, enqueued: incoming.length };
}

/**
 * To be called before enqueueing messages that are not fresh, see `model/state.js`.
 * @param {WriteTransaction} tx @param {MailboxState} state
 */
export async function openToEnqueue(tx, state) {
  const lacking = state.pages.lackingToEnqueue();
  if (lacking.length > 0) await tx.open(state, lacking);
}

/**
 * Enqueues one message.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} bytes @param {Frame} frame in `bytes`
 * @param {number} [past] its delivery state; if omitted, it was never handed out
 * @returns {number} its sequence number
 */
export function enqueueFrame(tx, state, bytes, frame, past) {
  const { priority, due } = frame;
  const sequence = state.enqueue(priority, frame.hasCustomId, due > Date.now() ? due : 0, past);
  if (frame.hasCustomId) tx.store("ids").put([priority, sequence], [state.number, idIn(bytes, frame)]);
  segmentWritersOf(tx, state)[priority].append(sequence, bytes.subarray(frame.offset, frame.end));
  return sequence;
}

/**
 * Which of the custom ids are in the mailbox; all are looked up at once.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} bytes @param {Frame[]} frames in `bytes`
 */
export async function customIdsAlreadyThere(tx, state, bytes, frames) {
  const given = frames.filter(({ hasCustomId }) => hasCustomId).map((frame) => idIn(bytes, frame));
  const places = await Promise.all(given.map((id) => tx.find(state, id)));
  return new Set(given.filter((_, i) => places[i] !== undefined).map(keyOf));
}
