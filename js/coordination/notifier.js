/**
 * Notifications about mailboxes, among the handles of this context and to other tabs and workers.
 *
 * They are hints: a page in the back/forward cache misses them, a hidden one may get them late. The truth is in the
 * database, so a waiter looks there first, again when its page comes back, and now and then.
 *
 * Notifying others costs as much as a small transaction, so a context that has never heard of another one notifies
 * nobody. It says hello when it begins to listen, and those who hear that answer; then each tells the other what it has
 * not sent since the hello, and both look again. A context that stops listening before that sends anyway: it would not
 * hear an answer.
 */

import { attempt } from "../model/errors.js";
import { randomName } from "../model/ids.js";

/** The name of the channel. */
export const CHANNEL = "pymailbox";

/**
 * There may be something to claim.
 * @typedef {object} Notification
 * @property {string} mailbox
 * @property {number | undefined} [depth] given if messages were stored
 * @property {number | undefined} [count] how many messages there may be; one if omitted
 * @property {import("./unload-notes.js").Note[]} [notes] of a page that is being left
 */

/**
 * Sent when a context begins to listen, and back to it by those who hear it; `at` is the time.
 * @typedef {{hello: string, at: number}} Hello
 */
/** @typedef {{answered: string}} Answer */

/**
 * A worker asks pages for the notes that only they see, and one of them answers.
 * @typedef {{asking: string, told: string, kept: import("./unload-notes.js").Note[]}} Question
 */

/**
 * Somebody who wants to be told the depth of a mailbox.
 * @typedef {{mailbox: string, receiveDepth(depth: number): void}} Listener
 */

export class Notifier {
  /** Called when notifications may have been missed. */
  onMissed = () => {};
  /**
   * Handles what listeners to changes send or are sent.
   * @type {(announcement: import("./changes.js").Announcement) => void}
   */
  onAnnouncement = () => {};
  /** Called before this context stops talking to others. */
  onLeaving = () => {};
  /** Answers a worker's question. @type {(() => Promise<import("./unload-notes.js").Note[]>) | undefined} */
  onAsked;

  /** @type {Set<Listener>} */
  #listeners = new Set();
  /** @type {((notification: Notification) => void)[]} */
  #onNotify = [];
  /** @type {Map<string, (kept: import("./unload-notes.js").Note[]) => void>} */
  #questions = new Map();
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** Whether there is or was somebody else. */
  #hasOthers = false;
  /**
   * What was not sent to anybody: the last notification about each mailbox, and when it came.
   * @type {Map<string, {notification: Notification, at: number}>}
   */
  #unsent = new Map();
  #name = randomName();
  #saidHelloAt = 0;
  #openChannel;

  /**
   * @param {() => BroadcastChannel | undefined} openChannel
   * @param {Pick<EventTarget, "addEventListener">} events of the page or worker
   */
  constructor(openChannel, events) {
    this.#openChannel = openChannel;
    for (const event of ["pageshow", "visibilitychange", "resume"]) {
      events.addEventListener(
        event,
        () => {
          this.onMissed();
          // somebody may have arrived and said hello meanwhile
          this.#sayHello();
        },
        true,
      );
    }
  }

  /** Calls a function with every notification from now on. @param {(notification: Notification) => void} onNotify */
  listen(onNotify) {
    this.#onNotify.push(onNotify);
  }

