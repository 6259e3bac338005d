/**
 * Where each message is: the lanes with their pages, who holds what, and the one way in which messages move.
 *
 * Nothing here can wait for a page that is not in memory. Callers that read or move first call `lacking`, and open the
 * pages that it gives.
 */

import { Holders } from "./claims.js";
import * as delivery from "./delivery.js";
import { Lane, PRIORITIES } from "./lane.js";
import { LATEST } from "./limits.js";
import { DELAYED, HELD, Page, QUEUED } from "./page.js";

/** The most pages that are kept in memory between two transactions. */
const PAGES_IN_MEMORY = 256;

/** @typedef {import("./types.js").Place} Place */
/** @typedef {import("./page-directory.js").PageEntry} PageEntry */
/** @typedef {import("./page.js").PageRun} PageRun */
/** @typedef {import("./claims.js").Claims} Claims */

/**
 * Yields pages that must be opened before it can continue.
 * @template T @typedef {Generator<PageEntry[], T, void>} Steps
 */

export class PageTable {
  lanes = Array.from({ length: PRIORITIES }, (_, priority) => new Lane(priority));
  holders = new Holders();
  /** Living messages with custom ids. */
  customIds = 0;
  /** Pages that the head holds or that have changed. @type {Set<PageEntry>} */
  busy = new Set();
  /**
   * Pages that came with the head, until they are opened.
   * @type {{priority: number, first: number, bytes: Uint8Array<ArrayBuffer>}[]}
   */
  unopened = [];

  /** Removed pages whose rows are still there. @type {PageEntry[]} */
  #removed = [];
  /** Counts uses of pages. */
  #uses = 0;
  /** The most pages in memory. */
  #opened = 0;

  /** @param {number} pageNumbers how many numbers a page covers */
  constructor(pageNumbers) {
    this.pageNumbers = pageNumbers;
  }

  // -- looking --------------------------------------------------------------------------------------------------------

  /** The page of a number. @param {number} sequence */
  pageOf(sequence) {
    return Math.floor(sequence / this.pageNumbers);
  }

  /**
   * What a message's page says about it; undefined if it is dead or never existed.
   * @param {Place} place @returns {PageRun | undefined}
   */
  runOf({ priority, sequence }) {
    const lane = this.lanes[priority];
    if (lane === undefined || !(sequence < lane.next)) return undefined;
    if (sequence >= lane.frontier) return { from: sequence, to: lane.next, ...standing(QUEUED, 0) };
    const entry = lane.directory.find(this.pageOf(sequence));
    if (entry === undefined) return undefined;
    if (entry.isFresh) return { from: sequence, to: entry.last * this.pageNumbers, ...standing(QUEUED, 0) };
    return pageIn(entry).runOf(sequence);
  }

  /**
   * Whether any message of a lane from `from` to `to` (exclusive) lives.
   * @param {number} priority @param {number} from @param {number} to
   */
  hasLiving(priority, from, to) {
    const { next, frontier, directory } = this.lanes[priority];
    if (from >= to) return false;
    if (Math.max(from, frontier) < Math.min(to, next)) return true;
    return directory
      .between(this.pageOf(from), this.pageOf(to - 1))
      .some((entry) => entry.isFresh || pageIn(entry).intersects(from, to));
  }

  /**
   * The pages that must be opened before the messages of a lane from `from` to `to` (exclusive) can be read or changed.
   * @param {number} priority @param {number} from @param {number} to @returns {PageEntry[]}
   */
  lacking(priority, from, to) {
    const lane = this.lanes[priority];
    if (lane === undefined || to <= from || lane.directory.entries.length === 0) return [];
    const last = this.pageOf(to - 1);
    const found = lane.directory.between(this.pageOf(from), last).filter(({ isLacking }) => isLacking);
    // reaching beyond the frontier moves it, which changes the page that it is in
    const border =
      to > lane.frontier && last !== this.pageOf(lane.frontier)
        ? lane.directory.find(this.pageOf(lane.frontier))
        : undefined;
    if (border?.isLacking && !found.includes(border)) found.push(border);
    return found;
  }

  /** The pages that must be opened before anything that is not fresh can be enqueued. */
  lackingToEnqueue() {
    return this.lanes.flatMap(({ next }, priority) => this.lacking(priority, next, next + 1));
  }

  /** All pages that are not in memory. */
  allLacking() {
    return this.lanes.flatMap(({ directory }) => directory.entries.filter(({ isLacking }) => isLacking));
  }

  /** Whether a page still belongs to the mailbox. @param {PageEntry} entry */
  has(entry) {
    return this.lanes[entry.priority].directory.find(entry.first) === entry;
  }

  /** The range of a page's numbers that may live. @param {PageEntry} entry */
  numbersOf({ priority, first }) {
    return {
      from: first * this.pageNumbers,
      to: Math.min((first + 1) * this.pageNumbers, this.lanes[priority].frontier),
    };
  }

