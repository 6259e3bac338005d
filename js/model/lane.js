/** One priority of a mailbox: its numbers, its counts, and its segments that travel with the head. */

import { PageDirectory } from "./page-directory.js";

export const PRIORITIES = 2;

/** Lanes in the order in which they are emptied. */
export const HIGHEST_FIRST = Array.from({ length: PRIORITIES }, (_, i) => PRIORITIES - 1 - i);

/** @typedef {import("./blocks.js").Block} Block */
/** @typedef {import("./segments.js").Segment} Segment */

export class Lane {
  /** The number of its next message. */
  next = 0;
  /** All messages from here on are fresh. */
  frontier = 0;
  /** Bytes of its largest segment since it was last empty. */
  largestSegment = 0;
  /** Queued messages, delayed ones included. */
  queued = 0;
  /** Delayed ones among them, even if they are due by now. */
  delayed = 0;
  inflight = 0;
  /** @type {Map<number, Block>} */
  blocks = new Map();
  /** Segments that travel with the head, in the order of their numbers. @type {Segment[]} */
  carried = [];

  /** @param {number} priority */
  constructor(priority) {
    this.directory = new PageDirectory(priority);
  }

  /** Bytes of the segments that travel with the head. */
  get carriedBytes() {
    let size = 0;
    for (const { bytes } of this.carried) size += bytes.length;
    return size;
  }

  /** The segment beside the head that holds a message, dead or alive. @param {number} sequence */
  carriedSegment(sequence) {
    return this.carried.find(({ first, last }) => first <= sequence && sequence <= last);
  }

  /** The first number, at or after a number, whose message is in no segment beside the head. @param {number} from */
  firstNotCarried(from) {
    for (const { first, last } of this.carried) if (first <= from && from <= last) from = last + 1;
    return from;
  }

  /**
   * Drops the segments beside the head whose last number is in `from` to `to` (exclusive).
   * @param {number} from @param {number} to
   */
  dropCarried(from, to) {
    if (this.carried.length > 0) this.carried = this.carried.filter(({ last }) => last < from || last >= to);
  }

  /** Takes all segments from beside the head. */
  takeCarried() {
    const { carried } = this;
    this.carried = [];
    return carried;
  }
}
