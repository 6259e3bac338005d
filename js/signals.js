/**
 * News of mailboxes, between the handles of this context and to other tabs and workers.
 *
 * News are hints: a page in the back/forward cache misses them, a hidden one may hear late. The truth is in the database,
 * so whoever waits for news looks there first, again when its page comes back, and now and then all the same.
 *
 * To tell others costs as much as a small transaction, so a context that has never heard of another one tells nobody. It
 * greets when it begins to listen, and whoever hears that answers; then each tells the other what it has not told since the
 * greeting, and both look again. One that stops listening before tells all the same: it will not hear an answer.
 */

import { randomName } from "./ids.js";

const CHANNEL = "pymailbox";

/** @typedef {{mailbox: string, depth: number | undefined}} News `depth` is there if messages were stored. */

/** Sent when a context begins to listen, and back to it by those who hear it; `at` is when. @typedef {{greeting: string, at: number}} Greeting */
/** @typedef {{answered: string}} Answer */

/** Whoever wants to hear of a mailbox. @typedef {{mailbox: string, hear(depth: number | undefined): void}} Listener */

export class Signals {
  /** @type {Set<Listener>} */
  #listeners = new Set();
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** Whether there is, or was, somebody else. */
  #heard = false;
  /** What nobody else was told, the last of each mailbox, and when it came. @type {Map<string, {news: News, at: number}>} */
  #untold = new Map();
  #name = randomName();
  #greetedAt = 0;

  constructor() {
    for (const event of ["pageshow", "visibilitychange", "resume"]) {
      globalThis.addEventListener?.(
        event,
        () => {
          this.wakeAll();
          // somebody may have come and greeted meanwhile
          this.#greet();
        },
        true,
      );
    }
  }

  /** @param {Listener} listener */
  add(listener) {
    this.#listeners.add(listener);
    if (this.#channel !== undefined || typeof BroadcastChannel === "undefined") return;
    try {
      this.#channel = new BroadcastChannel(CHANNEL);
    } catch {
      return; // the browser refuses it here: whoever waits looks now and then all the same
    }
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#greet();
  }

  /** @param {Listener} listener */
  remove(listener) {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    // an answer to the greeting may be on its way, and nobody will be here for it
    this.#tellSince(this.#greetedAt);
    this.#channel?.close();
    this.#channel = undefined;
    this.#heard = false;
  }

  /** @param {News} news @param {Listener[]} [informed] who need not be told the depth */
  publish(news, informed = []) {
    this.#tell(news, informed);
    if (this.#heard) this.#channel?.postMessage(news);
    else this.#untold.set(news.mailbox, { news, at: now() });
  }

  #greet() {
    this.#greetedAt = now();
    this.#channel?.postMessage({ greeting: this.#name, at: this.#greetedAt });
  }

  /** @param {News & Partial<Greeting & Answer>} data */
  #receive(data) {
    this.#heard = true;
    if (data.greeting !== undefined) {
      this.#channel?.postMessage({ answered: data.greeting });
      this.#tellSince(data.at ?? 0);
      // this context may have been frozen, and missed what came
      this.wakeAll();
    } else if (data.answered === undefined) {
      this.#tell(data, []);
    } else if (data.answered === this.#name) {
      this.#tellSince(this.#greetedAt);
      // what others stored before they heard of this context they told nobody
      this.wakeAll();
    }
  }

  /** @param {number} since */
  #tellSince(since) {
    for (const { news, at } of this.#untold.values()) if (at >= since) this.#channel?.postMessage(news);
    this.#untold.clear();
  }

  /** @param {News} news @param {Listener[]} informed */
  #tell({ mailbox, depth }, informed) {
    for (const listener of [...this.#listeners]) {
      if (listener.mailbox === mailbox) listener.hear(informed.includes(listener) ? undefined : depth);
    }
  }

  /** Makes everybody look. */
  wakeAll() {
    for (const listener of [...this.#listeners]) listener.hear(undefined);
  }
}

/** Milliseconds, on a clock that contexts share. */
const now = () => performance.timeOrigin + performance.now();
