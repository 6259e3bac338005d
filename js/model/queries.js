/**
 * Queries of a mailbox: what to claim first, and which messages a peek, a list of inflight messages or an export shows.
 *
 * Each query runs in steps: it yields the entries of the pages that it lacks, and continues when they have been opened.
 */

import * as delivery from "./delivery.js";
import { HIGHEST_FIRST } from "./lane.js";
import { DELAYED, HELD, QUEUED } from "./page.js";
import { pageIn, standing } from "./page-table.js";

/** @typedef {import("./types.js").LaneRun} LaneRun */
/** @typedef {import("./passed-over.js").PassedOver} PassedOver */
/** @typedef {import("./page-table.js").PageTable} PageTable */
/** @template T @typedef {import("./page-table.js").Steps<T>} Steps */

/**
 * What `claim` would take. Takes nothing yet, but queues the due messages of the pages that it looks at.
 * @param {PageTable} pages @param {number} limit @param {number} now milliseconds since 1970
 * @param {PassedOver} [passedOver] what stays where it is
 * @returns {Steps<{taken: LaneRun[], promoted: boolean}>} with the delivery state after the hand-out; and whether any
 * due messages were queued
 */
export function* firstToClaim(pages, limit, now, passedOver) {
  const taken = new Collected(limit, passedOver);
  let promoted = false;
  for (const priority of HIGHEST_FIRST) {
    const { directory, frontier, next } = pages.lanes[priority];
    for (let at = 0; ; ) {
      if (taken.isFull) return { taken: handedOut(taken.runs), promoted };
      const ahead = directory.claimable(at, now, 1 + Math.floor(taken.left / pages.pageNumbers));
      if (ahead.length === 0) break;
      if (ahead.some(({ isLacking }) => isLacking)) {
        yield ahead.filter(({ isLacking }) => isLacking);
        // one that could not be read no longer exists
        continue;
      }
      const [entry] = ahead;
      at = entry.last;
      if (entry.isFresh) {
        taken.add({ priority, ...pages.freshRun(entry) });
        continue;
      }
      if (pages.promoteDue(entry, now) > 0) promoted = true;
      for (const run of pageIn(entry)) {
        if (run.where !== QUEUED || taken.isFull) continue;
        if (delivery.isSuspect(run.delivery)) {
          const [next] = passedOver?.without({ ...run, priority }) ?? [{ ...run, priority }];
          if (next === undefined) continue;
          if (taken.runs.length === 0) taken.add({ ...next, to: next.from + 1 });
          return { taken: handedOut(taken.runs), promoted };
        }
        taken.add({ priority, from: run.from, to: run.to, delivery: run.delivery });
      }
    }
    if (frontier < next) {
      const to = Math.min(next, frontier + taken.left + (passedOver?.countFrom(priority, frontier) ?? 0));
      const lacking = pages.lacking(priority, frontier, to);
      if (lacking.length > 0) yield lacking;
      taken.add({ priority, from: frontier, to, delivery: 0 });
    }
  }
  return { taken: handedOut(taken.runs), promoted };
}

/** Counts a hand-out in the delivery states of runs. @param {LaneRun[]} runs that nobody else uses */
function handedOut(runs) {
  const solo = runs.length === 1 && runs[0].to - runs[0].from === 1;
  for (const run of runs) run.delivery = delivery.handedOut(run.delivery, solo);
  return runs;
}

/**
 * Up to `limit` queued messages, including due ones, in the order in which they would be handed out.
 * @param {PageTable} pages @param {number} limit @param {number} now @param {PassedOver} [passedOver]
 * @returns {Steps<LaneRun[]>}
 */
export function* firstQueued(pages, limit, now, passedOver) {
  const first = new Collected(limit, passedOver);
  for (const priority of HIGHEST_FIRST) {
    const { directory, frontier, next } = pages.lanes[priority];
    for (const entry of directory.entries) {
      if (first.isFull) return first.runs;
      if (!entry.queued && entry.due > now) continue;
      if (entry.isFresh) first.add({ priority, ...pages.freshRun(entry) });
      if (entry.isLacking) yield [entry];
      for (const run of entry.page ?? []) {
        if (run.where === QUEUED || (run.where === DELAYED && run.due <= now)) first.add({ ...run, priority });
      }
    }
    if (frontier < next) first.add({ priority, from: frontier, to: next, delivery: 0 });
  }
  return first.runs;
}

/**
 * Up to `limit` delayed messages that are not yet due, by their due times.
 * @param {PageTable} pages @param {number} limit @param {number} now @param {PassedOver} [passedOver]
 * @returns {Steps<LaneRun[]>}
 */
