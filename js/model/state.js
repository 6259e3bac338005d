/**
 * A mailbox's state: which messages wait, and who holds which. Pure data and arithmetic; no storage, no waiting.
 *
 * Each priority is a lane of sequence numbers, given out in commit order. From a lane's frontier on all messages are fresh:
 * queued, never handed out, not delayed, and with an id of the mailbox's own. Before it, a message lives only if its page
 * says so. So the state has two levels: a small head (this), which is written with every change, and pages, of which
 * only those are written that were touched; the few that are busy travel inside the head.
 *
 * What needs a page that is not in memory cannot wait for it here. A method that may need some is a generator: it yields
 * the entries of the pages that it lacks, and goes on when they have been opened. Others rely on `lacking`.
 */

import { HOLDERS, blockIn, directoryOf, layOut } from "./blocks.js";
import { ByteReader, ByteWriter, checksum } from "./bytes.js";
import { Holders } from "./claims.js";
import * as delivery from "./delivery.js";
import { PageDirectory } from "./page-directory.js";
import { DELAYED, HELD, Page, QUEUED } from "./page.js";
import { PassedOver } from "./passed-over.js";
import { ID_BYTES, newIdBase, placeOf } from "./ids.js";
import { Segment } from "./segments.js";

export const PRIORITIES = 2;

/** Lanes in the order in which they are emptied. */
const HIGHEST_FIRST = Array.from({ length: PRIORITIES }, (_, i) => PRIORITIES - 1 - i);

/** How many numbers a page is of. */
const PAGE_NUMBERS = 1024;

/** The largest that either of these can be. */
const LARGEST_PAGE = 2 ** 16;

/** As many as an id can tell apart. */
const MOST_NUMBERS = 2 ** 48;

/** Bytes of pages that travel in the head. */
const PAGES_IN_HEAD = 2048;

/** Bytes of the holders and of the directories that travel in the head; far below what Chromium would put into a file. */
const REST_IN_HEAD = 4096;

/** Pages at most that are kept in memory between two transactions. */
const PAGES_IN_MEMORY = 256;

/** The last moment that Python's clock can tell. */
const LATEST = 253_402_300_799_999;

/** @typedef {import("./types.js").StoredHead} StoredHead */
/** @typedef {import("./types.js").Place} Place */
/** @typedef {import("./types.js").LaneRun} LaneRun */
/** @typedef {import("./types.js").HolderTerms} HolderTerms */
/** @typedef {import("./blocks.js").Block} Block */
/** @typedef {import("./blocks.js").RowChange} RowChange */
/** @typedef {import("./page-directory.js").PageEntry} PageEntry */
/** @typedef {import("./page.js").PageRun} PageRun */
/** @typedef {import("./claims.js").Claims} Claims */

/**
 * A run of messages as an older layout had it; with who holds it, and on which terms, if somebody does.
 * @typedef {{from: number, to: number, delivery: number, due: number, holder?: string, terms?: HolderTerms}} RestoredRun
 */

/** Yields pages that have to be opened before it can go on. @template T @typedef {Generator<PageEntry[], T, void>} Steps */

class Lane {
  /** The number that its next message gets. */
  next = 0;
  /** All from here on are fresh. */
  frontier = 0;
  /** Bytes of its largest segment since it was last empty. */
  largestSegment = 0;
  /** Queued messages, delayed ones included. */
  queued = 0;
  inflight = 0;
  /** @type {Map<number, Block>} */
  blocks = new Map();
  /** Segments that travel in the head, in the order of their numbers. @type {Segment[]} */
  carried = [];

  /** @param {number} priority */
  constructor(priority) {
    this.directory = new PageDirectory(priority);
  }
}

export class MailboxState {
  /** Counts its writes: part of the key that it was written under last, 0 before the first. */
  version = 0;
  /** From this version on the ones before the last are in the store for nobody. */
  base = 1;
  /** Whether its writer may write it without reading it; see `write-lease.js`. */
  right = false;
  /** The context that wrote it last. */
  writer = "";
  /** Of the transaction that wrote it last. */
  commitId = 0;
  idBase = new Uint8Array(ID_BYTES);
  /** Living messages whose id was given by their sender. */
  customIds = 0;
  /** Whether a sender ever gave an id that this mailbox may yet generate. */
  mayCollide = false;
  deadLetters = 0;
  /** The number of the next dead letter. */
  nextDeadLetter = 0;
  lanes = Array.from({ length: PRIORITIES }, (_, priority) => new Lane(priority));

  #holders = new Holders();
  /** As it was last packed. @type {Uint8Array} */
  #head = new Uint8Array();
  /** Pages whose rows are no more. @type {PageEntry[]} */
  #removed = [];
  /** Counts uses of pages. */
  #uses = 0;
  /** Pages that the head holds, or that have changed. @type {Set<PageEntry>} */
  #busy = new Set();
  /** Pages in memory, at most. */
  #opened = 0;

  /** @param {number} number the mailbox's own in its database @param {number} pageNumbers @param {number} pagesInHead bytes */
  constructor(number, pageNumbers, pagesInHead) {
    this.number = number;
    this.pageNumbers = pageNumbers;
    this.pagesInHead = pagesInHead;
  }

  /**
   * @param {number} number the mailbox's own in its database
   * @param {{pageNumbers?: number, pagesInHead?: number}} [sizes] how many numbers a page is of, and bytes of pages in the head
   */
  static create(number, { pageNumbers = PAGE_NUMBERS, pagesInHead = PAGES_IN_HEAD } = {}) {
    const state = new MailboxState(number, pageNumbers, pagesInHead);
    state.idBase = newIdBase();
    return state;
  }

  // -- as it is stored --------------------------------------------------------------------------------------------------

