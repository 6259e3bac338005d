/**
 * A mailbox's state: which messages wait, who holds which, and what each verb changes. Pure data and arithmetic; no
 * storage, no waiting.
 *
 * Each priority is a lane of sequence numbers, given out in commit order. From a lane's frontier on all messages are
 * fresh: queued, never handed out, not delayed, and with a generated id. Before it, a message lives only if its page
 * says so. So the state has two levels: a small head (`head-codec.js`), which is written with every change, and pages
 * (`page-table.js`), of which only changed ones are written; the few busy ones travel inside the head.
 *
 * Nothing here can wait for a page that is not in memory. A method that may need some is a generator: it yields the
 * entries of the pages that it lacks, and continues when they have been opened. For the others, callers use
 * `pages.lacking`.
 */

import { isCount } from "./bytes.js";
import * as delivery from "./delivery.js";
import * as codec from "./head-codec.js";
import { ID_BYTES, newIdBase, placeOf } from "./ids.js";
import { PRIORITIES } from "./lane.js";
import { DELAYED, HELD, QUEUED } from "./page.js";
import { PageTable, delayed, standing } from "./page-table.js";
import { firstToClaim } from "./queries.js";

/** How many numbers a page covers. */
const PAGE_NUMBERS = 1024;

/** Bytes of pages that travel in the head. */
const PAGES_IN_HEAD = 2048;

const NO_BYTES = new Uint8Array();

/** @typedef {import("./types.js").StoredHead} StoredHead */
/** @typedef {import("./types.js").Place} Place */
/** @typedef {import("./types.js").LaneRun} LaneRun */
/** @typedef {import("./types.js").HolderTerms} HolderTerms */
/** @typedef {import("./claims.js").Claims} Claims */
/** @typedef {import("./passed-over.js").PassedOver} PassedOver */
/** @template T @typedef {import("./page-table.js").Steps<T>} Steps */

/**
 * A run of messages as an older layout had it, with its holder and that one's terms, if it has one.
 * @typedef {{from: number, to: number, delivery: number, due: number, holder?: string, terms?: HolderTerms}}
 * RestoredRun
 */

export class MailboxState {
  /** Counts its writes: part of the key of the last write, 0 before the first. */
  version = 0;
  /** From this version on, nobody needs any but the last. */
  base = 1;
  /** Whether its writer has a write lease, so may write it without reading; see `write-lease.js`. */
  leased = false;
  /** The context that wrote it last. */
  writer = "";
  /** The commit id of the transaction that wrote it last. */
  commitId = 0;
  idBase = new Uint8Array(ID_BYTES);
  /** Whether a sender ever gave an id that this mailbox may still generate. */
  mayCollide = false;
  deadLetters = 0;
  /** The number of the next dead letter. */
  nextDeadLetter = 0;
  /** Ids that are remembered for a while, whatever happens to their messages; see `engine/remembered-ids.js`. */
  remembered = 0;
  /** Whether its delivery states have an older meaning and delayed messages are not counted. */
  isBeforeLayout5 = false;
  /** As it was last packed. @type {Uint8Array} */
  head = NO_BYTES;
  /** The checksum of that. */
  sum = 0;
  /** The segments that travel with it. @type {Uint8Array[]} */
  carried = [];

  /**
   * @param {number} number identifies the mailbox in its database @param {number} pageNumbers
   * @param {number} pagesInHead bytes
   */
  constructor(number, pageNumbers, pagesInHead) {
    this.number = number;
    this.pagesInHead = pagesInHead;
    this.pages = new PageTable(pageNumbers);
    this.lanes = this.pages.lanes;
  }

  /**
   * @param {number} number identifies the mailbox in its database
   * @param {{pageNumbers?: number, pagesInHead?: number}} [sizes] how many numbers a page covers, and bytes of pages in
   * the head
   */
  static create(number, { pageNumbers = PAGE_NUMBERS, pagesInHead = PAGES_IN_HEAD } = {}) {
    const state = new MailboxState(number, pageNumbers, pagesInHead);
    state.idBase = newIdBase();
    return state;
  }

  // -- as it is stored ------------------------------------------------------------------------------------------------

  /** As it was last packed. @returns {StoredHead} */
  toStored() {
    const { number, base, leased, writer, commitId, head, sum, carried } = this;
    return { number, base, right: leased, writer, commitId, head, sum, carried };
  }

