/** What each verb does in a transaction. All of it becomes true together, or none. */

import { keysOf } from "./write-transaction.js";
import { result } from "../storage/database.js";
import { INFLIGHT, QUEUED, frameAt, framesIn, idIn, packBatch, viewOf } from "../model/frames.js";
import { ID_BYTES, writeId } from "../model/ids.js";
import { failures } from "../model/delivery.js";
import { PassedOver } from "../model/passed-over.js";
import { firstDelayed, firstInflight, firstQueued, firstToClaim } from "../model/queries.js";
import { Unreadable } from "./read-transaction.js";
import { DEAD, isLetter, numberOfLetter } from "../storage/rows.js";
import { ValueUnavailable, tellOfUnavailable, withId } from "./unavailable-values.js";

/** Bytes of payload that one claim hands out at most, unless it hands out a single message. */
const LARGEST_BATCH = 64 * 1024 * 1024;

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("./read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../model/types.js").HolderTerms} HolderTerms */
/** @typedef {Uint8Array<ArrayBuffer>} Id */

/**
 * Stores messages that are not there yet.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {Uint8Array} frames
 * @returns {Promise<{ids: Uint8Array, stored: number}>}
 */
export async function store(commit, state, frames) {
  const incoming = [...framesIn(frames)];
  const known = await givenIdsAlreadyThere(commit, state, frames, incoming);
  if (state.mayCollide || incoming.some(({ named, due }) => named || due > 0)) await commit.openToAppend(state);
  const ids = new Uint8Array(incoming.length * ID_BYTES);
  const view = viewOf(ids);
  let stored = 0;
  for (const [i, frame] of incoming.entries()) {
    if (frame.named) {
      const id = idIn(frames, frame);
      ids.set(id, i * ID_BYTES);
      // the second look finds what this very call has stored under an id that it generated
      if (known.has(keyOf(id)) || state.livingPlaceOf(id) !== undefined) continue;
      known.add(keyOf(id));
      state.noteCustomId(id);
      if (state.mayCollide) await commit.openToAppend(state);
    } else if (state.mayCollide) {
      await commit.skipGivenIds(state, frame.priority);
    }
    const sequence = commit.append(state, frames, frame);
    if (!frame.named) writeId(view, i * ID_BYTES, state.idBase, frame.priority, sequence);
    stored += 1;
  }
  return { ids, stored };
}

/**
 * As `store`, where nothing has to be read for it; undefined if that is not so.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {Uint8Array} frames
 * @returns {{ids: Uint8Array, stored: number} | undefined}
 */
export function storeAtHand(commit, state, frames) {
  if (state.mayCollide) return undefined;
  const incoming = [...framesIn(frames)];
  if (incoming.length === 0 || incoming.some(({ named, due }) => named || due > 0)) return undefined;
  const ids = new Uint8Array(incoming.length * ID_BYTES);
  const view = viewOf(ids);
  for (const [i, frame] of incoming.entries()) {
    writeId(view, i * ID_BYTES, state.idBase, frame.priority, commit.append(state, frames, frame));
  }
  return { ids, stored: incoming.length };
}

/**
 * Which of the ids that senders gave are in the mailbox; all are looked up at once.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {Uint8Array} bytes
 * @param {import("../model/types.js").Frame[]} frames in `bytes`
 */
export async function givenIdsAlreadyThere(commit, state, bytes, frames) {
  const given = frames.filter(({ named }) => named).map((frame) => idIn(bytes, frame));
  const places = await Promise.all(given.map((id) => commit.find(state, id)));
  return new Set(given.filter((_, i) => places[i] !== undefined).map(keyOf));
}

/** An id as a key of a Set. @param {Uint8Array} id */
export const keyOf = (id) => String.fromCharCode(...id);

/**
 * Hands out the next batch. What cannot be read at present is passed over, and stays as it is.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {string} holder @param {HolderTerms} terms @param {number} limit
 * @returns {Promise<{batch: Uint8Array, changed: boolean}>}
 */