  /** Reports depths to a listener; while there are any, this context listens to others. @param {Listener} listener */
  add(listener) {
    this.#listeners.add(listener);
    if (this.#channel !== undefined) return;
    try {
      this.#channel = this.#openChannel();
    } catch {
      return; // the browser refuses it here; waiters look now and then in any case
    }
    if (this.#channel === undefined) return;
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#sayHello();
  }

  /** @param {Listener} listener */
  remove(listener) {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    this.onLeaving();
    // an answer to the hello may be on its way, and nobody will be here to receive it
    this.#tellSince(this.#saidHelloAt);
    this.#channel?.close();
    this.#channel = undefined;
    this.#hasOthers = false;
  }

  /** @param {Notification} notification @param {Listener[]} [excluded] who need not be told the depth */
  publish(notification, excluded = []) {
    this.#tell(notification, excluded);
    this.tellOthers(notification);
  }

  /** Publishes only to other contexts. @param {Notification} notification */
  tellOthers(notification) {
    if (this.#hasOthers) this.#channel?.postMessage(notification);
    else {
      const count = countOf(this.#unsent.get(notification.mailbox)?.notification) + countOf(notification);
      this.#unsent.set(notification.mailbox, { notification: { ...notification, count }, at: now() });
    }
  }

  /** Whether this context can talk to others. */
  get hasChannel() {
    return this.#channel !== undefined;
  }

  /**
   * Tells others about changes, or that this context listens for them.
   * @param {import("./changes.js").Announcement} announcement
   */
  announce(announcement) {
    // those not heard of yet will say hello
    if (this.#hasOthers) this.#channel?.postMessage({ announcement });
  }

  /**
   * Asks other contexts' pages for the notes that they see.
   * @param {number} limit milliseconds to wait for the first answer
   * @returns {Promise<import("./unload-notes.js").Note[]>}
   */
  ask(limit) {
    return new Promise((resolve) => {
      if (!this.#hasOthers) return resolve([]);
      const asking = randomName();
      const answer = (/** @type {import("./unload-notes.js").Note[]} */ kept) => {
        clearTimeout(timer);
        this.#questions.delete(asking);
        resolve(kept);
      };
      const timer = setTimeout(answer, limit, []);
      this.#questions.set(asking, answer);
      this.#channel?.postMessage({ asking });
    });
  }

  #sayHello() {
    this.#saidHelloAt = now();
    this.#channel?.postMessage({ hello: this.#name, at: this.#saidHelloAt });
  }

  /** @param {string} asking */
  async #answer(asking) {
    if (this.onAsked !== undefined) this.#channel?.postMessage({ told: asking, kept: await this.onAsked() });
  }

  /**
   * @param {Notification & Partial<Hello & Answer & Question &
   * {announcement: import("./changes.js").Announcement}>} data
   */
  #receive(data) {
    this.#hasOthers = true;
    if (data.announcement !== undefined) {
      this.onAnnouncement(data.announcement);
    } else if (data.asking !== undefined) {
      this.#answer(data.asking);
    } else if (data.told !== undefined) {
      this.#questions.get(data.told)?.(data.kept ?? []);
    } else if (data.hello !== undefined) {
      this.#channel?.postMessage({ answered: data.hello });
      this.#tellSince(data.at ?? 0);
      // this context may have been frozen and missed some
      this.onMissed();
    } else if (data.answered === undefined) {
      this.#tell(data, []);
    } else if (data.answered === this.#name) {
      this.#tellSince(this.#saidHelloAt);
      // others notified nobody of what they stored before they knew of this context
      this.onMissed();
    }
  }

  /** @param {number} since */
  #tellSince(since) {
    for (const { notification, at } of this.#unsent.values()) if (at >= since) this.#channel?.postMessage(notification);
    this.#unsent.clear();
  }

  /** @param {Notification} notification @param {Listener[]} excluded */
  #tell(notification, excluded) {
    const { mailbox, depth } = notification;
    if (depth !== undefined) {
      for (const listener of [...this.#listeners]) {
        if (listener.mailbox === mailbox && !excluded.includes(listener)) attempt(() => listener.receiveDepth(depth));
      }
    }
    for (const onNotify of this.#onNotify) onNotify(notification);
  }
}

/** How many messages there may be, according to a notification, or without one. @param {Notification} [notification] */
const countOf = (notification) => (notification === undefined ? 0 : (notification.count ?? 1));

/** Milliseconds on a clock that all contexts share. */
const now = () => performance.timeOrigin + performance.now();
