/** Polls a mailbox while it is in view. Creates no mailbox, and claims nothing. */

import { checkName } from "../api/validate.js";
import { listMailboxes, openMailbox } from "../index.js";

/** Milliseconds between polls: after a notification, while something changes, and when nothing does. */
const PROMPT = 250;
const LIVELY = 500;
const IDLE = 1000;

/** Polls without news before they become rarer. */
const QUIET_POLLS = 20;

/** The pause after a poll, as a multiple of the time that it took. */
const REST = 4;

/** Milliseconds after which a lost connection is tried again. */
const RETRY = 5000;

/** @typedef {import("../api/mailbox.js").Mailbox} Mailbox */
/** @typedef {import("../api/values.js").MailboxStats} MailboxStats */

/**
 * @typedef {object} PollerListener
 * @property {(mailbox: Mailbox, stats: MailboxStats) => Promise<void>} seen awaited before the next poll
 * @property {() => void} absent there is no such mailbox
 * @property {(error: unknown) => void} failed
 */

export class Poller {
  #name;
  #listener;
  /** @type {Mailbox | undefined} */
  #mailbox;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #awake = false;
  #ended = false;
  #polling = false;
  /** Requested while a poll was under way. */
  #again = false;
  #failed = false;
  /** Whether another attempt may succeed. */
  #retries = false;
  #polledAt = -Infinity;
  /** How long the last poll took. */
  #took = 0;
  #unchanged = 0;
  #last = "";

  /** @param {string} name as for `openMailbox` @param {PollerListener} listener */
  constructor(name, listener) {
    this.#name = name;
    this.#listener = listener;
  }

  /** Polls from now on, or stops until it is woken again. @param {boolean} awake */
  wake(awake) {
    if (awake === this.#awake) return;
    this.#awake = awake;
    clearTimeout(this.#timer);
    if (awake && (this.#retries || !this.#failed)) this.now();
  }

  /** Polls at once, awake or not; also after a failure. */
  now() {
    this.#failed = false;
    if (this.#polling) this.#again = true;
    else void this.#poll();
  }

  /** Releases everything. A poll under way no longer has any effect. */
  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#release();
  }

  async #poll() {
    if (this.#ended) return;
    clearTimeout(this.#timer);
    this.#polling = true;
    this.#again = false;
    const began = performance.now();
    try {
      await this.#pollNow();
    } catch (error) {
      this.#failed = true;
      this.#retries = error instanceof Error && error.name === "ConnectionLostError";
      if (error instanceof Error && error.name === "MailboxClosedError") this.#release();
      if (!this.#ended) this.#listener.failed(error);
    }
    this.#polling = false;
    this.#polledAt = performance.now();
    this.#took = this.#polledAt - began;
    if (this.#again) void this.#poll();
    else if (this.#failed) this.#next(this.#retries ? RETRY : Infinity);
    else this.#next(this.#unchanged > QUIET_POLLS ? IDLE : LIVELY);
  }

  async #pollNow() {
    this.#mailbox ??= await this.#opened();
    if (this.#ended) return this.#release();
    const mailbox = this.#mailbox;
    const stats = await mailbox?.status();
    // one that never had a message may have been deleted since
    const there = stats !== undefined && (stats.everQueued > 0 || (await this.#exists()));
    if (this.#ended) return undefined;
    if (mailbox === undefined || stats === undefined || !there) return this.#listener.absent();
    const now = JSON.stringify(stats);
    this.#unchanged = now === this.#last ? this.#unchanged + 1 : 0;
    this.#last = now;
    return this.#listener.seen(mailbox, stats);
  }

  /** Opens the mailbox only if there is one: opening would make it. */
  async #opened() {
    if (!(await this.#exists())) return undefined;
    const mailbox = await openMailbox(this.#name);
    mailbox.setDepthObserver(() => this.#pollSoon());
    return mailbox;
  }

  async #exists() {
    const name = checkName(this.#name);
    return (await listMailboxes()).includes(name);
  }

  #pollSoon() {
    this.#unchanged = 0;
    if (!this.#polling && !this.#failed) this.#next(Math.max(0, this.#polledAt + PROMPT - performance.now()));
  }

  /** @param {number} milliseconds at least */
  #next(milliseconds) {
    clearTimeout(this.#timer);
    if (!this.#awake || this.#ended || milliseconds === Infinity) return;
    const rest = this.#polledAt + REST * this.#took - performance.now();
    this.#timer = setTimeout(() => this.now(), Math.max(milliseconds, rest));
  }

  #release() {
    const mailbox = this.#mailbox;
    this.#mailbox = undefined;
    mailbox?.close().catch(() => {
      // it held nothing, so nothing is lost
    });
  }
}