export async function claim(commit, state, holder, terms, limit) {
  let changed = false;
  commit.flush();
  const passedOver = commit.unavailable.messagesOf(state.number);
  for (;;) {
    const { taken: claimed, changed: moved } = await commit.run(state, state.claim(holder, terms, limit, Date.now(), passedOver));
    changed ||= moved;
    const places = claimed.flatMap(({ priority, from, to }) =>
      Array.from({ length: to - from }, (_, i) => ({ priority, sequence: from + i })),
    );
    const before = passedOver.count;
    try {
      const entries = await commit.entries(state, claimed, INFLIGHT, LARGEST_BATCH, passedOver);
      if (passedOver.count === before) {
        for (const place of places.slice(entries.length)) state.release(holder, place);
        if (entries.length === 1) state.markSolo(holder, places[0]);
        commit.handedOut(state, holder, places.slice(0, entries.length));
        await tellOfUnavailable(commit, state, "segments");
        return { batch: packBatch(entries), changed: changed || entries.length > 0 };
      }
      for (const place of places) state.release(holder, place);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      for (const place of places) state.release(holder, place);
      changed = (await salvageOrPassOver(commit, state, error.place, passedOver)) || changed;
    }
  }
}

/** @param {WriteTransaction} commit @param {MailboxState} state @param {import("../model/types.js").Place} place @param {PassedOver} passedOver @returns {Promise<boolean>} whether it was salvaged */
async function salvageOrPassOver(commit, state, place, passedOver) {
  try {
    await commit.salvage(state, place);
    return true;
  } catch (error) {
    if (!(error instanceof ValueUnavailable)) throw error;
    passedOver.add(place.priority, place.sequence, place.sequence + 1);
    return false;
  }
}

/**
 * As `claim`, where nothing has to be read for it and there is something to hand out; undefined if that is not so.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {string} holder @param {HolderTerms} terms @param {number} limit
 * @returns {Uint8Array | undefined} a batch
 */
export function claimAtHand(commit, state, holder, terms, limit) {
  const now = Date.now();
  if (!countAtHand(commit, state, limit, now)) return undefined;
  const claimed = state.claim(holder, terms, limit, now, commit.unavailable.messagesOf(state.number)).next();
  if (!claimed.done) throw new Error("a page of the mailbox is not in memory");
  const { taken } = claimed.value;
  const entries = /** @type {import("../model/types.js").Entry[]} */ (commit.entriesAtHand(state, taken, INFLIGHT, LARGEST_BATCH));
  const places = taken.flatMap(({ priority, from, to }) => Array.from({ length: to - from }, (_, i) => ({ priority, sequence: from + i })));
  if (entries.length === 1) state.markSolo(holder, places[0]);
  commit.handedOut(state, holder, places);
  return packBatch(entries);
}

/**
 * How many messages could be claimed without reading any; undefined if some would have to be read.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {number} limit @param {number} [now] milliseconds since 1970
 */
export function countAtHand(commit, state, limit, now = Date.now()) {
  const first = firstToClaim(state.pages, limit, now, commit.unavailable.messagesOf(state.number)).next();
  if (!first.done) return undefined;
  const count = countOf(first.value.taken);
  return commit.entriesAtHand(state, first.value.taken, INFLIGHT, LARGEST_BATCH)?.length === count ? count : undefined;
}

/**
 * As `remove`, where nothing has to be read for it and one of them is there; undefined if that is not so.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {Id[]} ids @param {string} [holder] only what it holds
 * @returns {number | undefined} how many there were
 */
