/** Whether all that was sent to the server has arrived there. */

/** @import { Arrived, SentAndArrived } from "./types.js" */

/**
 * Milliseconds without any change after which what has left the outbox, and is not there, counts as missing. A server
 * that was killed and started again needs some of them until its actor has what it had stored.
 */
const PATIENCE = 30_000;

export class Arrivals {
  #before = "";
  #since = 0;

  /**
   * @param {SentAndArrived[]} counts of each peer
   * @param {boolean} isSeen whether the server is running, and has just been asked
   * @param {number} now milliseconds
   * @returns {Arrived}
   */
  look(counts, isSeen, now) {
    const look = JSON.stringify([isSeen, counts]);
    const isStable = look === this.#before;
    if (!isStable) this.#since = now;
    this.#before = look;

    // what a hop in doubt has brought there is still waiting here as well
    const absent = sum(counts.map(({ sent, arrived }) => Math.max(0, sent - arrived)));
    const waiting = sum(counts.map((each) => each.waiting));
    const isLate = isSeen && isStable && now - this.#since >= PATIENCE;
    return {
      arrived: sum(counts.map(({ arrived }) => arrived)),
      twice: sum(counts.map(({ twice }) => twice)),
      dead: sum(counts.map(({ dead }) => dead)),
      toCome: isLate ? waiting : waiting + absent,
      missing: isLate ? absent : 0,
      isComplete: isStable && waiting + absent === 0,
    };
  }
}

/** @param {number[]} numbers */
export const sum = (numbers) => numbers.reduce((before, number) => before + number, 0);
