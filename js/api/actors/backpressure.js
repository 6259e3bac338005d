/// <reference lib="esnext.disposable" preserve="true" />

/** When a producer has to pause, so that a mailbox does not grow without end. */

import { MailboxClosedError } from "../../model/errors.js";
import { checkMailbox } from "../mailbox.js";
import { checkCount, checkFunction, checkOptions, checkPeriod, described } from "../validate.js";
import { isPassing } from "./retrying.js";

/** @typedef {import("../mailbox.js").Mailbox} Mailbox */

/**
 * Holds producers back while too many messages are queued.
 *
 *     const pressure = new Backpressure(mailbox, { pauseAt: 1000 });
 *     for await (const frame of frames) {
 *       await pressure.room();
 *       await mailbox.enqueue(sender, frame);
 *     }
 *     pressure.close();
 *
 * It learns the depth as the mailbox's observer, whose place it takes until it is closed. No observer is told that the
 * queue gets shorter, so while it is too long, it is looked at every `interval`. `using` closes by itself.
 */
export class Backpressure {
  #mailbox;
  #pauseAt;
  #resumeAt;
  #interval;
  #onChange;
  #paused = false;
  #queuedMessages = 0;
  #isClosed = false;
  /** @type {{error: unknown} | undefined} */
  #failure;
  /** Resolves when the depth has been looked at for the first time. */
  #known;
  /** Producers that wait. @type {Set<() => void>} */
  #waiting = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {Mailbox} mailbox the one that is filled
   * @param {import("../values.js").BackpressureOptions} options `pauseAt`, `resumeAt`, `interval` in milliseconds,
   * `onChange`
   * @throws {TypeError | RangeError} an argument is invalid
   * @throws {MailboxClosedError} the mailbox is closed
   */
  constructor(mailbox, options) {
    this.#mailbox = checkMailbox(mailbox, "mailbox");
    const names = ["pauseAt", "resumeAt", "interval", "onChange"];
    const { pauseAt, resumeAt, interval = 100, onChange } = checkOptions(options, "options", names);
    this.#pauseAt = checkCount("pauseAt", pauseAt);
    this.#resumeAt = resumeAt === undefined ? Math.floor(this.#pauseAt / 2) : checkResumeAt(resumeAt, this.#pauseAt);
    this.#interval = checkPeriod("interval", interval);
    this.#onChange = onChange === undefined ? undefined : checkFunction("onChange", onChange);
    mailbox.setDepthObserver((depth) => this.#onDepth(depth));
    this.#known = this.#look();
  }

  /** Whether producers should wait. @returns {boolean} */
  get paused() {
    return this.#paused;
  }

  /** Queued messages, as last known. @returns {number} */
  get queuedMessages() {
    return this.#queuedMessages;
  }

  /**
   * Waits until producers may go on; resolves at once while they may, and when this is closed.
   * @returns {Promise<void>}
   * @throws {import("../../model/errors.js").MailboxError} what `status()` rejected with last; while an error is
   * passing (`error.passing`), this waits
   */
  async room() {
    if (!this.#isClosed) await this.#known;
    while (this.#paused && !this.#isClosed && this.#failure === undefined)
      await new Promise((resolve) => this.#waiting.add(() => resolve(undefined)));
    if (this.#failure !== undefined && !this.#isClosed) throw this.#failure.error;
  }

  /** Lets all producers go on, and observes the mailbox no more. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    try {
      this.#mailbox.setDepthObserver(null);
    } catch (error) {
      if (!(error instanceof MailboxClosedError)) throw error;
    }
    this.#letGoOn();
  }

  /** For `using`: closes this. */
  [Symbol.dispose]() {
    this.close();
  }

  /** @param {number} depth */
  #onDepth(depth) {
    this.#queuedMessages = depth;
    if (depth >= this.#pauseAt) this.#set(true);
    else if (depth <= this.#resumeAt) this.#set(false);
  }

  /** @param {boolean} paused */
  #set(paused) {
    if (paused === this.#paused || this.#isClosed) return;
    this.#paused = paused;
    if (paused) this.#timer = setTimeout(() => this.#look(), this.#interval);
    else this.#letGoOn();
    try {
      this.#onChange?.(paused);
    } catch (error) {
      console.error(`onChange of the backpressure of the mailbox ${JSON.stringify(this.#mailbox.name)} threw:`, error);
    }
  }

  /** Looks at the depth, and again after a while for as long as there is too much. */
  async #look() {
    clearTimeout(this.#timer);
    try {
      this.#onDepth((await this.#mailbox.status()).queuedMessages);
    } catch (error) {
      if (!isPassing(error)) {
        this.#failure = { error };
        this.#letGoOn();
        return;
      }
      const { message } = /** @type {Error} */ (error);
      console.warn(`The depth of the mailbox ${JSON.stringify(this.#mailbox.name)} is not known: ${message}`);
    }
    if (!this.#paused || this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), this.#interval);
  }

  #letGoOn() {
    for (const goOn of this.#waiting) goOn();
    this.#waiting.clear();
  }
}

// where the platform has no such symbol yet, the method is called "undefined"
if (Symbol.dispose === undefined) Reflect.deleteProperty(Backpressure.prototype, "undefined");

/** @param {unknown} resumeAt @param {number} pauseAt */
function checkResumeAt(resumeAt, pauseAt) {
  if (typeof resumeAt !== "number") throw new TypeError(`resumeAt must be a whole number, not ${described(resumeAt)}`);
  if (Number.isSafeInteger(resumeAt) && resumeAt >= 0 && resumeAt < pauseAt) return resumeAt;
  throw new RangeError(`resumeAt must be a whole number from 0 to less than pauseAt, not ${resumeAt}`);
}
