/** What each verb does in a transaction. All of it becomes true together, or none. */

import { keysOf } from "./commit.js";
import { result } from "./database.js";
import { INFLIGHT, QUEUED, frameAt, framesIn, idIn, packBatch, viewOf } from "./frames.js";
import { ID_BYTES, writeId } from "./ids.js";
import { failures } from "./model/delivery.js";
import { Unreadable } from "./reading.js";
import { DEAD, isLetter, numberOfLetter } from "./rows.js";

/** Bytes of payload that one claim hands out at most, unless it hands out a single message. */
const LARGEST_BATCH = 64 * 1024 * 1024;

/** @typedef {import("./commit.js").Commit} Commit */
/** @typedef {import("./reading.js").Reading} Reading */
/** @typedef {import("./model/state.js").MailboxState} MailboxState */
/** @typedef {import("./types.js").HolderTerms} HolderTerms */
/** @typedef {Uint8Array<ArrayBuffer>} Id */

/**
 * Stores messages that are not there yet.
 * @param {Commit} commit @param {MailboxState} state @param {Uint8Array} frames
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
      state.noteGivenId(id);
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
 * @param {Commit} commit @param {MailboxState} state @param {Uint8Array} frames
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
 * @param {Commit} commit @param {MailboxState} state @param {Uint8Array} bytes
 * @param {import("./types.js").Frame[]} frames in `bytes`
 */
export async function givenIdsAlreadyThere(commit, state, bytes, frames) {
  const given = frames.filter(({ named }) => named).map((frame) => idIn(bytes, frame));
  const places = await Promise.all(given.map((id) => commit.find(state, id)));
  return new Set(given.filter((_, i) => places[i] !== undefined).map(keyOf));
}

/** An id as a key of a Set. @param {Uint8Array} id */
export const keyOf = (id) => String.fromCharCode(...id);

/**
 * Hands out the next batch.
 * @param {Commit} commit @param {MailboxState} state @param {string} holder @param {HolderTerms} terms @param {number} limit
 * @returns {Promise<{batch: Uint8Array, changed: boolean}>}
 */
export async function claim(commit, state, holder, terms, limit) {
  let changed = false;
  commit.flush();
  for (;;) {
    const { taken: claimed, changed: moved } = await commit.run(state, state.claim(holder, terms, limit, Date.now()));
    changed ||= moved;
    const places = claimed.flatMap(({ priority, from, to }) =>
      Array.from({ length: to - from }, (_, i) => ({ priority, sequence: from + i })),
    );
    try {
      const entries = await commit.entries(state, claimed, INFLIGHT, LARGEST_BATCH);
      for (const place of places.slice(entries.length)) state.release(holder, place);
      if (entries.length === 1) state.markSolo(holder, places[0]);
      commit.handedOut(state, holder, places.slice(0, entries.length));
      return { batch: packBatch(entries), changed: changed || entries.length > 0 };
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      for (const place of places) state.release(holder, place);
      await commit.salvage(state, error.place);
      changed = true;
    }
  }
}

/**
 * As `claim`, where nothing has to be read for it and there is something to hand out; undefined if that is not so.
 * @param {Commit} commit @param {MailboxState} state @param {string} holder @param {HolderTerms} terms @param {number} limit
 * @returns {Uint8Array | undefined} a batch
 */
export function claimAtHand(commit, state, holder, terms, limit) {
  const now = Date.now();
  if (!countAtHand(commit, state, limit, now)) return undefined;
  const claimed = state.claim(holder, terms, limit, now).next();
  if (!claimed.done) throw new Error("a page of the mailbox is not in memory");
  const { taken } = claimed.value;
  const entries = /** @type {import("./types.js").Entry[]} */ (commit.entriesAtHand(state, taken, INFLIGHT, LARGEST_BATCH));
  const places = taken.flatMap(({ priority, from, to }) => Array.from({ length: to - from }, (_, i) => ({ priority, sequence: from + i })));
  if (entries.length === 1) state.markSolo(holder, places[0]);
  commit.handedOut(state, holder, places);
  return packBatch(entries);
}

