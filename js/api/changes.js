/** What `changes` gives: the counts of a mailbox, now and after each change. */

import { statsOf } from "./records.js";
import { MailboxClosedError } from "../model/errors.js";

/** Milliseconds between two states, at least. */
const INTERVAL = 50;

/** Milliseconds between two looks at the clock, which may be set, while a message is delayed. */
const CLOCK_CHECK = 5000;

/** @typedef {import("../engine/mailbox-handle.js").MailboxHandle} MailboxHandle */
/** @typedef {import("./mailbox.js").Mailbox} Mailbox */
/** @typedef {import("./values.js").MailboxStats} MailboxStats */

/**
 * Those whose next state is waited for, and their mailboxes: a loop that waits may be referred to by nothing else, and
 * is not to be forgotten then.
 * @type {Map<Changes, Mailbox>}
 */
const waitedFor = new Map();

/** It listens from its first state on, until it is left, fails or is forgotten, or its mailbox is closed. */
export class Changes {
  #mailbox;
  #handle;
  #signal;
  /** Ends the listening; undefined while it does not listen. @type {(() => void) | undefined} */
  #stop;
  #isLeft = false;
  /** Whether the counts may have changed since they were last read. */
  #mayHaveChanged = true;
  /** Ends a wait. */
  #wake = () => {};
  /** What was given last, as a text. */
  #last = "";
  /** When the next message was due then. @type {number | undefined} */
  #nextDue;
  /** When the next state may be given. */
  #earliest = -Infinity;
  /** What was asked for last: one state is read at a time. @type {Promise<unknown>} */
  #asked = Promise.resolve();

  /** @param {Mailbox} mailbox @param {MailboxHandle} handle the mailbox's @param {AbortSignal | undefined} signal */
  constructor(mailbox, handle, signal) {
    this.#mailbox = mailbox;
    this.#handle = handle;
    this.#signal = signal;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** @returns {Promise<IteratorResult<MailboxStats, undefined>>} */
  next() {
    const next = this.#asked.then(() => this.#next());
    this.#asked = next.catch(() => {});
    return next;
  }

  /** @returns {Promise<IteratorResult<MailboxStats, undefined>>} */
  async return() {
    this.#leave();
    return { done: true, value: undefined };
  }

  /** @returns {Promise<IteratorResult<MailboxStats, undefined>>} */
  async #next() {
    const abort = () => this.#leave();
    this.#signal?.addEventListener("abort", abort);
    waitedFor.set(this, this.#mailbox);
    try {
      while (!this.#isOver) {
        if (this.#stop === undefined) this.#stop = listen(this.#handle, new WeakRef(this));
        else await this.#untilItMayHaveChanged();
        const early = this.#earliest - performance.now();
        if (early > 0) await this.#sleep(early, () => this.#isOver);
        if (this.#isOver) break;
        this.#mayHaveChanged = false;
        const counts = await this.#handle.status();
        this.#nextDue = counts.nextDue;
        const text = JSON.stringify({ ...counts, nextDue: undefined });
        if (text === this.#last) continue;
        this.#last = text;
        this.#earliest = performance.now() + INTERVAL;
        return { done: false, value: statsOf(counts) };
      }
    } catch (error) {
      if (!(error instanceof MailboxClosedError)) {
        // a loop ends with an error, and tells nobody
        this.#stopListening();
        throw error;
      }
    } finally {
      waitedFor.delete(this);
      this.#signal?.removeEventListener("abort", abort);
    }
    this.#leave();
    this.#signal?.throwIfAborted();
    return { done: true, value: undefined };
  }

  changed() {
    this.#mayHaveChanged = true;
    this.#wake();
  }

  get #isOver() {
    return this.#isLeft || this.#handle.isClosed || this.#signal?.aborted === true;
  }

  async #untilItMayHaveChanged() {
    const due = this.#nextDue === undefined ? Infinity : Math.min(CLOCK_CHECK, Math.max(0, this.#nextDue - Date.now()));
    await this.#sleep(due, () => this.#mayHaveChanged || this.#isOver);
  }

  /**
   * Waits so many milliseconds, or until something is so, for which it looks when it is woken.
   * @param {number} time @param {() => boolean} isSo
   */
  async #sleep(time, isSo) {
    if (isSo()) return;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    await new Promise((/** @type {(_: void) => void} */ resolve) => {
      this.#wake = () => isSo() && resolve();
      if (time < Infinity) timer = setTimeout(resolve, time);
    });
    clearTimeout(timer);
    this.#wake = () => {};
  }

  #leave() {
    this.#isLeft = true;
    this.#stopListening();
    this.#wake();
  }

  #stopListening() {
    this.#stop?.();
    this.#stop = undefined;
  }
}

/**
 * Has a mailbox tell of changes, for as long as anybody has what is told.
 * @param {MailboxHandle} handle @param {WeakRef<Changes>} told
 */
function listen(handle, told) {
  const stop = handle.listenToChanges(() => {
    const changes = told.deref();
    if (changes === undefined) stop();
    else changes.changed();
  });
  return stop;
}
