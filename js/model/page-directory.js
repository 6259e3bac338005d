/**
 * Which pages a lane has, and which of them have what a claim looks for.
 *
 * Its entries are in the order of their numbers. Each is for one page, or for several *fresh* ones in a row: all their
 * messages are queued and were never handed out, so they need no page.
 */

import { Block } from "./blocks.js";
import { ByteWriter } from "./bytes.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./bytes.js").ByteReader} ByteReader */

/** Numbers of pages whose entries are written together. */
const PAGES_OF_BLOCK = 256;

const FRESH = 1;
const HAS_QUEUED = 2;
const HAS_DELAYED = 4;
const IN_HEAD = 8;
const HAS_ROW = 16;

const writer = new ByteWriter();

/** One page, or several fresh ones. */
export class PageEntry extends Block {
  /** Set while it is in memory. @type {Page | undefined} */
  page;
  /** Whether it has queued messages. */
  queued = false;
  /** When the first of its delayed messages is due; Infinity for none. */
  due = Infinity;
  /**
   * @param {number} priority @param {number} first the number of the first page @param {number} last exclusive
   * @param {boolean} isFresh
   */
  constructor(priority, first, last, isFresh) {
    super(priority, first);
    this.first = first;
    this.last = last;
    this.isFresh = isFresh;
    this.queued = isFresh;
  }

  get priority() {
    return this.kind;
  }

  /** Whether its page must be read before its messages can be seen. */
  get isLacking() {
    return !this.isFresh && this.page === undefined;
  }
}

export class PageDirectory {
  /** @type {PageEntry[]} */
  entries = [];
  /** Blocks whose entries have changed since they were written. @type {Set<number>} */
  changed = new Set();

  /** @param {number} priority */
  constructor(priority) {
    this.priority = priority;
  }