  /**
   * Packs what has changed.
   * @returns {import("./blocks.js").RowChange[]} what to do in the store `pages`, in this order
   */
  pack() {
    return codec.pack(this);
  }

  /**
   * A stored head as a state; undefined if it is not one. Some of its blocks may still have to be read, see `absent`.
   * @param {any} stored @param {number} [version] of the head @returns {MailboxState | undefined}
   */
  static from(stored, version = 0) {
    const { number, base, right, writer, commitId, head, sum, carried } = stored ?? {};
    if (!isCount(number) || !(head instanceof Uint8Array) || !Array.isArray(carried)) return undefined;
    try {
      const state = codec.unpackHead(
        { number, head, sum, carried },
        (pageNumbers, pagesInHead) => new MailboxState(number, pageNumbers, pagesInHead),
      );
      Object.assign(state, { head, sum, carried });
      state.version = version;
      // keep versions that somebody may need
      state.base = isCount(base) && base <= version + 1 ? base : version + 1;
      state.leased = right === true;
      state.writer = typeof writer === "string" ? writer : "";
      state.commitId = typeof commitId === "number" ? commitId : 0;
      return state.absent.length > 0 || codec.complete(state.pages) ? state : undefined;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return undefined;
    }
  }

  /** Blocks that are needed for everything and have rows of their own. */
  get absent() {
    return codec.absentIn(this.pages);
  }

  /**
   * Takes the rows of the blocks that are absent.
   * @param {unknown[]} rows in their order @returns {boolean} false if they are not blocks
   */
  fill(rows) {
    return codec.fill(this.pages, rows);
  }

  // -- counting -------------------------------------------------------------------------------------------------------

  /** Queued messages by priority, delayed ones included. */
  queuedByPriority() {
    return this.lanes.map(({ queued }) => queued);
  }

  /** How many messages were ever queued: enqueued, sent or redriven. */
  everQueued() {
    return sum(this.lanes.map(({ next }) => next));
  }

  queuedCount() {
    let count = 0;
    for (const { queued } of this.lanes) count += queued;
    return count;
  }

  /** Delayed messages, including those that are due by now. */
  get delayedCount() {
    return sum(this.lanes.map(({ delayed }) => delayed));
  }

  inflightCount() {
    return sum(this.lanes.map(({ inflight }) => inflight));
  }

  /** Living messages with custom ids. */
  get customIds() {
    return this.pages.customIds;
  }

  /** Bytes of the segments that travel with the head. */
  get carriedBytes() {
    let size = 0;
    for (const lane of this.lanes) size += lane.carriedBytes;
    return size;
  }

  /** When the first delayed message is due, milliseconds since 1970; Infinity for none. */
  get nextDue() {
    let due = Infinity;
    for (const { directory } of this.lanes) due = Math.min(due, directory.due);
    return due;
  }

  /** Whether anything can be claimed. @param {number} now milliseconds since 1970 */
  isReady(now) {
    return this.lanes.some(
      ({ next, frontier, directory }) => frontier < next || directory.claimable(0, now, 1).length > 0,
    );
  }

  // -- single messages ------------------------------------------------------------------------------------------------

  /** A message's delivery state, wherever it is; undefined if it is dead or never existed. @param {Place} place */
  deliveryOf(place) {
    return this.pages.runOf(place)?.delivery;
  }

  /** Whether a holder has a message. @param {string} holder @param {Place} place */
  isHeldBy(holder, place) {
    const claims = this.claims.get(holder);
    return claims !== undefined && this.pages.runOf(place)?.where === HELD + claims.slot;
  }

  /** A message's holder, with its terms; undefined if nobody has it. @param {Place} place */
  claimsOn(place) {
    const { where = QUEUED } = this.pages.runOf(place) ?? {};
    return where >= HELD ? this.pages.holders.at(where - HELD) : undefined;
  }

  /** The place that a generated id names; undefined if there never was such a message. @param {Uint8Array} id */
  ownPlaceOf(id) {
    const place = placeOf(id, this.idBase);
    return place !== undefined && place.sequence < (this.lanes[place.priority]?.next ?? 0) ? place : undefined;
  }

  /** The place of the living message that a generated id names, unless it has a custom id. @param {Uint8Array} id */
  livingPlaceOf(id) {
    const place = this.ownPlaceOf(id);
    return place !== undefined && this.livesByOwnId(place) ? place : undefined;
  }

