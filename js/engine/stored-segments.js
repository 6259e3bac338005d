/**
 * The segments of a transaction's mailboxes: enqueued messages are packed into new ones, small ones travel with the
 * head until there are too many, and each is deleted when the last of its messages is dead.
 */

import { result } from "../storage/requests.js";
import { SEGMENT_MESSAGES, Segment, SegmentWriter } from "../model/segments.js";
import { laneRange } from "./read-transaction.js";
import { ValueUnavailable } from "./unavailable-values.js";

/** When the segments beside the head reach this many bytes, they are written to rows, neighbours as one. */
export const CARRIED = 4096;

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/**
 * First and last number of a segment, and its key where that is known.
 * @typedef {{key?: IDBValidKey | undefined, first: number, last: number}} Bounds
 */

// -- written ----------------------------------------------------------------------------------------------------------

/**
 * Where a transaction appends messages, by priority.
 * @param {WriteTransaction} tx @param {MailboxState} state @returns {SegmentWriter[]}
 */
export function segmentWritersOf(tx, state) {
  const all = (tx.segmentWriters ??= new Map());
  let writers = all.get(state);
  if (writers === undefined) {
    writers = state.lanes.map(
      (lane, priority) =>
        new SegmentWriter((segment) => {
          tx.appended.push([state.number, priority, segment]);
          if (segment.bytes.length <= tx.engine.settings.carriedSegment) lane.carried.push(segment);
          else putSegment(tx, state, priority, segment);
        }),
    );
    all.set(state, writers);
  }
  return writers;
}

/** Packs what was appended into segments, so that it can be read. @param {WriteTransaction} tx */
export function flush(tx) {
  if (tx.segmentWriters === undefined) return;
  for (const writers of tx.segmentWriters.values()) for (const writer of writers) writer.flush();
}

/** @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {Segment} segment */
export function putSegment(tx, state, priority, segment) {
  const lane = state.lanes[priority];
  tx.put("segments", segment.bytes, [state.number, priority, segment.last, segment.first], segment.bytes.length);
  lane.largestSegment = Math.max(lane.largestSegment, segment.bytes.length);
  tx.written.push([state.number, priority, segment]);
}

/**
 * Moves the segments beside the head to the store, neighbours as one.
 * @param {WriteTransaction} tx @param {MailboxState} state
 */
export function unload(tx, state) {
  flush(tx);
  for (const [priority, lane] of state.lanes.entries()) {
    const writer = new SegmentWriter((segment) => putSegment(tx, state, priority, segment));
    for (const segment of lane.takeCarried()) {
      for (let sequence = segment.first; sequence <= segment.last; sequence++)
        writer.append(sequence, segment.bytesOf(sequence));
    }
    writer.flush();
  }
}

/**
 * Flushes, and moves to the store what has become too much for the heads of changed states.
 * @param {WriteTransaction} tx
 */
export function unloadIfFull(tx) {
  flush(tx);
  for (const mailbox of tx.changedMailboxes) {
    const state = tx.states.get(mailbox);
    if (state !== undefined && state.carriedBytes > CARRIED) unload(tx, state);
  }
}

// -- deleted ----------------------------------------------------------------------------------------------------------

/**
 * Deletes the segments that no longer have a living message, after `from` to `to` (exclusive) died.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {number} from
 * @param {number} to
 * @returns {Promise<number>} up to where (exclusive) no such segment remains
 */
export async function deleteDead(tx, state, priority, from, to) {
  flush(tx);
  const deleting = deletingDead(tx, state, priority, from, to);
  for (let step = deleting.next(); ; ) {
    if (step.done) return step.value;
    step = deleting.next(await step.value());
  }
}

/**
 * As `deleteDead`, if everything that it has to look at is at hand.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {number} from
 * @param {number} to @returns {number}
 */
export function deleteDeadAtHand(tx, state, priority, from, to) {
  const step = deletingDead(tx, state, priority, from, to).next();
  if (!step.done) throw new Error("a segment or a page is not in memory");
  return step.value;
}

/**
 * Yields functions whose results have to be awaited.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {number} from
 * @param {number} to
 * @returns {Generator<() => Promise<any>, number, any>}
 */
function* deletingDead(tx, state, priority, from, to) {
  const boundsOf = (/** @type {number} */ sequence) =>
    tx.segmentAtHand(state, priority, sequence) ?? (() => readBounds(tx, state, priority, sequence));
  const hasLiving = (/** @type {{first: number, last: number}} */ { first, last }) =>
    state.pages.lacking(priority, first, last + 1).length > 0
      ? () => openedHasLiving(tx, state, priority, { first, last })
      : state.pages.hasLiving(priority, first, last + 1);
  let seenTo = to;
  let found = boundsOf(from);
  /** @type {{first: number, last: number} | undefined} */
  const head = typeof found === "function" ? yield found : found;
  if (head !== undefined) {
    const lives = hasLiving(head);
    if (typeof lives === "function" ? yield lives : lives) from = head.last + 1;
  }
  if (from >= to) return from;
  found = boundsOf(to - 1);
  /** @type {{first: number, last: number} | undefined} */
  const tail = typeof found === "function" ? yield found : found;
  if (tail !== undefined) {
    const lives = hasLiving(tail);
    to = (typeof lives === "function" ? yield lives : lives) ? tail.first : tail.last + 1;
    seenTo = tail.last + 1;
  }
  if (from >= to) return seenTo;
  // deleting a single one by its key costs a third as much in Chromium's LevelDB store
  const isOne = head !== undefined && head.first === from && head.last === to - 1;
  if (isOne) deleteSegment(tx, state, priority, head);
  else deleteSegments(tx, state, priority, from, to);
  return seenTo;
}

