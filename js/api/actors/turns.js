/** Turns of the event loop: handlers that do not suspend follow each other in one turn, but not for long. */

/** Milliseconds in one turn for which handlers begin. */
const AT_ONCE = 2;

/** The turns of one consumer. */
export class Turns {
  /** Whether it is the turn of others; ours comes after it. */
  isOver = false;
  #ends = 0;
  #onNext;

  /** @param {() => void} onNext called in a turn after one that is over */
  constructor(onNext) {
    this.#onNext = onNext;
  }

  /** This is a new one. */
  begin() {
    this.#ends = performance.now() + AT_ONCE;
  }

  /** Whether one more handler may begin in this turn. */
  mayBegin() {
    if (!this.isOver && performance.now() >= this.#ends) {
      this.isOver = true;
      // a timer may be held back for long
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        this.isOver = false;
        this.begin();
        this.#onNext();
      };
      port2.postMessage(undefined);
    }
    return !this.isOver;
  }
}
