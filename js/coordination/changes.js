/**
 * Tells listeners that the counts of a mailbox may have changed: functions of this context, and other contexts that
 * listen.
 *
 * It costs nobody else anything. A context that listens says so to all the others that it knows of: when it begins,
 * whenever somebody says hello (see `notifier.js`), and now and then; for a while after that they tell it of their
 * commits. That may get lost, so a listener also looks at the last version of the mailbox: now and then, or all the
 * time if contexts cannot talk to each other.
 */

/** The least milliseconds between two calls of the same listener. */
const INTERVAL = 50;

/** Milliseconds between a context's announcements that it listens, and for how long others believe one. */
const SAID_AGAIN = 10_000;
const BELIEVED = 30_000;

/**
 * What a context that listens sends, and what it is sent.
 * @typedef {{listening: string[]} | {changed: string}} Announcement
 */

/** Calls a function at once, or once a little later if it was just called; no call is lost. */
class Merged {
  #call;
  #last = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => void} call */
  constructor(call) {
    this.#call = call;
  }

  ask() {
    if (this.#timer !== undefined) return;
    const wait = this.#last + INTERVAL - performance.now();
    if (wait <= 0) this.#callNow();
    else this.#timer = setTimeout(() => this.#callNow(), wait);
  }

  /** Makes a call that is due later now. */
  hurry() {
    if (this.#timer !== undefined) this.#callNow();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #callNow() {
    this.stop();
    this.#last = performance.now();
    this.#call();
  }
}

export class Changes {
  /** Functions of this context, by mailbox. @type {Map<string, Set<Merged>>} */
  #listeners = new Map();
  /**
   * Mailboxes that others listen to: until when that is believed, and what tells them.
   * @type {Map<string, {until: number, telling: Merged}>}
   */
  #elsewhere = new Map();
  /** The last versions seen of the mailboxes that this context listens to. @type {Map<string, string>} */
  #versions = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #looking;
  #saidAt = -Infinity;
  #notifier;
  #lookUp;
  #slowPoll;

  /**
   * @param {{hasChannel: boolean, announce(announcement: Announcement): void}} notifier
   * @param {(mailbox: string) => Promise<string>} lookUp a text that changes with each commit to a mailbox
   * @param {number} slowPoll milliseconds after which a listener looks in any case
   */
  constructor(notifier, lookUp, slowPoll) {
    this.#notifier = notifier;
    this.#lookUp = lookUp;
    this.#slowPoll = slowPoll;
  }

  /**
   * Calls a function after changes (once for several close together), until the returned function is called.
   * @param {string} mailbox @param {() => void} onChange
   */
  listen(mailbox, onChange) {
    const listener = new Merged(onChange);
    let listeners = this.#listeners.get(mailbox);
    if (listeners === undefined) this.#listeners.set(mailbox, (listeners = new Set()));
    listeners.add(listener);
    this.#say();
    this.#looking ??= setInterval(() => this.#look(), this.#notifier.hasChannel ? this.#slowPoll : INTERVAL);
    return () => {
      listener.stop();
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(mailbox) !== listeners) return;
      this.#listeners.delete(mailbox);
      this.#versions.delete(mailbox);
      if (this.#listeners.size > 0) return;
      clearInterval(this.#looking);
      this.#looking = undefined;
    };
  }

  /** To be called after each commit. @param {Iterable<string>} mailboxes that it changed */
  committed(mailboxes) {
    if (this.#listeners.size + this.#elsewhere.size === 0) return;
    for (const mailbox of mailboxes) {
      this.#tell(mailbox);
      const elsewhere = this.#elsewhere.get(mailbox);
      if (elsewhere === undefined) continue;
      if (elsewhere.until > performance.now()) elsewhere.telling.ask();
      else this.#elsewhere.delete(mailbox);
    }
  }

  /** Handles a message of another context. @param {Announcement} announcement */
  receive(announcement) {
    if ("changed" in announcement) {
      this.#tell(announcement.changed);
      return;
    }
    const until = performance.now() + BELIEVED;
    for (const mailbox of announcement.listening) {
      const telling =
        this.#elsewhere.get(mailbox)?.telling ?? new Merged(() => this.#notifier.announce({ changed: mailbox }));
      this.#elsewhere.set(mailbox, { until, telling });
    }
  }

  /** To be called when a change may have been missed, or somebody may not know that this context listens. */
  missed() {
    this.hurry();
    if (this.#listeners.size === 0) return;
    this.#say();
    for (const mailbox of this.#listeners.keys()) this.#tell(mailbox);
  }

  /** Tells others at once what they would be told later: this context may be gone then. */
  hurry() {
    for (const { telling } of this.#elsewhere.values()) telling.hurry();
  }

  #say() {
    this.#saidAt = performance.now();
    this.#notifier.announce({ listening: [...this.#listeners.keys()] });
  }

  /** @param {string} mailbox */
  #tell(mailbox) {
    for (const listener of this.#listeners.get(mailbox) ?? []) listener.ask();
  }

  #look() {
    if (performance.now() >= this.#saidAt + SAID_AGAIN) this.#say();
    for (const mailbox of this.#listeners.keys()) {
      this.#lookUp(mailbox).then(
        (version) => {
          if (!this.#listeners.has(mailbox) || version === this.#versions.get(mailbox)) return;
          this.#versions.set(mailbox, version);
          this.#tell(mailbox);
        },
        () => {
          // the listener finds out why
          this.#tell(mailbox);
        },
      );
    }
  }
}