  /** Whether a message lives and has a generated id. @param {Place} place */
  livesByOwnId(place) {
    const found = this.deliveryOf(place);
    return found !== undefined && !delivery.hasCustomId(found);
  }

  // -- enqueueing -----------------------------------------------------------------------------------------------------

  /**
   * Enqueues a message; unless it is fresh, see `lackingToEnqueue`.
   * @param {number} priority @param {boolean} custom whether it has a custom id
   * @param {number} due milliseconds since 1970, 0 for at once
   * @param {number} [past] its delivery state
   * @returns {number} its sequence number
   */
  enqueue(priority, custom, due, past = delivery.fresh(custom)) {
    const lane = this.lanes[priority];
    if (lane.queued + lane.inflight === 0) lane.largestSegment = 0;
    const from = lane.next;
    lane.next += 1;
    lane.queued += 1;
    if (past === 0 && due === 0) return from;
    this.pages.assign(priority, from, from + 1, () => (due === 0 ? standing(QUEUED, past) : delayed(past, due)));
    return from;
  }

  /** Passes over a lane's next number; see `lackingToEnqueue`. @param {number} priority */
  skip(priority) {
    const lane = this.lanes[priority];
    this.pages.advance(priority, lane.next);
    lane.next += 1;
    lane.frontier = lane.next;
  }

  /** Records that a sender gave this id. @param {Uint8Array} id */
  noteCustomId(id) {
    const place = placeOf(id, this.idBase);
    if (place !== undefined && place.sequence >= (this.lanes[place.priority]?.next ?? Infinity)) this.mayCollide = true;
  }

  /**
   * Fills an empty lane.
   * @param {number} priority @param {number} next the number of its next message @param {number} largestSegment
   * @param {RestoredRun[]} runs in order; a number in several counts as in the first
   */
  restore(priority, next, largestSegment, runs) {
    const lane = this.lanes[priority];
    Object.assign(lane, { next, largestSegment, queued: next });
    let end = 0;
    const discard = (/** @type {number} */ to) => {
      for (const step of this.removeBetween(priority, end, to))
        throw new Error(`${step.length} pages are not in memory`);
    };
    for (const { from, to, delivery: past, due, holder, terms } of runs) {
      if (from > end) discard(from);
      const first = Math.max(from, end);
      if (to <= first) continue;
      end = to;
      if (holder !== undefined && terms !== undefined) {
        const { slot } = this.claims.get(holder) ?? this.pages.holders.add(holder, terms, PRIORITIES);
        this.pages.assign(priority, first, to, () => standing(HELD + slot, past));
      } else if (past !== 0 || due !== 0) {
        this.pages.assign(priority, first, to, () => (due === 0 ? standing(QUEUED, past) : delayed(past, due)));
      }
    }
    discard(next);
  }

  // -- claiming -------------------------------------------------------------------------------------------------------

  /** The holders. @returns {ReadonlyMap<string, Claims>} */
  get claims() {
    return this.pages.holders.byName;
  }

  /**
   * Moves up to `limit` queued messages to a holder's claims, in the order in which they are to be handed out. A
   * suspect comes alone, and nothing behind it comes earlier.
   * @param {string} holder @param {HolderTerms} terms @param {number} limit @param {number} now milliseconds since 1970
   * @param {PassedOver} [passedOver] what stays where it is
   * @returns {Steps<{taken: LaneRun[], changed: boolean}>} with the delivery state after this hand-out
   */
  *claim(holder, terms, limit, now, passedOver) {
    const { taken, promoted } = yield* firstToClaim(this.pages, limit, now, passedOver);
    this.handOut(holder, terms, taken);
    return { taken, changed: promoted || taken.length > 0 };
  }

  /**
   * Moves to a holder's claims what `firstToClaim` has found.
   * @param {string} holder @param {HolderTerms} terms @param {LaneRun[]} taken
   */
  handOut(holder, terms, taken) {
    if (taken.length === 0) return;
    const { slot } = this.claims.get(holder) ?? this.pages.holders.add(holder, terms, PRIORITIES);
    for (const run of taken)
      this.pages.assign(run.priority, run.from, run.to, () => standing(HELD + slot, run.delivery));
  }