  /** The entry of a page. @param {number} page @returns {PageEntry | undefined} */
  find(page) {
    const entry = this.entries[this.#firstEndingAfter(page)];
    return entry !== undefined && entry.first <= page ? entry : undefined;
  }

  /** Entries of the pages from `from` to `to` (inclusive). @param {number} from @param {number} to */
  between(from, to) {
    /** @type {PageEntry[]} */
    const found = [];
    for (let i = this.#firstEndingAfter(from); i < this.entries.length && this.entries[i].first <= to; i++)
      found.push(this.entries[i]);
    return found;
  }

  /**
   * The first entries, from a page on, that have something to hand out.
   * @param {number} page @param {number} now milliseconds since 1970 @param {number} count the most entries
   */
  claimable(page, now, count) {
    /** @type {PageEntry[]} */
    const found = [];
    for (let i = this.#firstEndingAfter(page); i < this.entries.length && found.length < count; i++) {
      const entry = this.entries[i];
      if (entry.queued || entry.due <= now) found.push(entry);
    }
    return found;
  }

  /** When the first delayed message is due; Infinity for none. */
  get due() {
    let due = Infinity;
    for (const entry of this.entries) if (entry.due < due) due = entry.due;
    return due;
  }

  /** Adds fresh pages after all others. @param {number} first @param {number} last exclusive */
  addFresh(first, last) {
    const before = this.entries.at(-1);
    if (before?.isFresh && before.last === first) {
      before.last = last;
      this.note(before);
    } else {
      this.#insert(this.entries.length, new PageEntry(this.priority, first, last, true));
    }
  }

  /** Adds a page that does not exist yet. @param {number} number @param {Page} page */
  add(number, page) {
    const entry = new PageEntry(this.priority, number, number + 1, false);
    entry.page = page;
    this.#insert(this.#firstEndingAfter(number), entry);
    return entry;
  }

  /**
   * Makes a separate entry for one of several fresh pages.
   * @param {number} number @param {Page} page its content from now on
   */
  take(number, page) {
    const i = this.#firstEndingAfter(number);
    const before = this.entries[i];
    this.note(before);
    const parts = [];
    if (before.first < number) parts.push(new PageEntry(this.priority, before.first, number, true));
    const entry = new PageEntry(this.priority, number, number + 1, false);
    entry.page = page;
    parts.push(entry);
    if (number + 1 < before.last) parts.push(new PageEntry(this.priority, number + 1, before.last, true));
    this.entries.splice(i, 1, ...parts);
    for (const part of parts) this.note(part);
    return entry;
  }

  /** @param {PageEntry} entry */
  remove(entry) {
    const i = this.entries[this.#firstEndingAfter(entry.first)] === entry ? this.#firstEndingAfter(entry.first) : -1;
    if (i < 0) return;
    this.note(entry);
    this.entries.splice(i, 1);
  }

  /** Records that an entry has changed since it was written. @param {PageEntry} entry */
  note(entry) {
    this.changed.add(Math.floor(entry.first / PAGES_OF_BLOCK));
  }

  /** Records what a page has now. @param {PageEntry} entry whose page is in memory */
  refresh(entry) {
    const { queued, due } = /** @type {Page} */ (entry.page);
    if (entry.queued === queued > 0 && entry.due === due) return;
    entry.queued = queued > 0;
    entry.due = due;
    this.note(entry);
  }

  /**
   * A block's entries as bytes; undefined if there are none.
   * @param {number} block @returns {Uint8Array<ArrayBuffer> | undefined}
   */
  encode(block) {
    writer.clear();
    let end = block * PAGES_OF_BLOCK;
    let due = 0;
    for (let i = this.#firstEndingAfter(end); i < this.entries.length; i++) {
      const entry = this.entries[i];
      if (entry.first < block * PAGES_OF_BLOCK) continue;
      if (entry.first >= (block + 1) * PAGES_OF_BLOCK) break;
      const isRowRight = entry.hasRow && !entry.inHead;
      const hasDelayed = entry.due !== Infinity;
      writer.number(
        (entry.isFresh ? FRESH : 0) +
          (entry.queued ? HAS_QUEUED : 0) +
          (hasDelayed ? HAS_DELAYED : 0) +
          (entry.inHead ? IN_HEAD : 0) +
          (entry.hasRow ? HAS_ROW : 0),
      );
      writer.number(entry.first - end);
      if (entry.isFresh) writer.number(entry.last - entry.first);
      if (hasDelayed) {
        // starting at the last one, up or down
        const step = entry.due - due;
        writer.number(step < 0 ? -2 * step - 1 : 2 * step);
        due = entry.due;
      }
      if (isRowRight) writer.uint32(entry.sum);
      end = entry.last;
    }
    return writer.length > 0 ? writer.toBytes() : undefined;
  }

  /**
   * Adds what `encode` wrote; blocks in their order.
   * @param {number} block @param {ByteReader} reader
   * @param {number} limit the first number (exclusive) that no page may reach
   * @throws {RangeError}
   */
  decode(block, reader, limit) {
    let end = block * PAGES_OF_BLOCK;
    let due = 0;
    if ((this.entries.at(-1)?.last ?? 0) > end) end = /** @type {PageEntry} */ (this.entries.at(-1)).last;
    let at = block * PAGES_OF_BLOCK;
    while (!reader.isAtEnd) {
      const flags = reader.number(31);
      const first = at + reader.number(limit);
      const isFresh = (flags & FRESH) !== 0;
      const last = first + (isFresh ? reader.number(limit) : 1);
      if (first < end || last <= first || last > limit || first >= (block + 1) * PAGES_OF_BLOCK)
        throw new RangeError("pages are out of order");
      if (isFresh && flags !== (FRESH | HAS_QUEUED)) throw new RangeError("a fresh page has what it cannot have");
      const entry = new PageEntry(this.priority, first, last, isFresh);
      entry.queued = (flags & HAS_QUEUED) !== 0;
      if ((flags & HAS_DELAYED) !== 0) {
        const step = reader.number();
        due += step % 2 === 1 ? -(step + 1) / 2 : step / 2;
        if (!Number.isSafeInteger(due) || due < 0) throw new RangeError("a due time is invalid");
        entry.due = due;
      }
      entry.inHead = (flags & IN_HEAD) !== 0;
      entry.hasRow = (flags & HAS_ROW) !== 0;
      if (!isFresh && !entry.inHead && !entry.hasRow)
        throw new RangeError("a page is neither in the head nor in a row");
      if (entry.hasRow && !entry.inHead) entry.sum = reader.uint32();
      this.entries.push(entry);
      end = at = last;
    }
  }

  /** @param {number} i @param {PageEntry} entry */
  #insert(i, entry) {
    this.entries.splice(i, 0, entry);
    this.note(entry);
  }

  /** Index of the first entry that ends after a page: the one that holds it, or the next. @param {number} page */
  #firstEndingAfter(page) {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle].last > page) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
