/** Claiming: what a transaction does to hand out the next batch. */

import { INFLIGHT, packBatch } from "../../model/frames.js";
import { countOf, firstToClaim } from "../../model/queries.js";
import { Unreadable } from "../read-transaction.js";
import { salvage } from "../salvage.js";
import { flush } from "../stored-segments.js";
import { ValueUnavailable, tellOfUnavailable } from "../unavailable-values.js";

/** Bytes of payload that one claim hands out at most, unless it hands out a single message. */
const LARGEST_BATCH = 64 * 1024 * 1024;

/** @typedef {import("../write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../../model/types.js").HolderTerms} HolderTerms */
/** @typedef {import("../../model/types.js").LaneRun} LaneRun */
/** @typedef {import("../../model/types.js").Place} Place */
/** @typedef {import("../../model/passed-over.js").PassedOver} PassedOver */

/**
 * Hands out the next batch. What cannot be read at present is passed over, and stays as it is.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {string} holder @param {HolderTerms} terms @param {number} limit
 * @returns {Promise<{batch: Uint8Array, changed: boolean}>}
 */
export async function claim(tx, state, holder, terms, limit) {
  let changed = false;
  flush(tx);
  const passedOver = tx.unavailable.messagesOf(state.number);
  for (;;) {
    const { taken: claimed, changed: moved } = await tx.run(state, state.claim(holder, terms, limit, Date.now(), passedOver));
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

/** @param {WriteTransaction} tx @param {MailboxState} state @param {Place} place @param {PassedOver} passedOver @returns {Promise<boolean>} whether it was salvaged */
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
 * As `claim`, where nothing has to be read for it and there is something to hand out; undefined if that is not so.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {string} holder @param {HolderTerms} terms @param {number} limit
 * @returns {Uint8Array | undefined} a batch
 */
export function claimAtHand(tx, state, holder, terms, limit) {
  const now = Date.now();
  if (!countAtHand(tx, state, limit, now)) return undefined;
  const claimed = state.claim(holder, terms, limit, now, tx.unavailable.messagesOf(state.number)).next();
  if (!claimed.done) throw new Error("a page of the mailbox is not in memory");
  const { taken } = claimed.value;
  const entries = /** @type {import("../../model/types.js").Entry[]} */ (tx.entriesAtHand(state, taken, INFLIGHT, LARGEST_BATCH));
  const places = placesIn(taken);
  if (entries.length === 1) state.markSolo(holder, places[0]);
  tx.handedOut.push({ from: state, holder, places });
  return packBatch(entries);
}

/**
 * How many messages could be claimed without reading any; undefined if some would have to be read.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} limit @param {number} [now] milliseconds since 1970
 */
export function countAtHand(tx, state, limit, now = Date.now()) {
  const first = firstToClaim(state.pages, limit, now, tx.unavailable.messagesOf(state.number)).next();
  if (!first.done) return undefined;
  const count = countOf(first.value.taken);
  return tx.entriesAtHand(state, first.value.taken, INFLIGHT, LARGEST_BATCH)?.length === count ? count : undefined;
}

/** @param {LaneRun[]} runs @returns {Place[]} */
const placesIn = (runs) =>
  runs.flatMap(({ priority, from, to }) => Array.from({ length: to - from }, (_, i) => ({ priority, sequence: from + i })));