  /**
   * Records that a holder's message is the only one of its batch after all.
   * @param {string} holder @param {Place} place
   */
  markSolo(holder, { priority, sequence }) {
    if (!this.isHeldBy(holder, { priority, sequence })) return;
    this.pages.assign(priority, sequence, sequence + 1, (run) => standing(run.where, delivery.solo(run.delivery)));
  }

  /**
   * Transfers everything that a holder has to another that has nothing yet; false if it has nothing.
   * @param {string} holder @param {string} heir @param {HolderTerms} terms
   */
  bequeath(holder, heir, terms) {
    const claims = this.claims.get(holder);
    if (claims === undefined || this.claims.has(heir)) return false;
    this.pages.holders.rename(claims, heir, terms);
    return true;
  }

  /** A holder's heartbeat. @param {string} holder @returns {boolean} false if it holds nothing */
  beat(holder) {
    const claims = this.claims.get(holder);
    if (claims === undefined) return false;
    claims.beat += 1;
    this.pages.holders.note(claims);
    return true;
  }

  // -- settling -------------------------------------------------------------------------------------------------------

  /** Gives back one message that a holder has, and undoes its hand-out. @param {string} holder @param {Place} place */
  release(holder, place) {
    return this.#giveBack(holder, place, delivery.undelivered);
  }

  /**
   * Gives back one message that a holder has, as failed or with its hand-out undone.
   * @param {string} holder @param {Place} place @param {boolean} failed
   * @param {boolean} hasError whether an error is given
   */
  nack(holder, place, failed, hasError) {
    const change = failed ? delivery.failed : delivery.undelivered;
    return this.#giveBack(holder, place, hasError ? (past) => delivery.withError(change(past)) : change);
  }

  /** Gives back everything that a holder has, and undoes the hand-outs. @param {string} holder */
  releaseAll(holder) {
    return this.#giveAllBack(holder, delivery.undelivered);
  }

  /** Gives back everything that a dead holder had. @param {string} holder */
  recover(holder) {
    return this.#giveAllBack(holder, delivery.abandoned);
  }

  /**
   * Queues delayed messages at their old places.
   * @param {Place[] | undefined} places whose pages are open; undefined for all
   * @param {number} now milliseconds since 1970
   * @returns {Steps<{running: number, queued: number}>} how many delays were still running, and how many messages are
   * queued
   */
  *promote(places, now) {
    const { pages } = this;
    if (places === undefined) {
      const entries = this.lanes.flatMap(({ directory }) => directory.entries.filter(({ due }) => due !== Infinity));
      const lacking = entries.filter(({ isLacking }) => isLacking);
      if (lacking.length > 0) yield lacking;
      let queued = 0;
      let due = 0;
      for (const entry of entries.filter((each) => pages.has(each))) {
        due += pages.promoteDue(entry, now);
        queued += pages.promoteDue(entry, Infinity);
      }
      return { running: queued, queued: queued + due };
    }
    let running = 0;
    let queued = 0;
    for (const { priority, sequence } of places) {
      const run = pages.runOf({ priority, sequence });
      if (run?.where !== DELAYED) continue;
      pages.assign(priority, sequence, sequence + 1, () => standing(QUEUED, run.delivery));
      queued += 1;
      if (run.due > now) running += 1;
    }
    return { running, queued };
  }

  /** Delays a queued message. @param {Place} place @param {number} due milliseconds since 1970 */
  delay({ priority, sequence }, due) {
    if (this.pages.runOf({ priority, sequence })?.where !== QUEUED) return;
    this.pages.assign(priority, sequence, sequence + 1, (run) => delayed(run.delivery, due));
  }

  /**
   * Removes a message, wherever it is.
   * @param {Place} place @returns {number | undefined} its delivery state; undefined if there is no such message
   */
  ack({ priority, sequence }) {
    const found = this.deliveryOf({ priority, sequence });
    if (found !== undefined) this.pages.assign(priority, sequence, sequence + 1, () => undefined);
    return found;
  }

  /** Turns a living message into a dead letter. @param {Place} place @returns {number} the dead letter's number */
  bury({ priority, sequence }) {
    this.pages.assign(priority, sequence, sequence + 1, () => undefined);
    return this.addDeadLetter();
  }

  /** Counts a new dead letter. @returns {number} its number */
  addDeadLetter() {
    this.deadLetters += 1;
    return this.nextDeadLetter++;
  }

