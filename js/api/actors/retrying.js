/**
 * The mailbox as a consumer calls it: passing errors are waited out.
 *
 * A passing error (`error.passing`: a lost connection, a full storage) is no reason for an actor to end: the call is
 * repeated, with pauses, until it works. All other errors of a mailbox end the consumer. When a stop is asked for, a
 * call that fails is made once more.
 */

import { MailboxClosedError, MailboxError } from "../../model/errors.js";
import { checkRetryPolicy, delayAfter } from "./retry.js";

/** @typedef {import("./holds.js").Hold} Hold */

/** Between two attempts at the same call. */
const PAUSES = checkRetryPolicy({ firstDelay: 100, longestDelay: 10_000 });

/** Whether the same call may work a moment later. @param {unknown} error */
export const isPassing = (error) => error instanceof MailboxError && error.passing;

/** Calls that are retried. */
export class Retrying {
  #label;
  #stop;
  /** Calls that have failed, and are tried again or wait for that. */
  waiting = 0;

  /** @param {string} label of the mailbox, for the console @param {import("./stop.js").Stop} stop */
  constructor(label, stop) {
    this.#label = label;
    this.#stop = stop;
  }

  /**
   * Calls until it works, or fails with an error for which `retries` is false.
   * @template T @param {() => Promise<T>} call @param {(error: unknown) => boolean} [retries]
   * @param {boolean} [hasFailed] whether it has failed before
   * @returns {Promise<T>}
   */
  async call(call, retries = isPassing, hasFailed = false) {
    for (let attempt = 1; ; attempt++) {
      const isLast = this.#stop.asked;
      try {
        return await (hasFailed || attempt > 1 ? this.#again(call) : call());
      } catch (error) {
        if (isLast || !retries(error)) throw error;
        await this.pause(attempt, error);
      }
    }
  }

  /** Waits before a call is made again, and says so. @param {number} attempt that failed @param {unknown} error */
  async pause(attempt, error) {
    const pause = delayAfter(PAUSES, attempt);
    console.warn(
      `${this.#label}: tried again in ${inSeconds(pause)}, attempt ${attempt + 1}: ` +
        /** @type {Error} */ (error).message,
    );
    await this.#again(() => this.#stop.pause(pause));
  }

  /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  async #again(work) {
    this.waiting += 1;
    try {
      return await work();
    } finally {
      this.waiting -= 1;
    }
  }
}

/** A mailbox whose calls are retried. */
export class RetryingMailbox extends Retrying {
  /**
   * Messages whose acknowledgement is under way, and which will not be acknowledged late as well.
   * @type {Set<Hold>}
   */
  acknowledging = new Set();

  /** @param {import("./consumer.js").Source} source @param {import("./stop.js").Stop} stop */
  constructor(source, stop) {
    super(source.label, stop);
    this.source = source;
  }

  /**
   * Acknowledges those of these messages that are still held.
   * @param {Hold[]} holds
   * @param {boolean} [inDoubt] whether a handler may have given them back itself: then they are never acknowledged late
   * @param {boolean} [hasFailed] whether a claim that has failed, or was undone, may have acknowledged them
   */
  async ack(holds, inDoubt = false, hasFailed = false) {
    const ids = idsOf(holds);
    if (!inDoubt) for (const hold of holds) this.acknowledging.add(hold);
    let attempts = Number(hasFailed);
    let settled = 0;
    let late = false;
    try {
      settled = await this.call(
        () => {
          attempts += 1;
          return this.source.ackHeld(ids);
        },
        isPassing,
        hasFailed,
      );
      late = !inDoubt && holds.some((hold) => !this.acknowledging.has(hold));
    } catch (error) {
      if (error instanceof MailboxClosedError)
        console.warn(`${this.source.label} was closed before ${counted(holds)} could be acknowledged`);
      throw error;
    } finally {
      for (const hold of holds) this.acknowledging.delete(hold);
    }
    // after a failed attempt nobody knows whether they were taken back or acknowledged
    if (!late && attempts < 2) this.reportAcked(holds, settled);
  }

  /** Says how many had been taken back. @param {Hold[]} holds @param {number} settled */
  reportAcked(holds, settled) {
    if (settled >= holds.length) return;
    const missing = `${holds.length - settled} of ${counted(holds)}`;
    console.info(`${this.source.label}: ${missing} had been taken back, and may be handled again`);
  }
}

/** @param {number} milliseconds */
export const inSeconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

/** @param {readonly Hold[]} holds */
export const idsOf = (holds) => holds.map(({ record }) => record.id);

/** @param {Hold[]} holds */
const counted = ({ length }) => `${length} handled ${length === 1 ? "message" : "messages"}`;