/**
 * Deletes all segments of a lane whose last number is in `from` to `to` (exclusive).
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {number} from
 * @param {number} to
 */
export function deleteSegments(tx, state, priority, from, to) {
  if (from >= to) return;
  const { number } = state;
  const first = state.lanes[priority].firstNotCarried(from);
  state.lanes[priority].dropCarried(from, to);
  if (first >= to) return;
  tx.store("segments").delete(IDBKeyRange.bound([number, priority, from], [number, priority, to - 1, Infinity]));
  tx.cache.drop(number, priority, from, to);
}

/** @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {Bounds} segment */
export function deleteSegment(tx, state, priority, { key, first, last }) {
  const { number } = state;
  const lane = state.lanes[priority];
  if (key === undefined && lane.carriedSegment(last) !== undefined) {
    lane.dropCarried(last, last + 1);
    return;
  }
  tx.store("segments").delete(key ?? [number, priority, last, first]);
  tx.cache.drop(number, priority, last, last + 1);
}

/**
 * Deletes the segments of some numbers that no longer have a living message.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority
 * @param {{from: number, to: number}} numbers
 * @returns {Promise<number>} the number after the last of these segments
 */
export async function deleteDeadAmong(tx, state, priority, { from, to }) {
  let end = to;
  for (const segment of await segmentsOf(tx, state, priority, from, to)) {
    end = Math.max(end, segment.last + 1);
    if (!(await openedHasLiving(tx, state, priority, segment))) deleteSegment(tx, state, priority, segment);
  }
  return end;
}

// -- found ------------------------------------------------------------------------------------------------------------

/**
 * The segments that overlap some numbers; those in the store with their keys.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {number} from
 * @param {number} to @returns {Promise<Bounds[]>}
 */
export async function segmentsOf(tx, { number, lanes }, priority, from, to) {
  const range = IDBKeyRange.bound([number, priority, from], [number, priority, to - 1 + SEGMENT_MESSAGES, Infinity]);
  const keys = await result(tx.store("segments").getAllKeys(range));
  const bounds = keys.map((key) => ({ key, ...(Segment.boundsIn(key) ?? { first: Infinity, last: Infinity }) }));
  const carried = lanes[priority].carried.filter(({ last }) => last >= from);
  return [...bounds, ...carried.map(({ first, last }) => ({ key: undefined, first, last }))].filter(
    ({ first }) => first < to,
  );
}

/**
 * Whether any message of a segment lives; opens its pages for that.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {Bounds} segment
 */
export async function openedHasLiving(tx, state, priority, { first, last }) {
  const lacking = state.pages.lacking(priority, first, last + 1);
  if (lacking.length > 0) await tx.open(state, lacking);
  return state.pages.hasLiving(priority, first, last + 1);
}

/**
 * First and last number of the segment in the store that has a message, dead or alive.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {number} sequence
 */
async function readBounds(tx, state, priority, sequence) {
  const key = await result(tx.store("segments").getKey(laneRange(state, priority, sequence)));
  if (key === undefined) return undefined;
  const { first, last } = Segment.boundsIn(key) ?? (await segmentKeysOf(tx, state, priority, sequence)).own;
  return first <= sequence ? { first, last } : undefined;
}

/**
 * What is where a message's segment should be.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {number} priority @param {number} sequence
 * @returns {Promise<{own: {key: IDBValidKey | undefined, first: number, last: number}, others: IDBValidKey[]}>} `own`:
 * its segment, or without a key the bounds of the next one; `others`: keys before it that are in the way
 */
export async function segmentKeysOf(tx, state, priority, sequence) {
  const keys = await result(tx.store("segments").getAllKeys(laneRange(state, priority, sequence), SEGMENT_MESSAGES));
  const all = keys.map((key) => ({ key, ...(Segment.boundsIn(key) ?? { first: NaN, last: NaN }) }));
  const candidates = all.filter(({ first }) => first <= sequence);
  for (const own of candidates) {
    const others = keys.slice(0, all.indexOf(own));
    /** @type {unknown} */
    let value;
    try {
      [value] = await tx.values("segments", own.key);
    } catch (error) {
      if (!(error instanceof ValueUnavailable)) throw error;
      // as far as can be told, it is the one
      return { own, others };
    }
    const segment = Segment.from(value);
    if (segment !== undefined && segment.first <= sequence && segment.last >= sequence && own !== all[0])
      return { own, others };
  }
  const own = candidates[0] ?? {
    ...(all.find(({ first }) => first > sequence) ?? { first: Infinity, last: Infinity }),
    key: undefined,
  };
  return { own, others: all.filter(({ first }) => Number.isNaN(first)).map(({ key }) => key) };
}
