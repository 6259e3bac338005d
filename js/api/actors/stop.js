/** Whether a consumer should stop, and pauses that end when it should. */

/** Milliseconds. A browser's timer of 25 days or more goes off at once. */
const LONGEST_TIMER = 86_400_000;

/** A stop, which is asked for once and for good. */
export class Stop {
  asked = false;
  /** @type {Set<() => void>} */
  #pauses = new Set();

  ask() {
    this.asked = true;
    for (const end of this.#pauses) end();
  }

  /** Waits that long, or until a stop is asked for. @param {number} milliseconds */
  async pause(milliseconds) {
    if (this.asked) return;
    await new Promise((resolve) => {
      const forget = setTimer(milliseconds, () => end());
      const end = () => {
        forget();
        this.#pauses.delete(end);
        resolve(undefined);
      };
      this.#pauses.add(end);
    });
  }
}

/**
 * Calls back after any time, however long.
 * @param {number} milliseconds @param {() => void} callback @returns {() => void} forgets it
 */
export function setTimer(milliseconds, callback) {
  const deadline = performance.now() + milliseconds;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const wait = (/** @type {number} */ left) => {
    timer = setTimeout(
      () => {
        const rest = deadline - performance.now();
        // a timer may go off a little early
        if (left > LONGEST_TIMER && rest > 0) wait(rest);
        else callback();
      },
      Math.min(left, LONGEST_TIMER),
    );
  };
  wait(milliseconds);
  return () => clearTimeout(timer);
}
