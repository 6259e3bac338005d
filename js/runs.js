/**
 * Sets of sequence numbers, kept as runs: sorted, disjoint, and each with a history that all its messages share.
 *
 * A mailbox knows where each message stands by the set that holds its number, so a batch moves as a whole whatever its
 * size. The runs live in one flat array of numbers (from, to, history, from, …; `to` is exclusive), which is what the
 * database stores.
 */

const STRIDE = 3;

/** @typedef {{from: number, to: number, history: number}} Run `to` is exclusive. */

export class Runs {
  /** @param {number[]} [flat] as another `Runs` stored it; it is taken over, not copied */
  constructor(flat = []) {
    this.flat = flat;
  }

  /** Whether a value can be what a `Runs` stored, of numbers below a limit. @param {unknown} flat @param {number} limit */
  static isFlat(flat, limit) {
    if (!Array.isArray(flat) || flat.length % STRIDE !== 0) return false;
    let end = 0;
    for (let i = 0; i < flat.length; i += STRIDE) {
      const [from, to, history] = [flat[i], flat[i + 1], flat[i + 2]];
      if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || !Number.isSafeInteger(history)) return false;
      if (from < end || to <= from || to > limit || history < 0) return false;
      end = to;
    }
    return true;
  }

  /** How many sequence numbers there are; grows with the runs, not with the numbers. */
  get size() {
    let size = 0;
    for (let i = 0; i < this.flat.length; i += STRIDE) size += this.flat[i + 1] - this.flat[i];
    return size;
  }

  get isEmpty() {
    return this.flat.length === 0;
  }

  /** The history of the lowest number; undefined if there is none. */
  get firstHistory() {
    return this.isEmpty ? undefined : this.flat[2];
  }

  /** @returns {Generator<Run>} */
  *[Symbol.iterator]() {
    for (let i = 0; i < this.flat.length; i += STRIDE) yield this.#at(i);
  }

  /** What is here of the numbers from `from` to `to` (exclusive). @param {number} from @param {number} to @returns {Generator<Run>} */
  *between(from, to) {
    for (let i = this.#firstEndingAfter(from); i < this.flat.length && this.flat[i] < to; i += STRIDE) {
      const run = this.#at(i);
      yield { from: Math.max(run.from, from), to: Math.min(run.to, to), history: run.history };
    }
  }

  /** @param {number} sequence @returns {number | undefined} its history; undefined if it is not here */
  historyOf(sequence) {
    const i = this.#firstEndingAfter(sequence);
    return i < this.flat.length && this.flat[i] <= sequence ? this.flat[i + 2] : undefined;
  }

  /** Whether any number of `from` to `to` (exclusive) is here. @param {number} from @param {number} to */
  intersects(from, to) {
    const i = this.#firstEndingAfter(from);
    return i < this.flat.length && this.flat[i] < to;
  }

  /** Adds a run none of whose numbers is here yet. @param {Run} run */
  add({ from, to, history }) {
    const { flat } = this;
    const i = this.#firstEndingAfter(from);
    const joinsBefore = i > 0 && flat[i - 2] === from && flat[i - 1] === history;
    const joinsAfter = i < flat.length && flat[i] === to && flat[i + 2] === history;
    if (joinsBefore && joinsAfter) {
      flat[i - 2] = flat[i + 1];
      flat.splice(i, STRIDE);
    } else if (joinsBefore) {
      flat[i - 2] = to;
    } else if (joinsAfter) {
      flat[i] = from;
    } else {
      flat.splice(i, 0, from, to, history);
    }
  }

  /** Removes one number. @param {number} sequence @returns {number | undefined} its history; undefined if not here */
  remove(sequence) {
    const { flat } = this;
    const i = this.#firstEndingAfter(sequence);
    if (i === flat.length || flat[i] > sequence) return undefined;
    const [from, to, history] = [flat[i], flat[i + 1], flat[i + 2]];
    if (from === sequence && to === sequence + 1) flat.splice(i, STRIDE);
    else if (from === sequence) flat[i] = sequence + 1;
    else if (to === sequence + 1) flat[i + 1] = sequence;
    else flat.splice(i, STRIDE, from, sequence, history, sequence + 1, to, history);
    return history;
  }

  /**
   * Removes up to `count` of the lowest numbers, up to the first run that does not qualify.
   * @param {number} count @param {(history: number) => boolean} [qualifies] @returns {Run[]}
   */
  takeFirst(count, qualifies = () => true) {
    /** @type {Run[]} */
    const taken = [];
    let i = 0;
    while (i < this.flat.length && count > 0) {
      const run = this.#at(i);
      if (!qualifies(run.history)) break;
      if (run.to - run.from > count) {
        run.to = run.from + count;
        this.flat[i] = run.to;
      } else {
        i += STRIDE;
      }
      count -= run.to - run.from;
      taken.push(run);
    }
    this.flat.splice(0, i);
    return taken;
  }

  /** Removes everything. @returns {Run[]} */
  takeAll() {
    const taken = [...this];
    this.flat.length = 0;
    return taken;
  }

  /** @param {number} i @returns {Run} */
  #at(i) {
    return { from: this.flat[i], to: this.flat[i + 1], history: this.flat[i + 2] };
  }

  /** Index of the first run that ends after a number: the one that holds it, or the next. @param {number} sequence */
  #firstEndingAfter(sequence) {
    let low = 0;
    let high = this.flat.length / STRIDE;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.flat[middle * STRIDE + 1] > sequence) high = middle;
      else low = middle + 1;
    }
    return low * STRIDE;
  }
}
