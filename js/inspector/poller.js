/** Looks at a mailbox now and then, for as long as somebody can see it. Creates none, and claims nothing. */

import { checkName } from "../api/validate.js";
import { listMailboxes, openMailbox } from "../index.js";

/** Milliseconds from one look to the next: after news, while something changes, and when nothing does. */
const HURRIED = 250;
const LIVELY = 500;
const IDLE = 1000;

/** Looks that find nothing new before there are fewer of them. */
const PATIENCE = 20;

/** How many times as long as a look took it is rested after it. */
const REST = 4;

/** Milliseconds after which a lost connection is tried again. */
const RETRY = 5000;

/** @typedef {import("../api/mailbox.js").Mailbox} Mailbox */
/** @typedef {import("../api/values.js").MailboxStats} MailboxStats */

/**
 * @typedef {object} Told
 * @property {(mailbox: Mailbox, stats: MailboxStats) => Promise<void>} seen is waited for before the next look
 * @property {() => void} absent there is no such mailbox
 * @property {(error: unknown) => void} failed
 */

export class Poller {
  #name;
  #told;
  /** @type {Mailbox | undefined} */
  #mailbox;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #awake = false;
  #ended = false;
  #looking = false;
  /** Asked for while a look was under way. */
  #again = false;
  #failed = false;
  /** Whether what failed may go better by itself. */
  #retries = false;
  #lookedAt = -Infinity;
  /** How long the last look took. */
  #took = 0;
  #unchanged = 0;
  #last = "";

  /** @param {string} name as for `openMailbox` @param {Told} told */
  constructor(name, told) {
    this.#name = name;
    this.#told = told;
  }

  /** Looks from now on, or no more until it is woken again. @param {boolean} awake */
  wake(awake) {
    if (awake === this.#awake) return;
    this.#awake = awake;
    clearTimeout(this.#timer);
    if (awake && (this.#retries || !this.#failed)) this.now();
  }

  /** Looks at once, awake or not; also after a failure. */
  now() {
    this.#failed = false;
    if (this.#looking) this.#again = true;
    else void this.#look();
  }

  /** Lets everything go. A look under way tells nobody any more. */
  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#letGo();
  }

  async #look() {
    if (this.#ended) return;
    clearTimeout(this.#timer);
    this.#looking = true;
    this.#again = false;
    const began = performance.now();
    try {
      await this.#lookNow();
    } catch (error) {
      this.#failed = true;
      this.#retries = error instanceof Error && error.name === "ConnectionLostError";
      if (error instanceof Error && error.name === "MailboxClosedError") this.#letGo();
      if (!this.#ended) this.#told.failed(error);
    }
    this.#looking = false;
    this.#lookedAt = performance.now();
    this.#took = this.#lookedAt - began;
    if (this.#again) void this.#look();
    else if (this.#failed) this.#next(this.#retries ? RETRY : Infinity);
    else this.#next(this.#unchanged > PATIENCE ? IDLE : LIVELY);
  }

  async #lookNow() {
    this.#mailbox ??= await this.#opened();
    if (this.#ended) return this.#letGo();
    const mailbox = this.#mailbox;
    const stats = await mailbox?.status();
    // one that never had a message may have been deleted since
    const there = stats !== undefined && (stats.everQueued > 0 || (await this.#exists()));
    if (this.#ended) return undefined;
    if (mailbox === undefined || stats === undefined || !there) return this.#told.absent();
    const now = JSON.stringify(stats);
    this.#unchanged = now === this.#last ? this.#unchanged + 1 : 0;
    this.#last = now;
    return this.#told.seen(mailbox, stats);
  }

  /** Opens the mailbox if there is one: opening would make it. */
  async #opened() {
    if (!(await this.#exists())) return undefined;
    const mailbox = await openMailbox(this.#name);
    mailbox.setDepthObserver(() => this.#hurry());
    return mailbox;
  }

  async #exists() {
    const name = checkName(this.#name);
    return (await listMailboxes()).includes(name);
  }

  #hurry() {
    this.#unchanged = 0;
    if (!this.#looking && !this.#failed) this.#next(Math.max(0, this.#lookedAt + HURRIED - performance.now()));
  }

  /** @param {number} milliseconds at least */
  #next(milliseconds) {
    clearTimeout(this.#timer);
    if (!this.#awake || this.#ended || milliseconds === Infinity) return;
    const rest = this.#lookedAt + REST * this.#took - performance.now();
    this.#timer = setTimeout(() => this.now(), Math.max(milliseconds, rest));
  }

  #letGo() {
    const mailbox = this.#mailbox;
    this.#mailbox = undefined;
    mailbox?.close().catch(() => {
      // it held nothing, so nothing is lost
    });
  }
}