export function removeAtHand(commit, state, ids, holder) {
  /** @type {{place: import("../model/types.js").Place, id: Id}[]} */
  const living = [];
  for (const id of ids) {
    const place = state.ownPlaceOf(id);
    const segment = place && commit.segmentAtHand(state, place.priority, place.sequence);
    if (place !== undefined && segment !== undefined && state.pages.lacking(place.priority, segment.first, segment.last + 1).length === 0) {
      if (state.livingPlaceOf(id) !== undefined) {
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
  let removed = 0;
  for (const { place, id } of living) {
    if (!commit.remove(state, place, id)) continue;
    dead.set(place.priority, [...(dead.get(place.priority) ?? []), place.sequence]);
    removed += 1;
  }
  for (const [priority, sequences] of dead) {
    let seenTo = 0;
    for (const [from, to] of neighbours(sequences)) {
      if (to > seenTo) seenTo = commit.deleteDeadAtHand(state, priority, from, to);
    }
  }
  return removed;
}

/**
 * Deletes messages, wherever they are.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {Id[]} ids
 * @returns {Promise<number>} how many there were
 */
export async function remove(commit, state, ids) {
  const places = await Promise.all(ids.map((id) => commit.find(state, id)));
  /** @type {Map<number, number[]>} */
  const dead = new Map();
  let removed = 0;
  places.forEach((place, i) => {
    if (place === undefined || !commit.remove(state, place, ids[i])) return;
    const lane = dead.get(place.priority) ?? [];
    dead.set(place.priority, lane);
    lane.push(place.sequence);
    removed += 1;
  });
  for (const [priority, sequences] of dead) {
    let seenTo = 0;
    for (const [from, to] of neighbours(sequences)) {
      // what shares a segment with those before was looked at with them
      if (to > seenTo) seenTo = await commit.deleteDead(state, priority, from, to);
    }
  }
  return removed;
}

/** Deletes those of the messages that are a holder's. @param {WriteTransaction} commit @param {MailboxState} state @param {string} holder @param {Id[]} ids */
export async function removeHeld(commit, state, holder, ids) {
  const places = await Promise.all(ids.map((id) => commit.find(state, id)));
  const held = places.map((place) => place !== undefined && state.isHeldBy(holder, place));
  return remove(commit, state, ids.filter((_, i) => held[i]));
}

/** Gives messages of a holder's back, their hand-out undone. @param {WriteTransaction} commit @param {MailboxState} state @param {string} holder @param {Id[]} ids */
export async function release(commit, state, holder, ids) {
  let released = 0;
  for (const id of ids) {
    const place = await commit.find(state, id);
    if (place !== undefined && state.release(holder, place) !== undefined) released += 1;
  }
  return released;
}

/**
 * Gives a message of a holder's back as failed; after too many failures it becomes a dead letter, if it can be read.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {string} holder @param {number} maxDeliveries @param {Id} id
 * @param {number} due 0 for at once @param {string | undefined} error
 * @returns {Promise<boolean | string>} false if it is not the holder's; the reason if it is a dead letter
 */
export async function fail(commit, state, holder, maxDeliveries, id, due, error) {
  const place = await commit.find(state, id);
  const delivery = place && state.nack(holder, place);
  if (place === undefined || delivery === undefined) return false;
  if (error !== undefined) commit.keepError(state, place, error);
  if (maxDeliveries > 0 && failures(delivery) >= maxDeliveries) {
    const reason = failedReason(delivery, maxDeliveries);
    if (await buryIfReadable(commit, state, place, delivery, reason)) return reason;
  }
  if (due > Date.now()) state.delay(place, due);
  return true;
}

/** Moves a message of a holder's to the dead letters. @param {WriteTransaction} commit @param {MailboxState} state @param {string} holder @param {Id} id @param {string} reason @throws {ValueUnavailable} */
export async function bury(commit, state, holder, id, reason) {
  const place = await commit.find(state, id);
  if (place === undefined || !state.isHeldBy(holder, place)) return false;
  await withIdIn(id, buryOrSalvage(commit, state, place, state.deliveryOf(place) ?? 0, reason));
  return true;
}

/**
 * Puts a dead letter at the end of its priority, as new.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {Id} id
 * @returns {Promise<boolean | undefined>} undefined if there is none, false if it could not be read
 * @throws {ValueUnavailable}
 */
export async function redrive(commit, state, id) {
  const place = await commit.find(state, id);
  if (place?.priority !== DEAD) return undefined;
  try {
    await withIdIn(id, commit.redrive(state, place.sequence, id));
    return true;
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    await commit.salvage(state, error.place);
    return false;
  }
}

/**
 * Deletes a dead letter.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {Id} id
 * @returns {Promise<boolean | undefined>} undefined if there is none, false if something else had deleted it
 */
export async function discard(commit, state, id) {
  const place = await commit.find(state, id);
  if (place?.priority !== DEAD) return undefined;
  return commit.discard(state, place.sequence, id);
}

/**
 * Takes back what holders had who are gone, or who have left a note that they departed. A release takes the hand-outs
 * back; a death makes suspects, and of one that was alone a failure.
 * @param {WriteTransaction} commit @param {string} mailbox @param {MailboxState} state @param {import("../coordination/liveness.js").Gone} gone
 * @returns {Promise<number>} how many messages came back
 */
export async function recover(commit, mailbox, state, gone) {
  const notes = commit.store("departed");
  const [holders, mailboxes] = await Promise.all([result(notes.getAllKeys()), result(notes.getAll())]);
  let count = 0;
  for (const [i, holder] of holders.entries()) {
    const of = mailboxes[i];
    if (of === mailbox) count += countOf(await commit.run(state, state.releaseAll(/** @type {string} */ (holder))));
    // a note of a mailbox that is no more would stay for good
    if (of === mailbox || typeof of !== "string" || !(await commit.exists(of))) notes.delete(holder);
  }
  for (const [holder, beat] of gone) {
    const claims = state.claims.get(holder);
    // it gave a sign of life since
    if (claims === undefined || (beat !== undefined && claims.beat !== beat)) continue;
    const { maxDeliveries } = claims;
    for (const { priority, from, to, delivery, before } of await commit.run(state, state.recover(holder))) {
      count += to - from;
      if (maxDeliveries === 0 || failures(delivery) === failures(before) || failures(delivery) < maxDeliveries) continue;
      const reason = `its holder died; ${failedReason(delivery, maxDeliveries)}`;
      for (let sequence = from; sequence < to; sequence++) {
        await buryIfReadable(commit, state, { priority, sequence }, delivery, reason);
      }
    }
  }
  return count;
}

/**
 * Shows messages: queued ones in the order in which they would be handed out, then those not yet due, then inflight ones. What
 * cannot be read at present is passed over.
 * @param {ReadTransaction} reading @param {MailboxState} state @param {number} limit @param {number | undefined} status
 * @param {number} offset how many are passed over; they are not read
 * @returns {Promise<Uint8Array>} a batch
 * @throws {Unreadable}
 */
export async function peek(reading, state, limit, status, offset) {
  const now = Date.now();
  const end = offset + limit;
  const passedOver = reading.unavailable.messagesOf(state.number);
  for (;;) {
    const before = passedOver.count;
    const shown = [];
    let queued = 0;
    if (status !== INFLIGHT) {
      const first = await reading.run(state, firstQueued(state.pages, end, now, passedOver));
      const later = await reading.run(state, firstDelayed(state.pages, end - countOf(first), now, passedOver));
      const runs = [...first, ...later];
      queued = countOf(runs);
      shown.push(...(await reading.entries(state, beyond(runs, offset), QUEUED, Infinity, passedOver)));
    }
    if (status !== QUEUED) {
      const inflight = await reading.run(state, firstInflight(state.pages, end - queued, passedOver));
      const runs = beyond(inflight, Math.max(0, offset - queued));
      shown.push(...(await reading.entries(state, runs, INFLIGHT, Infinity, passedOver)));
    }
    if (passedOver.count > before) continue;
    await tellOfUnavailable(reading, state, "segments");
    return packBatch(shown);
  }
}

/**
 * The newest dead letters. Those that cannot be read at present are passed over.
 * @param {ReadTransaction} reading @param {MailboxState} state @param {number} limit @param {number} offset how many are passed over
 * @returns {Promise<[Uint8Array, string]>} a batch, and JSON: `[reason, error, diedAt]` of each
 * @throws {Unreadable}
 */
export async function deadLetters(reading, state, limit, offset) {
  const dead = reading.store("dead");
  const isUnavailable = (/** @type {number} */ number) => reading.unavailable.has("dead", [state.number, number]);
  /** @type {(import("../model/types.js").StoredDeadLetter | undefined)[]} */
  let letters;
  do {
    /** @type {number[]} */
    const numbers = [];
    let passedOver = 0;
    let [toAdvance, toPass] = reading.unavailable.isEmpty ? [offset, 0] : [0, offset];
    const request = dead.openKeyCursor(keysOf(state), "prev");
    let cursor = await result(request);
    if (cursor !== null && toAdvance > 0) {
      cursor.advance(toAdvance);
      cursor = await result(request);
    }
    for (; cursor !== null && numbers.length < limit; cursor = await result(request)) {
      const number = numberOfLetter(cursor.key);
      if (number !== undefined && isUnavailable(number)) passedOver += 1;
      else if (number !== undefined && toPass > 0) toPass -= 1;
      else if (number !== undefined) numbers.push(number);
      if (numbers.length === limit) break;
      cursor.continue();
    }
    // something else deleted or added some: there is none of this number, and looking for it puts the count right
    const isAll = cursor === null && offset === 0;
    if (isAll && numbers.length + passedOver !== state.deadLetters) throw new Unreadable({ priority: DEAD, sequence: state.nextDeadLetter });
    letters = await Promise.all(
      numbers.map(async (number) => {
        try {
          const [letter] = await reading.values("dead", [state.number, number]);
          if (!isLetter(letter)) throw new Unreadable({ priority: DEAD, sequence: number });
          return letter;
        } catch (error) {
          if (error instanceof ValueUnavailable) return undefined;
          throw error;
        }
      }),
    );
  } while (letters.includes(undefined));
  await tellOfUnavailable(reading, state, "dead");
  const readable = letters.filter((letter) => letter !== undefined);
  const entries = readable.map(({ id, frame, deliveries }) => ({
    bytes: frame,
    frame: frameAt(viewOf(frame), 0),
    /** @param {DataView} view @param {number} offset */
    writeIdTo: (view, offset) => id.forEach((byte, i) => view.setUint8(offset + i, byte)),
    deliveryCount: deliveries,
    status: INFLIGHT,
  }));
  const deaths = readable.map(({ reason, error, diedAt }) => [reason, error ?? null, diedAt]);
  return [packBatch(entries), JSON.stringify(deaths)];
}

/** @param {WriteTransaction} commit @param {MailboxState} state @param {import("../model/types.js").Place} place @param {number} delivery @param {string} reason */
async function buryOrSalvage(commit, state, place, delivery, reason) {
  while (state.deliveryOf(place) !== undefined) {
    try {
      return await commit.bury(state, place, delivery, reason);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      await commit.salvage(state, error.place);
    }
  }
}

/** As `buryOrSalvage`; what cannot be read at present stays where it is. @param {WriteTransaction} commit @param {MailboxState} state @param {import("../model/types.js").Place} place @param {number} delivery @param {string} reason @returns {Promise<boolean>} whether it could be read */
async function buryIfReadable(commit, state, place, delivery, reason) {
  try {
    await buryOrSalvage(commit, state, place, delivery, reason);
    return true;
  } catch (error) {
    if (error instanceof ValueUnavailable) return false;
    throw error;
  }
}

/** Has an error say what cannot be read. @template T @param {Id} id @param {Promise<T>} done */
async function withIdIn(id, done) {
  try {
    return await done;
  } catch (error) {
    throw error instanceof ValueUnavailable ? withId(error, id) : error;
  }
}

/** @param {number} delivery @param {number} maxDeliveries */
const failedReason = (delivery, maxDeliveries) => `${failures(delivery)} of at most ${maxDeliveries} deliveries failed`;

/** Numbers as runs of neighbours. @param {number[]} numbers @returns {[number, number][]} from and to (exclusive) */
function neighbours(numbers) {
  /** @type {[number, number][]} */
  const runs = [];
  for (const number of numbers.sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === number) last[1] = number + 1;
    else runs.push([number, number + 1]);
  }
  return runs;
}

/** What is left of runs without their first messages. @param {import("../model/types.js").LaneRun[]} runs @param {number} offset how many */
function beyond(runs, offset) {
  return runs.flatMap((run) => {
    const passed = Math.min(offset, run.to - run.from);
    offset -= passed;
    return run.from + passed < run.to ? [{ ...run, from: run.from + passed }] : [];
  });
}

/** @param {import("../model/types.js").LaneRun[]} runs */
const countOf = (runs) => runs.reduce((count, { from, to }) => count + to - from, 0);
