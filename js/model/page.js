/**
 * One page of a lane: where each of its living messages is.
 *
 * A page covers a fixed number of neighbouring sequence numbers, and is one sorted list of runs of them. The messages
 * of a run share where they are, their delivery state and, while they are delayed, their due time. A number in no run
 * is dead. The runs are in one flat array, so that moving a batch costs the same whatever its size.
 */

import { ByteReader, ByteWriter } from "./bytes.js";
import { isDelivery } from "./delivery.js";

/** Where a message is: queued, delayed, or, from `HELD` on, with the holder of a slot. */
export const QUEUED = 0;
export const DELAYED = 1;
export const HELD = 2;

const STRIDE = 5;

const writer = new ByteWriter();

/**
 * `to` is exclusive; `due` is in milliseconds since 1970, 0 unless the run is delayed.
 * @typedef {{from: number, to: number, where: number, delivery: number, due: number}} PageRun
 */

export class Page {
  /** From, to, where, delivery, due, from, … @type {number[]} */
  #flat = [];
  /** How many are queued. */
  queued = 0;
  /** How many are delayed. */
  delayed = 0;
  /** How many the holder of a slot has; slots without any are omitted. @type {Map<number, number>} */
  held = new Map();
  /** The earliest due time; undefined if it has to be searched for. @type {number | undefined} */
  #due = Infinity;

  get isEmpty() {
    return this.#flat.length === 0;
  }