/**
 * How many messages could be claimed without reading any; undefined if some would have to be read.
 * @param {Commit} commit @param {MailboxState} state @param {number} limit @param {number} [now] milliseconds since 1970
 */
export function countAtHand(commit, state, limit, now = Date.now()) {
  const first = state.firstToClaim(limit, now).next();
  if (!first.done) return undefined;
  const count = countOf(first.value.taken);
  return commit.entriesAtHand(state, first.value.taken, INFLIGHT, LARGEST_BATCH)?.length === count ? count : undefined;
}

/**
 * As `remove`, where nothing has to be read for it and one of them is there; undefined if that is not so.
 * @param {Commit} commit @param {MailboxState} state @param {Id[]} ids @param {string} [holder] only what it holds
 * @returns {number | undefined} how many there were
 */
export function removeAtHand(commit, state, ids, holder) {
  /** @type {{place: import("./types.js").Place, id: Id}[]} */
  const living = [];
  for (const id of ids) {
    const place = state.ownPlaceOf(id);
    const segment = place && commit.segmentAtHand(state, place.priority, place.sequence);
    if (place !== undefined && segment !== undefined && state.lacking(place.priority, segment.first, segment.last + 1).length === 0) {
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
 * @param {Commit} commit @param {MailboxState} state @param {Id[]} ids
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

/** Deletes those of the messages that are a holder's. @param {Commit} commit @param {MailboxState} state @param {string} holder @param {Id[]} ids */
export async function removeHeld(commit, state, holder, ids) {
  const places = await Promise.all(ids.map((id) => commit.find(state, id)));
  const held = places.map((place) => place !== undefined && state.isHeldBy(holder, place));
  return remove(commit, state, ids.filter((_, i) => held[i]));
}

/** Gives messages of a holder's back, their hand-out undone. @param {Commit} commit @param {MailboxState} state @param {string} holder @param {Id[]} ids */
export async function release(commit, state, holder, ids) {
  let released = 0;
  for (const id of ids) {
    const place = await commit.find(state, id);
    if (place !== undefined && state.release(holder, place) !== undefined) released += 1;
  }
  return released;
}

/**
 * Gives a message of a holder's back as failed; after too many failures it becomes a dead letter.
 * @param {Commit} commit @param {MailboxState} state @param {string} holder @param {number} maxDeliveries @param {Id} id
 * @param {number} due 0 for at once @param {string | undefined} error
 * @returns {Promise<boolean | string>} false if it is not the holder's; the reason if it is a dead letter
 */
export async function fail(commit, state, holder, maxDeliveries, id, due, error) {
  const place = await commit.find(state, id);
  const delivery = place && state.fail(holder, place);
  if (place === undefined || delivery === undefined) return false;
  if (error !== undefined) commit.keepError(state, place, error);
  if (maxDeliveries > 0 && failures(delivery) >= maxDeliveries) {
    const reason = failedReason(delivery, maxDeliveries);
    await buryOrSalvage(commit, state, place, delivery, reason);
    return reason;
  }
  if (due > Date.now()) state.delay(place, due);
  return true;
}

/** Moves a message of a holder's to the dead letters. @param {Commit} commit @param {MailboxState} state @param {string} holder @param {Id} id @param {string} reason */
export async function bury(commit, state, holder, id, reason) {
  const place = await commit.find(state, id);
  if (place === undefined || !state.isHeldBy(holder, place)) return false;
  await buryOrSalvage(commit, state, place, state.deliveryOf(place) ?? 0, reason);
  return true;
}

/** Puts a dead letter at the end of its priority, as new. @param {Commit} commit @param {MailboxState} state @param {Id} id */
export async function redrive(commit, state, id) {
  const place = await commit.find(state, id);
  if (place?.priority !== DEAD) return false;
  try {
    await commit.redrive(state, place.sequence, id);
    return true;
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    await commit.salvage(state, error.place);
    return false;
  }
}

/** Deletes a dead letter. @param {Commit} commit @param {MailboxState} state @param {Id} id */
export async function discard(commit, state, id) {
  const place = await commit.find(state, id);
  if (place?.priority !== DEAD) return false;
  return commit.discard(state, place.sequence, id);
}

/**
 * Takes back what holders had who are gone, or who have left a note that they departed. A release takes the hand-outs
 * back; a death makes suspects, and of one that was alone a failure.
 * @param {Commit} commit @param {string} mailbox @param {MailboxState} state @param {import("./coordination/liveness.js").Gone} gone
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
        await buryOrSalvage(commit, state, { priority, sequence }, delivery, reason);
      }
    }
  }
  return count;
}

/**
 * Shows messages: queued ones in the order in which they would be handed out, then those not yet due, then inflight ones.
 * @param {Reading} reading @param {MailboxState} state @param {number} limit @param {number | undefined} status
 * @param {number} offset how many are passed over; they are not read
 * @returns {Promise<Uint8Array>} a batch
 * @throws {Unreadable}
 */
export async function peek(reading, state, limit, status, offset) {
  const now = Date.now();
  const end = offset + limit;
  const shown = [];
  let queued = 0;
  if (status !== INFLIGHT) {
    const first = await reading.run(state, state.firstQueued(end, now));
    const later = await reading.run(state, state.firstDelayed(end - countOf(first), now));
    const runs = [...first, ...later];
    queued = countOf(runs);
    shown.push(...(await reading.entries(state, beyond(runs, offset), QUEUED)));
  }
  if (status !== QUEUED) {
    const inflight = await reading.run(state, state.firstInflight(end - queued));
    const runs = beyond(inflight, Math.max(0, offset - queued));
    shown.push(...(await reading.entries(state, runs, INFLIGHT)));
  }
  return packBatch(shown);
}

/**
 * The newest dead letters.
 * @param {Reading} reading @param {MailboxState} state @param {number} limit @param {number} offset how many are passed over
 * @returns {Promise<[Uint8Array, string]>} a batch, and JSON: `[reason, error, diedAt]` of each
 * @throws {Unreadable}
 */
export async function deadLetters(reading, state, limit, offset) {
  const dead = reading.store("dead");
  /** @type {number[]} */
  const numbers = [];
  const request = dead.openKeyCursor(keysOf(state), "prev");
  let cursor = await result(request);
  if (cursor !== null && offset > 0) {
    cursor.advance(offset);
    cursor = await result(request);
  }
  for (; cursor !== null && numbers.length < limit; cursor = await result(request)) {
    const number = numberOfLetter(cursor.key);
    if (number !== undefined) numbers.push(number);
    if (numbers.length === limit) break;
    cursor.continue();
  }
  // something else deleted or added some: there is none of this number, and looking for it puts the count right
  if (cursor === null && offset === 0 && numbers.length !== state.deadLetters) throw new Unreadable({ priority: DEAD, sequence: state.nextDeadLetter });
  const letters = await Promise.all(
    numbers.map(async (number) => {
      const [letter] = await reading.values("dead", [state.number, number]);
      if (!isLetter(letter)) throw new Unreadable({ priority: DEAD, sequence: number });
      return letter;
    }),
  );
  const entries = letters.map(({ id, frame, deliveries }) => ({
    bytes: frame,
    frame: frameAt(viewOf(frame), 0),
    /** @param {DataView} view @param {number} offset */
    writeIdTo: (view, offset) => id.forEach((byte, i) => view.setUint8(offset + i, byte)),
    deliveryCount: deliveries,
    status: INFLIGHT,
  }));
  const deaths = letters.map(({ reason, error, diedAt }) => [reason, error ?? null, diedAt]);
  return [packBatch(entries), JSON.stringify(deaths)];
}

/** @param {Commit} commit @param {MailboxState} state @param {import("./types.js").Place} place @param {number} delivery @param {string} reason */
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

/** What is left of runs without their first messages. @param {import("./types.js").LaneRun[]} runs @param {number} offset how many */
function beyond(runs, offset) {
  return runs.flatMap((run) => {
    const passed = Math.min(offset, run.to - run.from);
    offset -= passed;
    return run.from + passed < run.to ? [{ ...run, from: run.from + passed }] : [];
  });
}

/** @param {import("./types.js").LaneRun[]} runs */
const countOf = (runs) => runs.reduce((count, { from, to }) => count + to - from, 0);