  /** The messages of fresh pages, as a run. @param {PageEntry} entry */
  freshRun({ first, last }) {
    return { from: first * this.pageNumbers, to: last * this.pageNumbers, delivery: 0 };
  }

  /** The pages in which a holder has something. @param {string} holder */
  heldBy(holder) {
    const pages = this.holders.byName.get(holder)?.pages ?? [];
    return pages.flatMap((numbers, priority) => this.#entriesOf(priority, numbers));
  }

  /** The pages of a lane in which anybody has something. @param {number} priority */
  heldIn(priority) {
    const numbers = new Set([...this.holders.byName.values()].flatMap(({ pages }) => [...pages[priority]]));
    return this.#entriesOf(priority, numbers);
  }

  /** @param {number} priority @param {Iterable<number>} numbers */
  #entriesOf(priority, numbers) {
    const { directory } = this.lanes[priority];
    return [...numbers].sort((a, b) => a - b).flatMap((number) => directory.find(number) ?? []);
  }

  // -- pages in memory ------------------------------------------------------------------------------------------------

  /**
   * Opens a page with the content of its row.
   * @param {PageEntry} entry @param {unknown} row @returns {boolean} false if it is not what was written
   */
  open(entry, row) {
    if (!entry.isLacking) return true;
    if (!(row instanceof Uint8Array) || !entry.isRow(row) || !this.#decode(entry, row)) return false;
    entry.row = entry.bytes;
    return true;
  }

  /** Opens the pages that came with the head. @returns {boolean} false if one of them is not what was written */
  openAllOfHead() {
    for (const [i, { priority, first, bytes }] of this.unopened.entries()) {
      const entry = this.lanes[priority].directory.find(first);
      if (!entry?.inHead || !entry.isLacking || !this.#decode(entry, bytes)) return false;
      entry.touched = -1 - i;
      this.busy.add(entry);
    }
    this.unopened = [];
    return !this.lanes.some(({ directory }) => directory.entries.some(({ inHead, isLacking }) => inHead && isLacking));
  }

  /** @param {PageEntry} entry @param {Uint8Array} bytes @returns {boolean} false if they are not those of the page */
  #decode(entry, bytes) {
    const { from, to } = this.numbersOf(entry);
    try {
      const page = Page.decode(bytes, from, to, (slot) => this.holders.at(slot) !== undefined);
      if (page.queued > 0 !== entry.queued || page.due !== entry.due) return false;
      entry.page = page;
      entry.bytes = bytes.slice();
      entry.touched = this.use();
      this.#opened += 1;
      return true;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return false;
    }
  }

  /** Drops pages from memory, except those last used. */
  trim() {
    if (this.#opened <= 2 * PAGES_IN_MEMORY) return;
    const kept = this.lanes.flatMap(({ directory }) =>
      directory.entries.filter((entry) => entry.page !== undefined && !this.busy.has(entry)),
    );
    kept.sort((a, b) => b.touched - a.touched);
    for (const entry of kept.slice(PAGES_IN_MEMORY)) entry.page = entry.bytes = entry.row = undefined;
    this.#opened = PAGES_IN_MEMORY;
  }

  /** Counts a use: later uses get higher numbers. */
  use() {
    return ++this.#uses;
  }

  /** To be called when a page was changed. @param {PageEntry} entry */
  touch(entry) {
    entry.changed = true;
    entry.bytes = undefined;
    entry.touched = this.use();
    if (!this.busy.has(entry)) {
      this.busy.add(entry);
      this.#opened += 1;
    }
    if (pageIn(entry).isEmpty) this.remove(entry);
    else this.lanes[entry.priority].directory.refresh(entry);
  }

  /**
   * Removes a page with its content, but not from the counts: if it cannot be read, `recount` corrects them.
   * @param {PageEntry} entry
   */
  remove(entry) {
    if (entry.hasRow) this.#removed.push(entry);
    this.busy.delete(entry);
    this.lanes[entry.priority].directory.remove(entry);
  }

  /** The pages that were removed since the last call and still have rows; in order. */
  takeRemoved() {
    const removed = this.#removed;
    if (removed.length > 0) this.#removed = [];
    return removed.sort((a, b) => a.priority - b.priority || a.first - b.first);
  }

  /** Counts again; all pages must be in memory. */
  recount() {
    this.customIds = 0;
    const claimsOfAll = [...this.holders.byName.values()];
    for (const claims of claimsOfAll) {
      claims.count = 0;
      for (const pages of claims.pages) pages.clear();
      this.holders.note(claims);
    }
    for (const [priority, lane] of this.lanes.entries()) {
      lane.queued = lane.next - lane.frontier;
      lane.delayed = lane.inflight = 0;
      for (const { page, first, last } of lane.directory.entries) {
        if (page === undefined) lane.queued += (last - first) * this.pageNumbers;
        for (const run of page ?? []) this.#count(priority, run, 1);
        for (const slot of page?.held.keys() ?? []) this.holders.at(slot)?.pages[priority].add(first);
      }
    }
    for (const claims of claimsOfAll) if (claims.count === 0) this.holders.remove(claims);
  }

  // -- moving ---------------------------------------------------------------------------------------------------------

  /**
   * The one way in which messages move: changes the living ones of a lane from `from` to `to` (exclusive).
   * @param {number} priority @param {number} from @param {number} to
   * @param {(run: PageRun) => ({where: number, delivery: number, due: number} | undefined)} change undefined to remove
   * them
   */
  assign(priority, from, to, change) {
    const lane = this.lanes[priority];
    if (to > lane.frontier) this.advance(priority, to);
    for (let number = this.pageOf(from); number <= this.pageOf(to - 1); number++) {
      const entry = this.#ownPage(priority, number);
      if (entry === undefined) continue;
      const page = pageIn(entry);
      /** @type {Set<number>} */
      const slots = new Set();
      for (const run of page.cut(
        Math.max(from, number * this.pageNumbers),
        Math.min(to, (number + 1) * this.pageNumbers),
      )) {
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
      this.touch(entry);
    }
  }

  /**
   * Queues the messages of a page that were delayed until some moment.
   * @param {PageEntry} entry whose page is in memory @param {number} now milliseconds since 1970
   * @returns {number} how many messages
   */
  promoteDue(entry, now) {
    const promoted = pageIn(entry).promoteDue(now);
    if (promoted === 0) return 0;
    this.lanes[entry.priority].delayed -= promoted;
    this.touch(entry);
    return promoted;
  }

  /**
   * Moves a lane's frontier: what was fresh before its new place is in pages from now on.
   * @param {number} priority @param {number} to at most the lane's next number
   */
  advance(priority, to) {
    const lane = this.lanes[priority];
    const size = this.pageNumbers;
    for (let from = lane.frontier; from < to; ) {
      const number = this.pageOf(from);
      if (from === number * size && to - from >= size) {
        const last = this.pageOf(to);
        lane.directory.addFresh(number, last);
        from = last * size;
        continue;
      }
      const end = Math.min(to, (number + 1) * size);
      const entry = lane.directory.find(number) ?? lane.directory.add(number, new Page());
      pageIn(entry).put({ from, to: end, ...standing(QUEUED, 0) });
      this.touch(entry);
      from = end;
    }
    lane.frontier = Math.max(lane.frontier, to);
  }

  /**
   * Removes the fresh messages of a lane from `from` to `to` (exclusive).
   * @param {number} priority @param {number} from @param {number} to
   */
  removeFresh(priority, from, to) {
    for (let number = this.pageOf(from); number <= this.pageOf(to - 1); number++) {
      const first = Math.max(from, number * this.pageNumbers);
      this.assign(priority, first, Math.min(to, (number + 1) * this.pageNumbers), () => undefined);
    }
  }

  /**
   * The entry of a page, made a separate one if it was fresh; undefined if there is none.
   * @param {number} priority @param {number} number
   */
  #ownPage(priority, number) {
    const { directory } = this.lanes[priority];
    const entry = directory.find(number);
    if (!entry?.isFresh) return entry;
    const page = new Page();
    page.put({ from: number * this.pageNumbers, to: (number + 1) * this.pageNumbers, ...standing(QUEUED, 0) });
    const own = directory.take(number, page);
    this.touch(own);
    return own;
  }

  /**
   * Records whether a holder has something in a page.
   * @param {number} priority @param {number} number @param {number} slot @param {boolean} isHeld
   */
  #noteHeld(priority, number, slot, isHeld) {
    const claims = /** @type {Claims} */ (this.holders.at(slot));
    if (isHeld) claims.pages[priority].add(number);
    else claims.pages[priority].delete(number);
    if (claims.count === 0) this.holders.remove(claims);
    else this.holders.note(claims);
  }

  /** @param {number} priority @param {PageRun} run @param {1 | -1} sign */
  #count(priority, run, sign) {
    const lane = this.lanes[priority];
    const count = sign * (run.to - run.from);
    if (delivery.hasCustomId(run.delivery)) this.customIds += count;
    if (run.where < HELD) {
      lane.queued += count;
      if (run.where === DELAYED) lane.delayed += count;
      return;
    }
    lane.inflight += count;
    /** @type {Claims} */ (this.holders.at(run.where - HELD)).count += count;
  }
}

/** The position of messages that are not delayed. @param {number} where @param {number} past their delivery state */
export const standing = (where, past) => ({ where, delivery: past, due: 0 });

/**
 * The position of delayed messages.
 * @param {number} past their delivery state @param {number} due milliseconds since 1970
 */
export const delayed = (past, due) => ({
  where: DELAYED,
  delivery: past,
  due: Math.min(Math.max(0, Math.ceil(due)), LATEST),
});

/** The page of an entry, which must be in memory. @param {PageEntry} entry @returns {Page} */
export function pageIn({ page }) {
  if (page === undefined) throw new Error("a page of the mailbox is not in memory");
  return page;
}