export function* firstDelayed(pages, limit, now, passedOver) {
  const first = new Collected(limit, passedOver);
  const entries = pages.lanes.flatMap(({ directory }) => directory.entries).filter(({ due }) => due !== Infinity);
  entries.sort((a, b) => a.due - b.due);
  /** @type {(LaneRun & {due: number})[]} */
  let found = [];
  for (let i = 0; i < entries.length && !first.isFull; ) {
    // what is due before the next page's first is known without that page
    const { due } = entries[i];
    for (; i < entries.length && entries[i].due === due; i++) {
      const { priority } = entries[i];
      if (entries[i].isLacking) yield [entries[i]];
      for (const run of entries[i].page ?? [])
        if (run.where === DELAYED && run.due > now) found.push({ ...run, priority });
    }
    const until = entries[i]?.due ?? Infinity;
    const sure = found.filter((run) => run.due < until);
    found = found.filter((run) => run.due >= until);
    sure.sort((a, b) => a.due - b.due || a.priority - b.priority || a.from - b.from);
    for (const run of sure) first.add(run);
  }
  return first.runs;
}

/**
 * Up to `limit` inflight messages, in the order of the queue.
 * @param {PageTable} pages @param {number} limit @param {PassedOver} [passedOver] @returns {Steps<LaneRun[]>}
 */
export function* firstInflight(pages, limit, passedOver) {
  const first = new Collected(limit, passedOver);
  for (const priority of HIGHEST_FIRST) {
    for (const entry of pages.heldIn(priority)) {
      if (first.isFull) return first.runs;
      if (entry.isLacking) yield [entry];
      for (const run of entry.page ?? []) if (run.where >= HELD) first.add({ ...run, priority });
    }
  }
  return first.runs;
}

/**
 * The first `limit` living messages of a lane from `from` to `until` (exclusive), wherever they are.
 * @param {PageTable} pages @param {number} priority @param {number} from @param {number} until @param {number} limit
 * @returns {Steps<(LaneRun & {where: number, due: number})[]>}
 */
export function* livingBetween(pages, priority, from, until, limit) {
  const first = new Collected(limit);
  if (until <= from) return [];
  const { directory, frontier, next } = pages.lanes[priority];
  for (const entry of directory.between(pages.pageOf(from), pages.pageOf(until - 1))) {
    if (first.isFull) break;
    if (entry.isLacking) yield [entry];
    const runs = entry.isFresh ? [{ ...pages.freshRun(entry), ...standing(QUEUED, 0) }] : (entry.page ?? []);
    for (const run of runs)
      first.add({ ...run, priority, from: Math.max(run.from, from), to: Math.min(run.to, until) });
  }
  first.add({ priority, from: Math.max(from, frontier), to: Math.min(until, next), ...standing(QUEUED, 0) });
  return /** @type {(LaneRun & {where: number, due: number})[]} */ (first.runs);
}

/**
 * The first message of a lane that is queued, delayed or not; undefined if none is.
 * @param {PageTable} pages @param {number} priority @returns {Steps<LaneRun | undefined>}
 */
export function* firstWaiting(pages, priority) {
  const { directory, frontier, next } = pages.lanes[priority];
  const one = (/** @type {number} */ from, /** @type {number} */ past) => ({
    priority,
    from,
    to: from + 1,
    delivery: past,
  });
  for (const entry of directory.entries) {
    if (entry.isFresh) return one(entry.first * pages.pageNumbers, 0);
    if (!entry.queued && entry.due === Infinity) continue;
    if (entry.isLacking) yield [entry];
    for (const run of entry.page ?? []) if (run.where < HELD) return one(run.from, run.delivery);
  }
  return frontier < next ? one(frontier, 0) : undefined;
}

/**
 * How many delayed messages are due but not yet queued, and when the next of the others is; Infinity if there is none.
 * @param {PageTable} pages @param {number} now milliseconds since 1970 @returns {Steps<{due: number, next: number}>}
 */
export function* delays(pages, now) {
  let due = 0;
  let next = Infinity;
  for (const { directory } of pages.lanes) {
    for (const entry of directory.entries) {
      if (entry.due > now) {
        next = Math.min(next, entry.due);
        continue;
      }
      if (entry.isLacking) yield [entry];
      for (const run of entry.page ?? []) {
        if (run.where !== DELAYED) continue;
        if (run.due <= now) due += run.to - run.from;
        else next = Math.min(next, run.due);
      }
    }
  }
  return { due, next };
}

/** How many messages some runs have. @param {{from: number, to: number}[]} runs */
export function countOf(runs) {
  let count = 0;
  for (const { from, to } of runs) count += to - from;
  return count;
}

/** Runs, up to a number of messages. */
class Collected {
  /** @type {LaneRun[]} */
  runs = [];

  #passedOver;

  /** @param {number} limit @param {PassedOver} [passedOver] what is not collected */
  constructor(limit, passedOver) {
    this.left = limit;
    this.#passedOver = passedOver;
  }

  get isFull() {
    return this.left <= 0;
  }

  /** @param {LaneRun} run none of whose messages is here */
  add(run) {
    if (this.#passedOver === undefined) this.#add(run);
    else for (const part of this.#passedOver.without(run)) this.#add(part);
  }

  /** @param {LaneRun} run */
  #add(run) {
    const to = Math.min(run.to, run.from + this.left);
    if (to <= run.from) return;
    this.left -= to - run.from;
    this.runs.push({ ...run, to });
  }
}
