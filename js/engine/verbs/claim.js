/** Claiming: what a transaction does to hand out the next batch. */

import { INFLIGHT, NO_BATCH, packBatch } from "../../model/frames.js";
import { LARGEST_BATCH } from "../../model/limits.js";
import { countOf, firstToClaim } from "../../model/queries.js";
import { Unreadable } from "../read-transaction.js";
import { salvage } from "../salvage.js";
import { flush } from "../stored-segments.js";
import { ValueUnavailable, tellOfUnavailable } from "../unavailable-values.js";

/** @typedef {import("../write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../../model/types.js").HolderTerms} HolderTerms */
/** @typedef {import("../../model/types.js").LaneRun} LaneRun */
/** @typedef {import("../../model/types.js").Place} Place */
/** @typedef {import("../../model/passed-over.js").PassedOver} PassedOver */

/**
 * Hands out the next batch. What cannot be read at present is passed over, and stays as it is.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {string} holder @param {HolderTerms} terms
 * @param {number} limit
 * @returns {Promise<{batch: Uint8Array, changed: boolean}>}
 */
export async function claim(tx, state, holder, terms, limit) {
  let changed = false;
  flush(tx);
  const passedOver = tx.unavailable.messagesOf(state.number);
  for (;;) {
    const { taken: claimed, changed: moved } = await tx.run(
      state,
      state.claim(holder, terms, limit, Date.now(), passedOver),
    );
    changed ||= moved;
    const places = placesIn(claimed);
    const before = passedOver.count;
    try {
      const entries = await tx.entries(state, claimed, INFLIGHT, LARGEST_BATCH, passedOver);
      if (passedOver.count === before) {
        for (const place of places.slice(entries.length)) state.release(holder, place);
        if (entries.length === 1) state.markSolo(holder, places[0]);
        tx.handedOut.push({ from: state, holder, places: places.slice(0, entries.length) });
        await tellOfUnavailable(tx, state, "segments");
        return { batch: packBatch(entries), changed: changed || entries.length > 0 };
      }
      for (const place of places) state.release(holder, place);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      for (const place of places) state.release(holder, place);
      changed = (await salvageOrPassOver(tx, state, error.place, passedOver)) || changed;
    }
  }
}

/**
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place @param {PassedOver} passedOver
 * @returns {Promise<boolean>} whether it was salvaged
 */
async function salvageOrPassOver(tx, state, place, passedOver) {
  try {
    await salvage(tx, state, place);
    return true;
  } catch (error) {
    if (!(error instanceof ValueUnavailable)) throw error;
    passedOver.add(place.priority, place.sequence, place.sequence + 1);
    return false;
  }
}

/**
 * What a claim will hand out, all of it at hand.
 * @typedef {{taken: LaneRun[], entries: import("../../model/types.js").Entry[]}} FoundAtHand
 */

/**
 * What `claim` would hand out, if nothing has to be read for it; undefined otherwise. Hands out nothing yet.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} limit @returns {FoundAtHand | undefined}
 */
export function findAtHand(tx, state, limit) {
  const passedOver = tx.unavailable.isEmpty ? undefined : tx.unavailable.messagesOf(state.number);
  const first = firstToClaim(state.pages, limit, Date.now(), passedOver).next();
  if (!first.done) return undefined;
  const { taken } = first.value;
  const entries = tx.entriesAtHand(state, taken, INFLIGHT, LARGEST_BATCH);
  return entries?.length === countOf(taken) ? { taken, entries } : undefined;
}

/**
 * Hands out what was found at hand, if there is anything.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {string} holder @param {HolderTerms} terms
 * @param {FoundAtHand} found
 * @returns {Uint8Array} a batch
 */
export function claimAtHand(tx, state, holder, terms, { taken, entries }) {
  if (entries.length === 0) return NO_BATCH;
  state.handOut(holder, terms, taken);
  tx.handedOut.push({ from: state, holder, places: placesIn(taken) });
  return packBatch(entries);
}

/** @param {LaneRun[]} runs */
function placesIn(runs) {
  /** @type {Place[]} */
  const places = [];
  for (const { priority, from, to } of runs)
    for (let sequence = from; sequence < to; sequence++) places.push({ priority, sequence });
  return places;
}