  /** As it was last packed. @returns {StoredHead} */
  toStored() {
    const { number, base, right, writer, commitId } = this;
    return { number, base, right, writer, commitId, head: this.#head };
  }

  /** Packs what has changed. @returns {RowChange[]} what is to be done in the store `pages`, in this order */
  pack() {
    const changes = this.#deletions();
    const pages = [...this.#busy];
    for (const entry of pages) entry.bytes ??= pageIn(entry).encode(entry.first * this.pageNumbers);
    const before = pages.map(({ inHead, hasRow, sum }) => ({ inHead, hasRow, sum }));
    const outside = layOut(pages, this.pagesInHead);
    for (const [i, entry] of pages.entries()) {
      const { inHead, hasRow, sum } = before[i];
      const isTold = entry.inHead === inHead && entry.hasRow === hasRow && (inHead || entry.sum === sum);
      if (!isTold) this.lanes[entry.priority].directory.note(entry);
      if (!entry.inHead) this.#busy.delete(entry);
    }
    /** @type {Block[]} */
    const blocks = [];
    for (const { directory, blocks: ofLane } of this.lanes) {
      for (const number of directory.changed) blockIn(ofLane, directoryOf(directory.priority), number).changed = true;
      directory.changed.clear();
      this.#encode(ofLane, (number) => directory.encode(number), changes, blocks);
    }
    this.#encode(this.#holders.blocks, (number) => this.#holders.encode(number), changes, blocks);
    changes.push(...outside, ...layOut(blocks, REST_IN_HEAD));
    this.#head = this.#packHead(blocks, pages.filter(({ inHead }) => inHead));
    return changes;
  }

  /**
   * A stored head as a state; undefined if it is none. Some of its blocks may have to be read yet, see `absent`.
   * @param {any} stored @param {number} [version] that it is of @returns {MailboxState | undefined}
   */
  static from(stored, version = 0) {
    const { number, base, right, writer, commitId, head } = stored ?? {};
    if (!isCount(number) || !(head instanceof Uint8Array)) return undefined;
    try {
      const state = MailboxState.#unpackHead(number, head);
      state.#head = head;
      state.version = version;
      // what is not known to be nobody's stays
      state.base = isCount(base) && base <= version + 1 ? base : version + 1;
      state.right = right === true;
      state.writer = typeof writer === "string" ? writer : "";
      state.commitId = typeof commitId === "number" ? commitId : 0;
      return state.absent.length > 0 || state.#complete() ? state : undefined;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return undefined;
    }
  }

  /** Blocks without which nothing can be done, and that lie in rows of their own. @returns {Block[]} */
  get absent() {
    return this.#blocks().filter(({ bytes }) => bytes === undefined);
  }

  /** Takes the rows of the blocks that are absent. @param {unknown[]} rows in their order @returns {boolean} false if they are none */
  fill(rows) {
    for (const [i, block] of this.absent.entries()) {
      const bytes = rows[i];
      if (!(bytes instanceof Uint8Array) || !block.isRow(bytes)) return false;
      block.bytes = block.row = bytes.slice();
    }
    return this.#complete();
  }

  /** Opens a page with what its row says. @param {PageEntry} entry @param {unknown} row @returns {boolean} false if it is not what was written */
  open(entry, row) {
    if (!entry.isLacking) return true;
    if (!(row instanceof Uint8Array) || !entry.isRow(row) || !this.#openPage(entry, row)) return false;
    entry.row = entry.bytes;
    return true;
  }

  /** Lets pages go that are in memory, but for those last used. */
  trim() {
    if (this.#opened <= 2 * PAGES_IN_MEMORY) return;
    const kept = this.lanes.flatMap(({ directory }) => directory.entries.filter((entry) => entry.page !== undefined && !this.#busy.has(entry)));
    kept.sort((a, b) => b.touched - a.touched);
    for (const entry of kept.slice(PAGES_IN_MEMORY)) entry.page = entry.bytes = entry.row = undefined;
    this.#opened = PAGES_IN_MEMORY;
  }

  // -- counting ---------------------------------------------------------------------------------------------------------

  /** Queued messages by priority, delayed ones included. */
  queuedByPriority() {
    return this.lanes.map(({ queued }) => queued);
  }

  /** How many messages ever came into the queue: enqueued, sent, or redriven. */
  everQueued() {
    return sum(this.lanes.map(({ next }) => next));
  }

  queuedCount() {
    return sum(this.queuedByPriority());
  }

  inflightCount() {
    return sum(this.lanes.map(({ inflight }) => inflight));
  }

  /** When the first delayed message is due, milliseconds since 1970; Infinity for none. */
  get nextDue() {
    return Math.min(...this.lanes.map(({ directory }) => directory.due));
  }

  /** Who holds something. @returns {ReadonlyMap<string, Claims>} */
  get claims() {
    return this.#holders.byName;
  }

  /** Whether anything can be claimed. @param {number} now milliseconds since 1970 */
  isReady(now) {
    return this.lanes.some(({ next, frontier, directory }) => frontier < next || directory.claimable(0, now, 1).length > 0);
  }

  /** Makes all that a holder has another's, who has nothing yet; false if it has nothing. @param {string} holder @param {string} heir @param {HolderTerms} terms */
  bequeath(holder, heir, terms) {
    const claims = this.claims.get(holder);
    if (claims === undefined || this.claims.has(heir)) return false;
    this.#holders.rename(claims, heir, terms);
    return true;
  }

  /** A sign of life of a holder's. @param {string} holder @returns {boolean} false if it holds nothing */
  beat(holder) {
    const claims = this.claims.get(holder);
    if (claims === undefined) return false;
    claims.beat += 1;
    this.#holders.note(claims);
    return true;
  }

  // -- pages ------------------------------------------------------------------------------------------------------------

  /**
   * The pages that have to be opened before the messages of a lane from `from` to `to` (exclusive) can be looked at or changed.
   * @param {number} priority @param {number} from @param {number} to @returns {PageEntry[]}
   */
  lacking(priority, from, to) {
    const lane = this.lanes[priority];
    if (lane === undefined || to <= from || lane.directory.entries.length === 0) return [];
    const last = this.#pageOf(to - 1);
    const found = lane.directory.between(this.#pageOf(from), last).filter(({ isLacking }) => isLacking);
    // what is beyond the frontier takes it along, and with it the page that the frontier is in
    const border = to > lane.frontier && last !== this.#pageOf(lane.frontier) ? lane.directory.find(this.#pageOf(lane.frontier)) : undefined;
    if (border?.isLacking && !found.includes(border)) found.push(border);
    return found;
  }

  /** The pages that have to be opened before anything can be appended. */
  lackingToAppend() {
    return this.lanes.flatMap(({ next }, priority) => this.lacking(priority, next, next + 1));
  }

  /** All pages that are not in memory. */
  allLacking() {
    return this.lanes.flatMap(({ directory }) => directory.entries.filter(({ isLacking }) => isLacking));
  }

  /** Whether a page is still one of the mailbox's. @param {PageEntry} entry */
  hasPage(entry) {
    return this.lanes[entry.priority].directory.find(entry.first) === entry;
  }

  /** The numbers of a page, as far as any of them may live by it. @param {PageEntry} entry */
  numbersOf({ priority, first }) {
    return { from: first * this.pageNumbers, to: Math.min((first + 1) * this.pageNumbers, this.lanes[priority].frontier) };
  }

  /** Forgets a page that cannot be read, with all that it said; the counts are wrong until `recount`. @param {PageEntry} entry */
  forgetPage(entry) {
    this.#removePage(entry);
  }

  /** Counts anew; all pages must be in memory. */
  recount() {
    this.customIds = 0;
    for (const claims of this.claims.values()) {
      claims.count = 0;
      for (const pages of claims.pages) pages.clear();
      this.#holders.note(claims);
    }
    for (const [priority, lane] of this.lanes.entries()) {
      lane.queued = lane.next - lane.frontier;
      lane.inflight = 0;
      for (const { page, first, last } of lane.directory.entries) {
        if (page === undefined) lane.queued += (last - first) * this.pageNumbers;
        for (const run of page ?? []) this.#count(priority, run, 1);
        for (const slot of page?.held.keys() ?? []) this.#holders.at(slot)?.pages[priority].add(first);
      }
    }
    for (const claims of [...this.claims.values()]) if (claims.count === 0) this.#holders.remove(claims);
  }

  // -- moving -----------------------------------------------------------------------------------------------------------

  /**
   * Appends a message to its lane; see `lackingToAppend` unless it is a fresh one.
   * @param {number} priority @param {boolean} custom whether its sender gave its id @param {number} due milliseconds since 1970, 0 for at once
   * @param {number} [past] its delivery state
   * @returns {number} its sequence number
   */
  append(priority, custom, due, past = delivery.fresh(custom)) {
    const lane = this.lanes[priority];
    if (lane.queued + lane.inflight === 0) lane.largestSegment = 0;
    const from = lane.next;
    lane.next += 1;
    lane.queued += 1;
    if (past === 0 && due === 0) return from;
    this.#assign(priority, from, from + 1, () => (due === 0 ? standing(QUEUED, past) : delayed(past, due)));
    return from;
  }

  /**
   * Fills a lane that is empty yet.
   * @param {number} priority @param {number} next the number that its next message gets @param {number} largestSegment
   * @param {RestoredRun[]} runs in order; what is in several counts as in the first
   */
  restore(priority, next, largestSegment, runs) {
    const lane = this.lanes[priority];
    Object.assign(lane, { next, largestSegment, queued: next });
    let end = 0;
    const discard = (/** @type {number} */ to) => {
      for (const step of this.removeBetween(priority, end, to)) throw new Error(`${step.length} pages are not in memory`);
    };
    for (const { from, to, delivery: past, due, holder, terms } of runs) {
      if (from > end) discard(from);
      const first = Math.max(from, end);
      if (to <= first) continue;
      end = to;
      if (holder !== undefined && terms !== undefined) {
        const { slot } = this.claims.get(holder) ?? this.#holders.add(holder, terms, PRIORITIES);
        this.#assign(priority, first, to, () => standing(HELD + slot, past));
      } else if (past !== 0 || due !== 0) {
        this.#assign(priority, first, to, () => (due === 0 ? standing(QUEUED, past) : delayed(past, due)));
      }
    }
    discard(next);
  }

  /** Passes over a lane's next number; see `lackingToAppend`. @param {number} priority */
  skip(priority) {
    const lane = this.lanes[priority];
    this.#advance(priority, lane.next);
    lane.next += 1;
    lane.frontier = lane.next;
  }

  /** Takes note of an id that a sender gave. @param {Uint8Array} id */
  noteGivenId(id) {
    const place = placeOf(id, this.idBase);
    if (place !== undefined && place.sequence >= (this.lanes[place.priority]?.next ?? Infinity)) this.mayCollide = true;
  }

  /**
   * Moves up to `limit` queued messages to a holder's claims, in the order in which they are to be handed out. A suspect
   * comes alone, and nothing that is behind it comes before it.
   * @param {string} holder @param {HolderTerms} terms @param {number} limit @param {number} now milliseconds since 1970
   * @param {PassedOver} [passedOver] what stays where it is
   * @returns {Steps<{taken: LaneRun[], changed: boolean}>} with the delivery state after this hand-out
   */
  *claim(holder, terms, limit, now, passedOver) {
    const { taken, promoted } = yield* this.firstToClaim(limit, now, passedOver);
    if (taken.length === 0) return { taken, changed: promoted };
    const alone = taken.length === 1 && taken[0].to - taken[0].from === 1;
    const claims = this.claims.get(holder) ?? this.#holders.add(holder, terms, PRIORITIES);
    for (const run of taken) {
      run.delivery = delivery.handedOut(run.delivery, alone);
      this.#assign(run.priority, run.from, run.to, () => standing(HELD + claims.slot, run.delivery));
    }
    return { taken, changed: true };
  }

  /** Takes note that a message of a holder's is the only one of its batch after all. @param {string} holder @param {Place} place */
  markSolo(holder, { priority, sequence }) {
    if (!this.isHeldBy(holder, { priority, sequence })) return;
    this.#assign(priority, sequence, sequence + 1, (run) => standing(run.where, delivery.solo(run.delivery)));
  }

  /** Whether a holder has a message. @param {string} holder @param {Place} place */
  isHeldBy(holder, place) {
    const claims = this.claims.get(holder);
    return claims !== undefined && this.runOf(place)?.where === HELD + claims.slot;
  }

  /** Gives one message of a holder's back, its hand-out undone. @param {string} holder @param {Place} place */
  release(holder, place) {
    return this.#giveBack(holder, place, delivery.undelivered);
  }

  /** Gives one message of a holder's back as failed. @param {string} holder @param {Place} place */
  fail(holder, place) {
    return this.#giveBack(holder, place, delivery.failed);
  }

  /** Gives back all that a holder has, the hand-outs undone. @param {string} holder */
  releaseAll(holder) {
    return this.#giveAllBack(holder, delivery.undelivered);
  }

  /** Gives back all that a dead holder had. @param {string} holder */
  recover(holder) {
    return this.#giveAllBack(holder, delivery.abandoned);
  }

  /** Puts a queued message off. @param {Place} place @param {number} due milliseconds since 1970 */
  delay({ priority, sequence }, due) {
    if (this.runOf({ priority, sequence })?.where !== QUEUED) return;
    this.#assign(priority, sequence, sequence + 1, (run) => delayed(run.delivery, due));
  }

  /**
   * Removes a message, wherever it is.
   * @param {Place} place @returns {number | undefined} its delivery state; undefined if there is no such message
   */
  remove({ priority, sequence }) {
    const found = this.deliveryOf({ priority, sequence });
    if (found !== undefined) this.#assign(priority, sequence, sequence + 1, () => undefined);
    return found;
  }

  /**
   * Removes all living messages of a lane from `from` to `to` (exclusive).
   * @param {number} priority @param {number} from @param {number} to at most the lane's next number
   * @returns {Steps<number>} how many there were
   */
  *removeBetween(priority, from, to) {
    if (to <= from) return 0;
    const lane = this.lanes[priority];
    const lacking = this.lacking(priority, from, to);
    if (lacking.length > 0) yield lacking;
    const before = lane.queued + lane.inflight;
    const { frontier } = lane;
    for (const entry of lane.directory.between(this.#pageOf(from), this.#pageOf(to - 1))) {
      const first = Math.max(from, entry.first * this.pageNumbers);
      const last = Math.min(to, entry.last * this.pageNumbers, frontier);
      if (entry.isFresh) this.#removeFresh(priority, first, last);
      else if (first < last) this.#assign(priority, first, last, () => undefined);
    }
    if (to > frontier) {
      this.#advance(priority, Math.max(from, frontier));
      lane.queued -= to - lane.frontier;
      lane.frontier = to;
    }
    return before - lane.queued - lane.inflight;
  }

  /**
   * Removes all queued messages, delayed ones too. What holders have stays.
   * @returns {Steps<{count: number, failed: LaneRun[], kept: {priority: number, from: number, to: number}[]}>} how many there were;
   * those whose deliveries had failed, in pages that stay; and the numbers of these pages, in order
   */
  *removeQueued() {
    const kept = this.lanes.map((_, priority) => this.#pagesHeld(priority));
    const lacking = kept.flat().filter(({ isLacking }) => isLacking);
    if (lacking.length > 0) yield lacking;
    const count = this.queuedCount();
    /** @type {LaneRun[]} */
    const failed = [];
    let customIds = 0;
    for (const [priority, lane] of this.lanes.entries()) {
      const staying = new Set(kept[priority].filter((entry) => this.hasPage(entry)));
      for (const entry of [...lane.directory.entries]) {
        const { page } = entry;
        if (page === undefined || !staying.has(entry)) {
          this.#removePage(entry);
          continue;
        }
        for (const run of [...page]) {
          if (run.where >= HELD) {
            if (delivery.hasCustomId(run.delivery)) customIds += run.to - run.from;
            continue;
          }
          page.cut(run.from, run.to);
          if (delivery.failures(run.delivery) > 0) failed.push({ ...run, priority });
        }
        this.#touch(entry);
      }
      lane.frontier = lane.next;
      lane.queued = 0;
    }
    this.customIds = customIds;
    const numbers = kept.flat().filter((entry) => this.hasPage(entry));
    return { count, failed, kept: numbers.map((entry) => ({ priority: entry.priority, ...this.numbersOf(entry) })) };
  }

  // -- segments in the head ---------------------------------------------------------------------------------------------

  /** Bytes of the segments that travel in the head. */
  get carriedBytes() {
    return sum(this.lanes.map(({ carried }) => sum(carried.map(({ bytes }) => bytes.length))));
  }

  /** Lets a segment travel in the head; of its lane it is the last. @param {number} priority @param {Segment} segment */
  carry(priority, segment) {
    this.lanes[priority].carried.push(segment);
  }

  /** The segment in the head that holds a message, dead or alive. @param {number} priority @param {number} sequence */
  carriedSegment(priority, sequence) {
    return this.lanes[priority]?.carried.find(({ first, last }) => first <= sequence && sequence <= last);
  }

  /** The first number from a number on whose message is in no segment in the head. @param {number} priority @param {number} from */
  firstNotCarried(priority, from) {
    for (const { first, last } of this.lanes[priority].carried) if (first <= from && from <= last) from = last + 1;
    return from;
  }

  /** Drops the segments in the head whose last number is in `from` to `to` (exclusive). @param {number} priority @param {number} from @param {number} to */
  dropCarried(priority, from, to) {
    const lane = this.lanes[priority];
    if (lane.carried.length > 0) lane.carried = lane.carried.filter(({ last }) => last < from || last >= to);
  }

  /** Takes all segments out of the head. @returns {Segment[][]} by lane */
  unload() {
    return this.lanes.map((lane) => {
      const { carried } = lane;
      lane.carried = [];
      return carried;
    });
  }

  // -- looking ----------------------------------------------------------------------------------------------------------

  /** What a message's page says of it; undefined if it is dead or never was. @param {Place} place @returns {PageRun | undefined} */
  runOf({ priority, sequence }) {
    const lane = this.lanes[priority];
    if (lane === undefined || !(sequence < lane.next)) return undefined;
    if (sequence >= lane.frontier) return { from: sequence, to: lane.next, ...standing(QUEUED, 0) };
    const entry = lane.directory.find(this.#pageOf(sequence));
    if (entry === undefined) return undefined;
    if (entry.isFresh) return { from: sequence, to: entry.last * this.pageNumbers, ...standing(QUEUED, 0) };
    return pageIn(entry).runOf(sequence);
  }

  /** A message's delivery state wherever it is; undefined if it is dead or never was. @param {Place} place */
  deliveryOf(place) {
    return this.runOf(place)?.delivery;
  }

  /** Whether any message of a lane from `from` to `to` (exclusive) lives. @param {number} priority @param {number} from @param {number} to */
  hasLiving(priority, from, to) {
    const { next, frontier, directory } = this.lanes[priority];
    if (from >= to) return false;
    if (Math.max(from, frontier) < Math.min(to, next)) return true;
    return directory
      .between(this.#pageOf(from), this.#pageOf(to - 1))
      .some((entry) => entry.isFresh || pageIn(entry).intersects(from, to));
  }

  /** The place that an own id names; undefined if there never was a message. @param {Uint8Array} id */
  ownPlaceOf(id) {
    const place = placeOf(id, this.idBase);
    return place !== undefined && place.sequence < (this.lanes[place.priority]?.next ?? 0) ? place : undefined;
  }

  /** The place of a living message that an own id names, unless it is known by another name. @param {Uint8Array} id */
  livingPlaceOf(id) {
    const place = this.ownPlaceOf(id);
    const found = place && this.deliveryOf(place);
    return found === undefined || delivery.hasCustomId(found) ? undefined : place;
  }

  /** Up to `limit` queued messages in the order in which they would be handed out; of delayed ones those that are due. @param {number} limit @param {number} now @param {PassedOver} [passedOver] @returns {Steps<LaneRun[]>} */
  *firstQueued(limit, now, passedOver) {
    const first = new Collected(limit, passedOver);
    for (const priority of HIGHEST_FIRST) {
      const { directory, frontier, next } = this.lanes[priority];
      for (const entry of directory.entries) {
        if (first.isFull) return first.runs;
        if (!entry.queued && entry.due > now) continue;
        if (entry.isFresh) first.add({ priority, ...this.#freshRun(entry) });
        if (entry.isLacking) yield [entry];
        for (const run of entry.page ?? []) {
          if (run.where === QUEUED || (run.where === DELAYED && run.due <= now)) first.add({ ...run, priority });
        }
      }
      if (frontier < next) first.add({ priority, from: frontier, to: next, delivery: 0 });
    }
    return first.runs;
  }

  /** Up to `limit` delayed messages that are not yet due, by their due times. @param {number} limit @param {number} now @param {PassedOver} [passedOver] @returns {Steps<LaneRun[]>} */
  *firstDelayed(limit, now, passedOver) {
    const first = new Collected(limit, passedOver);
    const entries = this.lanes.flatMap(({ directory }) => directory.entries).filter(({ due }) => due !== Infinity);
    entries.sort((a, b) => a.due - b.due);
    /** @type {(LaneRun & {due: number})[]} */
    let found = [];
    for (let i = 0; i < entries.length && !first.isFull; ) {
      // what is due before the next page's first can be told without it
      const { due } = entries[i];
      for (; i < entries.length && entries[i].due === due; i++) {
        const { priority } = entries[i];
        if (entries[i].isLacking) yield [entries[i]];
        for (const run of entries[i].page ?? []) if (run.where === DELAYED && run.due > now) found.push({ ...run, priority });
      }
      const until = entries[i]?.due ?? Infinity;
      const sure = found.filter((run) => run.due < until);
      found = found.filter((run) => run.due >= until);
      sure.sort((a, b) => a.due - b.due || a.priority - b.priority || a.from - b.from);
      for (const run of sure) first.add(run);
    }
    return first.runs;
  }

  /** Up to `limit` inflight messages, in the order of the queue. @param {number} limit @param {PassedOver} [passedOver] @returns {Steps<LaneRun[]>} */
  *firstInflight(limit, passedOver) {
    const first = new Collected(limit, passedOver);
    for (const priority of HIGHEST_FIRST) {
      for (const entry of this.#pagesHeld(priority)) {
        if (first.isFull) return first.runs;
        if (entry.isLacking) yield [entry];
        for (const run of entry.page ?? []) if (run.where >= HELD) first.add({ ...run, priority });
      }
    }
    return first.runs;
  }

  /**
   * The first `limit` living messages of a lane from `from` to `until` (exclusive), wherever they are.
   * @param {number} priority @param {number} from @param {number} until @param {number} limit
   * @returns {Steps<(LaneRun & {where: number, due: number})[]>}
   */
  *livingBetween(priority, from, until, limit) {
    const first = new Collected(limit);
    if (until <= from) return [];
    const { directory, frontier, next } = this.lanes[priority];
    for (const entry of directory.between(this.#pageOf(from), this.#pageOf(until - 1))) {
      if (first.isFull) break;
      if (entry.isLacking) yield [entry];
      const runs = entry.isFresh ? [{ ...this.#freshRun(entry), ...standing(QUEUED, 0) }] : (entry.page ?? []);
      for (const run of runs) first.add({ ...run, priority, from: Math.max(run.from, from), to: Math.min(run.to, until) });
    }
    first.add({ priority, from: Math.max(from, frontier), to: Math.min(until, next), ...standing(QUEUED, 0) });
    return /** @type {(LaneRun & {where: number, due: number})[]} */ (first.runs);
  }

  // -- inside: messages -------------------------------------------------------------------------------------------------

  /** What `claim` would take. @param {number} limit @param {number} now @param {PassedOver} [passedOver] @returns {Steps<{taken: LaneRun[], promoted: boolean}>} nothing is taken yet, but the due ones of the pages that were looked at are queued */
  *firstToClaim(limit, now, passedOver = new PassedOver()) {
    const taken = new Collected(limit, passedOver);
    let promoted = false;
    for (const priority of HIGHEST_FIRST) {
      const { directory, frontier, next } = this.lanes[priority];
      for (let at = 0; ; ) {
        if (taken.isFull) return { taken: taken.runs, promoted };
        const ahead = directory.claimable(at, now, 1 + Math.floor(taken.left / this.pageNumbers));
        if (ahead.length === 0) break;
        const lacking = ahead.filter(({ isLacking }) => isLacking);
        if (lacking.length > 0) {
          yield lacking;
          // one that could not be read is there no more
          continue;
        }
        const [entry] = ahead;
        at = entry.last;
        if (entry.isFresh) {
          taken.add({ priority, ...this.#freshRun(entry) });
          continue;
        }
        const page = pageIn(entry);
        if (page.promoteDue(now)) {
          promoted = true;
          this.#touch(entry);
        }
        for (const run of page) {
          if (run.where !== QUEUED || taken.isFull) continue;
          if (delivery.isSuspect(run.delivery)) {
            const [next] = passedOver.without({ ...run, priority });
            if (next === undefined) continue;
            if (taken.runs.length === 0) taken.add({ ...next, to: next.from + 1 });
            return { taken: taken.runs, promoted };
          }
          taken.add({ priority, from: run.from, to: run.to, delivery: run.delivery });
        }
      }
      if (frontier < next) {
        const to = Math.min(next, frontier + taken.left + passedOver.countFrom(priority, frontier));
        if (this.lacking(priority, frontier, to).length > 0) yield this.lacking(priority, frontier, to);
        taken.add({ priority, from: frontier, to, delivery: 0 });
      }
    }
    return { taken: taken.runs, promoted };
  }

  /** @param {string} holder @param {Place} place @param {(past: number) => number} change */
  #giveBack(holder, place, change) {
    if (!this.isHeldBy(holder, place)) return undefined;
    const { priority, sequence } = place;
    const past = change(/** @type {number} */ (this.deliveryOf(place)));
    this.#assign(priority, sequence, sequence + 1, () => standing(QUEUED, past));
    return past;
  }

  /** @param {string} holder @param {(past: number) => number} change @returns {Steps<(LaneRun & {before: number})[]>} as they are queued now, and their delivery states before */
  *#giveAllBack(holder, change) {
    /** @type {(LaneRun & {before: number})[]} */
    const returned = [];
    const entries = this.#pagesOf(holder);
    const lacking = entries.filter(({ isLacking }) => isLacking);
    if (lacking.length > 0) yield lacking;
    const claims = this.claims.get(holder);
    if (claims === undefined) return returned;
    for (const { page, priority } of entries) {
      for (const run of [...(page ?? [])]) {
        if (run.where !== HELD + claims.slot) continue;
        const past = change(run.delivery);
        this.#assign(priority, run.from, run.to, () => standing(QUEUED, past));
        returned.push({ priority, from: run.from, to: run.to, delivery: past, before: run.delivery });
      }
    }
    return returned;
  }

  /** The pages in which a holder has something. @param {string} holder */
  #pagesOf(holder) {
    const pages = this.claims.get(holder)?.pages ?? [];
    return pages.flatMap((numbers, priority) => this.#entriesOf(priority, numbers));
  }

  /** The pages of a lane in which anybody has something. @param {number} priority */
  #pagesHeld(priority) {
    const numbers = new Set([...this.claims.values()].flatMap(({ pages }) => [...pages[priority]]));
    return this.#entriesOf(priority, numbers);
  }

  /** @param {number} priority @param {Iterable<number>} numbers */
  #entriesOf(priority, numbers) {
    const { directory } = this.lanes[priority];
    return [...numbers].sort((a, b) => a - b).flatMap((number) => directory.find(number) ?? []);
  }

  // -- inside: changes --------------------------------------------------------------------------------------------------

  /**
   * The one way in which messages move: those of a lane from `from` to `to` (exclusive) that live, to where they are to be.
   * @param {number} priority @param {number} from @param {number} to
   * @param {(run: PageRun) => ({where: number, delivery: number, due: number} | undefined)} change undefined to remove them
   */
  #assign(priority, from, to, change) {
    const lane = this.lanes[priority];
    if (to > lane.frontier) this.#advance(priority, to);
    for (let number = this.#pageOf(from); number <= this.#pageOf(to - 1); number++) {
      const entry = this.#ownPage(priority, number);
      if (entry === undefined) continue;
      const page = pageIn(entry);
      /** @type {Set<number>} */
      const slots = new Set();
      for (const run of page.cut(Math.max(from, number * this.pageNumbers), Math.min(to, (number + 1) * this.pageNumbers))) {
        this.#count(priority, run, -1);
        if (run.where >= HELD) slots.add(run.where - HELD);
        const changed = change(run);
        if (changed === undefined) continue;
        const moved = { from: run.from, to: run.to, ...changed };
        page.put(moved);
        this.#count(priority, moved, 1);
        if (moved.where >= HELD) slots.add(moved.where - HELD);
      }
      for (const slot of slots) this.#noteHeld(priority, number, slot, page.held.has(slot));
      this.#touch(entry);
    }
  }

  /** Takes note of whether a holder has something in a page. @param {number} priority @param {number} number @param {number} slot @param {boolean} isHeld */
  #noteHeld(priority, number, slot, isHeld) {
    const claims = /** @type {Claims} */ (this.#holders.at(slot));
    if (isHeld) claims.pages[priority].add(number);
    else claims.pages[priority].delete(number);
    if (claims.count === 0) this.#holders.remove(claims);
    else this.#holders.note(claims);
  }

  /** @param {number} priority @param {PageRun} run @param {1 | -1} sign */
  #count(priority, run, sign) {
    const lane = this.lanes[priority];
    const count = sign * (run.to - run.from);
    if (delivery.hasCustomId(run.delivery)) this.customIds += count;
    if (run.where < HELD) {
      lane.queued += count;
      return;
    }
    lane.inflight += count;
    /** @type {Claims} */ (this.#holders.at(run.where - HELD)).count += count;
  }

  /** Moves a lane's frontier on: what was fresh beyond it is in pages from now on. @param {number} priority @param {number} to at most the lane's next number */
  #advance(priority, to) {
    const lane = this.lanes[priority];
    const size = this.pageNumbers;
    for (let from = lane.frontier; from < to; ) {
      const number = this.#pageOf(from);
      if (from === number * size && to - from >= size) {
        const last = this.#pageOf(to);
        lane.directory.addFresh(number, last);
        from = last * size;
        continue;
      }
      const end = Math.min(to, (number + 1) * size);
      const entry = lane.directory.find(number) ?? lane.directory.add(number, new Page());
      pageIn(entry).put({ from, to: end, ...standing(QUEUED, 0) });
      this.#touch(entry);
      from = end;
    }
    lane.frontier = Math.max(lane.frontier, to);
  }

  /** The entry of a page, one of its own if it was fresh; undefined if there is none. @param {number} priority @param {number} number */
  #ownPage(priority, number) {
    const { directory } = this.lanes[priority];
    const entry = directory.find(number);
    if (!entry?.isFresh) return entry;
    const page = new Page();
    page.put({ from: number * this.pageNumbers, to: (number + 1) * this.pageNumbers, ...standing(QUEUED, 0) });
    const own = directory.take(number, page);
    this.#touch(own);
    return own;
  }

  /** @param {number} priority @param {number} from @param {number} to */
  #removeFresh(priority, from, to) {
    for (let number = this.#pageOf(from); number <= this.#pageOf(to - 1); number++) {
      const first = Math.max(from, number * this.pageNumbers);
      this.#assign(priority, first, Math.min(to, (number + 1) * this.pageNumbers), () => undefined);
    }
  }

  /** To be called when a page was changed. @param {PageEntry} entry */
  #touch(entry) {
    entry.changed = true;
    entry.bytes = undefined;
    entry.touched = ++this.#uses;
    if (!this.#busy.has(entry)) {
      this.#busy.add(entry);
      this.#opened += 1;
    }
    if (pageIn(entry).isEmpty) this.#removePage(entry);
    else this.lanes[entry.priority].directory.refresh(entry);
  }

  /** @param {PageEntry} entry */
  #removePage(entry) {
    if (entry.hasRow) this.#removed.push(entry);
    this.#busy.delete(entry);
    this.lanes[entry.priority].directory.remove(entry);
  }

  /** @param {PageEntry} entry */
  #freshRun({ first, last }) {
    return { from: first * this.pageNumbers, to: last * this.pageNumbers, delivery: 0 };
  }

  /** @param {number} sequence */
  #pageOf(sequence) {
    return Math.floor(sequence / this.pageNumbers);
  }

  // -- inside: storing --------------------------------------------------------------------------------------------------

  /** Rows of pages that are no more, neighbours together. @returns {RowChange[]} */
  #deletions() {
    /** @type {RowChange[]} */
    const changes = [];
    for (const { priority, first, row } of this.#removed.sort((a, b) => a.priority - b.priority || a.first - b.first)) {
      const last = changes.at(-1);
      const joins = row === undefined && last?.before === undefined && last?.key[0] === priority && last.to === first - 1;
      if (joins) last.to = first;
      else changes.push({ key: [priority, first], to: first, bytes: undefined, before: row });
    }
    this.#removed = [];
    return changes;
  }

  /**
   * Encodes the blocks that have changed.
   * @param {Map<number, Block>} blocks @param {(number: number) => Uint8Array<ArrayBuffer> | undefined} encode
   * @param {RowChange[]} changes where rows that are no more are added @param {Block[]} into where the blocks are added
   */
  #encode(blocks, encode, changes, into) {
    for (const [number, block] of blocks) {
      if (block.changed) block.bytes = encode(number);
      if (block.bytes !== undefined) {
        into.push(block);
        if (block.changed) block.touched = ++this.#uses;
      } else {
        if (block.hasRow) changes.push({ key: [block.kind, number], to: number, bytes: undefined, before: block.row });
        blocks.delete(number);
      }
    }
  }

  #blocks() {
    return [...this.lanes.flatMap(({ blocks }) => [...blocks.values()]), ...this.#holders.blocks.values()];
  }

  /** @param {Block[]} blocks @param {PageEntry[]} pages in the head */
  #packHead(blocks, pages) {
    const writer = new ByteWriter();
    writer.number(this.pageNumbers);
    writer.number(this.pagesInHead);
    writer.raw(this.idBase);
    writer.number(this.mayCollide ? 1 : 0);
    writer.number(this.customIds);
    writer.number(this.deadLetters);
    writer.number(this.nextDeadLetter);
    for (const { next, frontier, largestSegment, queued, inflight } of this.lanes) {
      for (const number of [next, frontier, largestSegment, queued, inflight]) writer.number(number);
    }
    writer.number(blocks.length);
    for (const block of blocks) {
      writer.number(-block.kind);
      writer.number(block.number);
      writer.number((block.inHead ? 1 : 0) + (block.hasRow ? 2 : 0));
      if (block.inHead) writer.sized(/** @type {Uint8Array} */ (block.bytes));
      else writer.uint32(block.sum);
    }
    // the last one that was used comes first
    for (const { priority, first, bytes } of pages.sort((a, b) => b.touched - a.touched)) {
      writer.number(priority);
      writer.number(first);
      writer.sized(/** @type {Uint8Array} */ (bytes));
    }
    for (const [priority, { carried }] of this.lanes.entries()) {
      for (const { first, bytes } of carried) {
        writer.number(PRIORITIES + priority);
        writer.number(first);
        writer.sized(bytes);
      }
    }
    const packed = writer.toBytes();
    const head = new Uint8Array(SUM_BYTES + packed.length);
    new DataView(head.buffer).setUint32(0, checksum(packed, this.number), true);
    head.set(packed, SUM_BYTES);
    return head;
  }

  /** @param {number} number @param {Uint8Array} head @throws {RangeError} */
  static #unpackHead(number, head) {
    const packed = head.subarray(SUM_BYTES);
    if (head.length < SUM_BYTES || new ByteReader(head).uint32() !== checksum(packed, number)) throw new RangeError("this is no head");
    const reader = new ByteReader(packed);
    const state = new MailboxState(number, reader.number(LARGEST_PAGE), reader.number(LARGEST_PAGE));
    if (state.pageNumbers === 0) throw new RangeError("a page is of no numbers");
    state.idBase = reader.raw(ID_BYTES);
    state.mayCollide = reader.number(1) === 1;
    state.customIds = reader.number();
    state.deadLetters = reader.number();
    state.nextDeadLetter = reader.number();
    for (const lane of state.lanes) {
      lane.next = reader.number(MOST_NUMBERS);
      lane.frontier = reader.number(lane.next);
      lane.largestSegment = reader.number();
      lane.queued = reader.number();
      lane.inflight = reader.number();
    }
    for (let count = reader.number(); count > 0; count--) {
      const kind = -reader.number();
      const at = reader.number();
      const flags = reader.number(3);
      const priority = directoryOf(0) - kind;
      const block = blockIn(kind === HOLDERS ? state.#holders.blocks : state.#lane(priority).blocks, kind, at);
      block.inHead = (flags & 1) !== 0;
      block.hasRow = (flags & 2) !== 0;
      if (block.inHead) block.bytes = reader.sized();
      else block.sum = reader.uint32();
    }
    while (!reader.isAtEnd) {
      const [priority, first, bytes] = [reader.number(), reader.number(), reader.sized()];
      if (priority < PRIORITIES) state.#inHead.push({ priority, first, bytes });
      else state.#lane(priority - PRIORITIES).carried.push(segmentIn(bytes, first));
    }
    return state;
  }

  /** Pages that came with the head, until they are opened. @type {{priority: number, first: number, bytes: Uint8Array<ArrayBuffer>}[]} */
  #inHead = [];

  /** @param {number} priority */
  #lane(priority) {
    const lane = this.lanes[priority];
    if (lane === undefined) throw new RangeError("there is no such lane");
    return lane;
  }

  /** Takes apart what the blocks say, once all are here. @returns {boolean} false if they are none */
  #complete() {
    try {
      const limit = Math.max(...this.lanes.map(({ frontier }) => Math.ceil(frontier / this.pageNumbers)));
      for (const [number, { bytes }] of sorted(this.#holders.blocks)) {
        this.#holders.decode(number, new ByteReader(/** @type {Uint8Array} */ (bytes)), PRIORITIES, limit);
      }
      for (const { directory, blocks, frontier } of this.lanes) {
        const pages = Math.ceil(frontier / this.pageNumbers);
        for (const [number, { bytes }] of sorted(blocks)) directory.decode(number, new ByteReader(/** @type {Uint8Array} */ (bytes)), pages);
        const last = directory.entries.at(-1);
        if (last?.isFresh && last.last * this.pageNumbers > frontier) throw new RangeError("what is fresh is beyond the frontier");
      }
      for (const [i, { priority, first, bytes }] of this.#inHead.entries()) {
        const entry = this.#lane(priority).directory.find(first);
        if (!entry?.inHead || !entry.isLacking || !this.#openPage(entry, bytes)) throw new RangeError("a page is not what it should be");
        entry.touched = -1 - i;
        this.#busy.add(entry);
      }
      this.#inHead = [];
      return !this.lanes.some(({ directory }) => directory.entries.some(({ inHead, isLacking }) => inHead && isLacking));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return false;
    }
  }

  /** @param {PageEntry} entry @param {Uint8Array} bytes @returns {boolean} false if they are no page */
  #openPage(entry, bytes) {
    const { from, to } = this.numbersOf(entry);
    try {
      const page = Page.decode(bytes, from, to, (slot) => this.#holders.at(slot) !== undefined);
      if (page.queued > 0 !== entry.queued || page.due !== entry.due) return false;
      entry.page = page;
      entry.bytes = bytes.slice();
      entry.touched = ++this.#uses;
      this.#opened += 1;
      return true;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return false;
    }
  }
}

const SUM_BYTES = 4;

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
    for (const part of this.#passedOver?.without(run) ?? [run]) {
      const to = Math.min(part.to, part.from + this.left);
      if (to <= part.from) return;
      this.left -= to - part.from;
      this.runs.push({ ...part, to });
    }
  }
}

/** @param {unknown} value @returns {value is number} */
export const isCount = (value) => Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;

/** @param {number} where @param {number} past */
const standing = (where, past) => ({ where, delivery: past, due: 0 });

/** @param {number} past @param {number} due */
const delayed = (past, due) => ({ where: DELAYED, delivery: past, due: Math.min(Math.max(0, Math.ceil(due)), LATEST) });

/** @param {PageEntry} entry @returns {Page} */
function pageIn({ page }) {
  if (page === undefined) throw new Error("a page of the mailbox is not in memory");
  return page;
}

/** @param {Uint8Array} bytes @param {number} first @throws {RangeError} they are no segment that begins with this number */
function segmentIn(bytes, first) {
  const segment = Segment.from(bytes);
  if (segment?.first !== first) throw new RangeError("a segment is not what it should be");
  return segment;
}

/** @template T @param {Map<number, T>} blocks */
const sorted = (blocks) => [...blocks].sort(([a], [b]) => a - b);

/** @param {number[]} numbers */
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