  /** When the first of the delayed ones is due; Infinity for none. */
  get due() {
    if (this.#due === undefined) {
      this.#due = Infinity;
      for (let i = 0; i < this.#flat.length; i += STRIDE) {
        if (this.#flat[i + 2] === DELAYED) this.#due = Math.min(this.#due, this.#flat[i + 4]);
      }
    }
    return this.#due;
  }

  /** @returns {Generator<PageRun>} */
  *[Symbol.iterator]() {
    for (let i = 0; i < this.#flat.length; i += STRIDE) yield this.#at(i);
  }

  /** The whole run that a number is in; undefined if the number is dead. @param {number} sequence */
  runOf(sequence) {
    const i = this.#firstEndingAfter(sequence);
    return i < this.#flat.length && this.#flat[i] <= sequence ? this.#at(i) : undefined;
  }

  /** Whether any number from `from` to `to` (exclusive) lives. @param {number} from @param {number} to */
  intersects(from, to) {
    const i = this.#firstEndingAfter(from);
    return i < this.#flat.length && this.#flat[i] < to;
  }

  /** The runs of the numbers from `from` to `to` (exclusive). @param {number} from @param {number} to */
  between(from, to) {
    /** @type {PageRun[]} */
    const found = [];
    for (let i = this.#firstEndingAfter(from); i < this.#flat.length && this.#flat[i] < to; i += STRIDE) {
      const run = this.#at(i);
      run.from = Math.max(run.from, from);
      run.to = Math.min(run.to, to);
      found.push(run);
    }
    return found;
  }

  /**
   * Takes out all numbers from `from` to `to` (exclusive).
   * @param {number} from @param {number} to @returns {PageRun[]} what they were
   */
  cut(from, to) {
    const start = this.#firstEndingAfter(from);
    const removed = this.between(from, to);
    if (removed.length === 0) return removed;
    const kept = [];
    const first = this.#at(start);
    if (first.from < from) kept.push(first.from, from, first.where, first.delivery, first.due);
    const last = this.#at(start + (removed.length - 1) * STRIDE);
    if (last.to > to) kept.push(to, last.to, last.where, last.delivery, last.due);
    this.#flat.splice(start, removed.length * STRIDE, ...kept);
    for (const run of removed) this.#count(run, -1);
    return removed;
  }

  /** Adds a run none of whose numbers is here. @param {PageRun} run */
  put(run) {
    const flat = this.#flat;
    const { from, to, where, delivery, due } = run;
    const i = this.#firstEndingAfter(from);
    const joinsBefore = i > 0 && flat[i - 4] === from && this.#isAlike(i - STRIDE, run);
    const joinsAfter = i < flat.length && flat[i] === to && this.#isAlike(i, run);
    if (joinsBefore && joinsAfter) {
      flat[i - 4] = flat[i + 1];
      flat.splice(i, STRIDE);
    } else if (joinsBefore) {
      flat[i - 4] = to;
    } else if (joinsAfter) {
      flat[i] = from;
    } else {
      flat.splice(i, 0, from, to, where, delivery, due);
    }
    this.#count(run, 1);
  }

  /** Queues the delayed ones that are due. @param {number} now @returns {number} how many there were */
  promoteDue(now) {
    if (this.due > now) return 0;
    const before = this.delayed;
    const runs = [...this];
    this.#flat = [];
    this.queued = this.delayed = 0;
    this.held.clear();
    this.#due = Infinity;
    for (const run of runs) this.put(run.where === DELAYED && run.due <= now ? { ...run, where: QUEUED, due: 0 } : run);
    return before - this.delayed;
  }

  /** @param {number} first the page's first number @returns {Uint8Array<ArrayBuffer>} */
  encode(first) {
    const flat = this.#flat;
    writer.clear();
    const base = this.delayed > 0 ? this.due : 0;
    writer.number(base);
    for (let i = 0, end = first; i < flat.length; i += STRIDE) {
      writer.number(flat[i] - end);
      writer.number(flat[i + 1] - flat[i]);
      writer.number(flat[i + 2]);
      writer.number(flat[i + 3]);
      if (flat[i + 2] === DELAYED) writer.number(flat[i + 4] - base);
      end = flat[i + 1];
    }
    return writer.toBytes();
  }

  /**
   * What `encode` wrote.
   * @param {Uint8Array} bytes @param {number} first the page's first number @param {number} end exclusive
   * @param {(slot: number) => boolean} isSlot whether a slot has a holder
   * @throws {RangeError} if it is not a page
   */
  static decode(bytes, first, end, isSlot) {
    const page = new Page();
    const reader = new ByteReader(bytes);
    const base = reader.number();
    let to = first;
    while (!reader.isAtEnd) {
      const from = to + reader.number(end);
      to = from + reader.number(end);
      const where = reader.number();
      const delivery = reader.number();
      const due = where === DELAYED ? base + reader.number() : 0;
      if (to <= from || to > end || !isDelivery(delivery) || !Number.isSafeInteger(due))
        throw new RangeError("this is not a page");
      if (where >= HELD && !isSlot(where - HELD)) throw new RangeError("a page names a holder that does not exist");
      page.#flat.push(from, to, where, delivery, due);
      page.#count({ from, to, where, delivery, due }, 1);
    }
    if (page.isEmpty) throw new RangeError("a page is empty");
    return page;
  }

  /** @param {PageRun} run @param {1 | -1} sign */
  #count({ from, to, where, due }, sign) {
    const count = sign * (to - from);
    if (where === QUEUED) {
      this.queued += count;
    } else if (where === DELAYED) {
      this.delayed += count;
      if (this.#due === undefined) return;
      if (sign > 0) this.#due = Math.min(this.#due, due);
      else if (due === this.#due) this.#due = undefined;
    } else {
      const held = (this.held.get(where - HELD) ?? 0) + count;
      if (held === 0) this.held.delete(where - HELD);
      else this.held.set(where - HELD, held);
    }
  }

  /** @param {number} i @param {PageRun} run */
  #isAlike(i, { where, delivery, due }) {
    return this.#flat[i + 2] === where && this.#flat[i + 3] === delivery && this.#flat[i + 4] === due;
  }

  /** @param {number} i @returns {PageRun} */
  #at(i) {
    const flat = this.#flat;
    return { from: flat[i], to: flat[i + 1], where: flat[i + 2], delivery: flat[i + 3], due: flat[i + 4] };
  }

  /** Index of the first run that ends after a number: the one that holds it, or the next. @param {number} sequence */
  #firstEndingAfter(sequence) {
    let low = 0;
    let high = this.#flat.length / STRIDE;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#flat[middle * STRIDE + 1] > sequence) high = middle;
      else low = middle + 1;
    }
    return low * STRIDE;
  }
}
