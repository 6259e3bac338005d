/** How fast messages have lately been handled, and so how many a claim may take without making others wait. */

/** Milliseconds. What is claimed should begin within about this time. */
export const SOON = 50;

/** Counts the messages handled, and the time in which any handler was running. */
export class Pace {
  #clock;
  #running = 0;
  /** When time was last counted, or the first running handler began. */
  #since = 0;
  #busy = 0;
  #handled = 0;

  /** @param {() => number} clock milliseconds */
  constructor(clock) {
    this.#clock = clock;
  }

  /** A handler begins. */
  begins() {
    if (this.#running === 0) this.#since = this.#clock();
    this.#running += 1;
  }

  /** A handler has ended. */
  ends() {
    this.#count();
    this.#running -= 1;
    this.#handled += 1;
  }

  /** How many messages have lately been handled in `SOON`; anything before the last call counts half. */
  soon() {
    this.#count();
    if (this.#handled === 0) return 0;
    // a clock that is too coarse has not moved
    const count = this.#busy > 0 ? Math.floor((SOON * this.#handled) / this.#busy) : Infinity;
    this.#handled /= 2;
    this.#busy /= 2;
    return count;
  }

  #count() {
    if (this.#running === 0) return;
    const now = this.#clock();
    this.#busy += now - this.#since;
    this.#since = now;
  }
}
