/**
 * Who is told that the counts of a mailbox may have changed: functions of this context, and other contexts that listen.
 *
 * Nobody else pays for that. A context that listens says so, to all that it has heard of, when it begins, whenever
 * somebody greets (see `notifier.js`), and now and then; for a while after that the others tell it of their commits.
 * What they tell may be lost, so a listener also looks at the last version of the mailbox: now and then, or all the
 * time where contexts cannot talk to each other.
 */

/** Milliseconds between two times that the same one is told, at least. */
const INTERVAL = 50;

/** Milliseconds after which a context says again that it listens, and for which others believe it. */
const SAID_AGAIN = 10_000;
const BELIEVED = 30_000;

/**
 * Sent by a context that listens, and to it.
 * @typedef {{listening: string[]} | {changed: string}} News
 */

/** Calls a function at once, or later if it was called a moment ago: once then, and never not at all. */
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

  /** Calls now what would be called later. */
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
   * Mailboxes to which others listen: until when that is believed, and what tells them.
   * @type {Map<string, {until: number, telling: Merged}>}
   */
  #elsewhere = new Map();
  /** The last versions that were seen of the mailboxes to which this context listens. @type {Map<string, string>} */
  #versions = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #looking;
  #saidAt = -Infinity;
  #notifier;
  #lookUp;
  #slowPoll;

  /**
   * @param {{hasChannel: boolean, tellNews(news: News): void}} notifier
   * @param {(mailbox: string) => Promise<string>} lookUp a text that is another after each commit to a mailbox
   * @param {number} slowPoll milliseconds after which a listener looks in any case
   */
  constructor(notifier, lookUp, slowPoll) {
    this.#notifier = notifier;
    this.#lookUp = lookUp;
    this.#slowPoll = slowPoll;
  }

  /**
   * Calls a function after each change from now on, or after several; until the function that this returns is called.
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

  /** To be called after each commit. @param {Iterable<string>} mailboxes that it has changed */
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

  /** Takes what another context says. @param {News} news */
  receive(news) {
    if ("changed" in news) {
      this.#tell(news.changed);
      return;
    }
    const until = performance.now() + BELIEVED;
    for (const mailbox of news.listening) {
      const telling =
        this.#elsewhere.get(mailbox)?.telling ?? new Merged(() => this.#notifier.tellNews({ changed: mailbox }));
      this.#elsewhere.set(mailbox, { until, telling });
    }
  }

  /** To be called when news may have been missed, or somebody may not know that this context listens. */
  missed() {
    this.hurry();
    if (this.#listeners.size === 0) return;
    this.#say();
    for (const mailbox of this.#listeners.keys()) this.#tell(mailbox);
  }

  /** Tells others now what they would be told later: this context may not be there then. */
  hurry() {
    for (const { telling } of this.#elsewhere.values()) telling.hurry();
  }

  #say() {
    this.#saidAt = performance.now();
    this.#notifier.tellNews({ listening: [...this.#listeners.keys()] });
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
          // whoever listens finds out why
          this.#tell(mailbox);
        },
      );
    }
  }
}