  /**
   * Removes all living messages of a lane from `from` to `to` (exclusive).
   * @param {number} priority @param {number} from @param {number} to at most the lane's next number
   * @returns {Steps<number>} how many there were
   */
  *removeBetween(priority, from, to) {
    if (to <= from) return 0;
    const { pages } = this;
    const lane = this.lanes[priority];
    const lacking = pages.lacking(priority, from, to);
    if (lacking.length > 0) yield lacking;
    const before = lane.queued + lane.inflight;
    const { frontier } = lane;
    for (const entry of lane.directory.between(pages.pageOf(from), pages.pageOf(to - 1))) {
      const first = Math.max(from, entry.first * pages.pageNumbers);
      const last = Math.min(to, entry.last * pages.pageNumbers, frontier);
      if (entry.isFresh) pages.removeFresh(priority, first, last);
      else if (first < last) pages.assign(priority, first, last, () => undefined);
    }
    if (to > frontier) {
      pages.advance(priority, Math.max(from, frontier));
      lane.queued -= to - lane.frontier;
      lane.frontier = to;
    }
    return before - lane.queued - lane.inflight;
  }

  /**
   * Removes all queued messages, including delayed ones. What holders have stays.
   * @returns {Steps<{count: number, withErrors: LaneRun[], kept: {priority: number, from: number, to: number}[]}>} how
   * many there were; those of them with an error from a nack in pages that stay; and the numbers of these pages, in
   * order
   */
  *purge() {
    const { pages } = this;
    const kept = this.lanes.map((_, priority) => pages.heldIn(priority));
    const lacking = kept.flat().filter(({ isLacking }) => isLacking);
    if (lacking.length > 0) yield lacking;
    const count = this.queuedCount();
    /** @type {LaneRun[]} */
    const withErrors = [];
    let customIds = 0;
    for (const [priority, lane] of this.lanes.entries()) {
      const staying = new Set(kept[priority].filter((entry) => pages.has(entry)));
      for (const entry of [...lane.directory.entries]) {
        const { page } = entry;
        if (page === undefined || !staying.has(entry)) {
          pages.remove(entry);
          continue;
        }
        for (const run of [...page]) {
          if (run.where >= HELD) {
            if (delivery.hasCustomId(run.delivery)) customIds += run.to - run.from;
            continue;
          }
          page.cut(run.from, run.to);
          if (delivery.hasError(run.delivery)) withErrors.push({ ...run, priority });
        }
        pages.touch(entry);
      }
      lane.frontier = lane.next;
      lane.queued = lane.delayed = 0;
    }
    pages.customIds = customIds;
    const numbers = kept.flat().filter((entry) => pages.has(entry));
    return {
      count,
      withErrors,
      kept: numbers.map((entry) => ({ priority: entry.priority, ...pages.numbersOf(entry) })),
    };
  }

  /**
   * @param {string} holder @param {Place} place @param {(past: number) => number} change
   * @returns {number | undefined} its delivery state; undefined if the holder does not have it
   */
  #giveBack(holder, place, change) {
    if (!this.isHeldBy(holder, place)) return undefined;
    const { priority, sequence } = place;
    const past = change(/** @type {number} */ (this.deliveryOf(place)));
    this.pages.assign(priority, sequence, sequence + 1, () => standing(QUEUED, past));
    return past;
  }

  /**
   * @param {string} holder @param {(past: number) => number} change
   * @returns {Steps<(LaneRun & {before: number})[]>} as they are queued now, and their earlier delivery states
   */
  *#giveAllBack(holder, change) {
    /** @type {(LaneRun & {before: number})[]} */
    const returned = [];
    const entries = this.pages.heldBy(holder);
    const lacking = entries.filter(({ isLacking }) => isLacking);
    if (lacking.length > 0) yield lacking;
    const claims = this.claims.get(holder);
    if (claims === undefined) return returned;
    for (const { page, priority } of entries) {
      for (const run of [...(page ?? [])]) {
        if (run.where !== HELD + claims.slot) continue;
        const past = change(run.delivery);
        this.pages.assign(priority, run.from, run.to, () => standing(QUEUED, past));
        returned.push({ priority, from: run.from, to: run.to, delivery: past, before: run.delivery });
      }
    }
    return returned;
  }
}

/** @param {number[]} numbers */
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
