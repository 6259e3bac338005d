/**
 * Calls that wait for something to claim: which of them are served, and which are woken.
 *
 * A call that has looked and found nothing is parked: a commit of this context that leaves something to claim serves it
 * in its own transaction, longest wait first. What remains, or comes from elsewhere, wakes waiting calls, and they
 * look.
 *
 * As many are woken as there are messages, longest wait first; one that was woken and does not take everything passes
 * it on, see `claim-loop.js`. So a message costs the same however many wait. When something has to be checked at a
 * certain time, one of them does it for all.
 */

/** @typedef {import("./cancellation.js").Cancellation} Cancellation */

/** The most milliseconds that a timer can wait; with more it would end at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * A parked call that has claimed in a commit, and is told how that ends.
 * @typedef {object} Served
 * @property {() => void} committed
 * @property {(undone: boolean) => void} failed and whether certainly nothing was committed
 * @property {() => void} forgotten there was no transaction after all, and the call is parked as before
 */

/** A transaction that is about to commit. @typedef {{served: Served[]}} Committing */

/**
 * What a parked call does in another's commit. `claim` gives undefined if that is impossible, with nothing done;
 * `undone` says whether certainly nothing of it was committed.
 * @template T
 * @typedef
 * {{claim(commit: Committing): T | undefined, committed(claimed: T): void, failed(claimed: T, undone: boolean): void}}
 * Claiming
 */

/** @typedef {{waiting: Set<Waiter<any>>, alarm: ReturnType<typeof setTimeout> | undefined, alarmAt: number}} Group */

/** A call that waits and keeps its place while it looks. @template T what it is served */
class Waiter {
  /** Whether it was chosen to look. */
  woken = false;
  /** Whether it has been told to look, or what it was served. */
  isOver = false;
  /**
   * What a commit serves it, which may still be under way; undefined if that fails.
   * @type {Promise<T | undefined> | undefined}
   */
  serving;
  /** Set once it is parked. @type {Claiming<T> | undefined} */
  #claiming;
  /** Set while it waits. @type {(() => void) | undefined} */
  #resolve;
  #waiters;

  /** @param {Waiters} waiters @param {string} mailbox @param {unknown} owner */
  constructor(waiters, mailbox, owner) {
    this.#waiters = waiters;
    this.mailbox = mailbox;
    this.owner = owner;
  }

  /** Lets it be woken from now on. */
  listen() {
    this.woken = this.isOver = false;
    this.serving = this.#claiming = undefined;
  }

  wake() {
    this.isOver = true;
    this.#resolve?.();
  }

  /** Lets commits serve it from now on. @param {Claiming<T>} claiming */
  park(claiming) {
    this.#claiming = claiming;
  }

  get isParked() {
    return this.#claiming !== undefined;
  }

  /**
   * Lets it claim in a commit, and tells it how that ends.
   * @param {Committing} commit @returns {boolean} false if it cannot
   */
  serveIn(commit) {
    const claiming = this.#claiming;
    const claimed = claiming?.claim(commit);
    if (claiming === undefined || claimed === undefined) return false;
    this.serving = new Promise((resolve) => {
      const end = (/** @type {T | undefined} */ served) => {
        resolve(served);
        this.wake();
      };
      commit.served.push({
        committed: () => {
          claiming.committed(claimed);
          end(claimed);
        },
        failed: (undone) => {
          claiming.failed(claimed, undone);
          end(undefined);
        },
        forgotten: () => {
          claiming.failed(claimed, true);
          this.serving = undefined;
        },
      });
    });
    return true;
  }

  /**
   * Resolves when it is woken or when its time (milliseconds) is up, or with what it was served.
   * @param {number} time @param {Cancellation} cancelled @returns {Promise<T | undefined>}
   */
  async within(time, cancelled) {
    const wake = () => this.wake();
    const timer = time === Infinity ? undefined : setTimeout(wake, Math.min(Math.max(0, time), LONGEST_TIMER));
    const unlisten = cancelled.listen(wake);
    if (!this.isOver && !cancelled.isCancelled)
      await new Promise((/** @type {(_: void) => void} */ resolve) => (this.#resolve = resolve));
    this.isOver = true;
    this.#resolve = undefined;
    clearTimeout(timer);
    unlisten();
    return this.serving;
  }

  /** It no longer waits. */
  end() {
    this.#waiters.end(this);
  }
}

export class Waiters {
  /** The waiting calls by mailbox, longest wait first. @type {Map<string, Group>} */
  #groups = new Map();

  /** Registers a call to be woken from now on, until it ends that. @param {string} mailbox @param {unknown} owner */
  begin(mailbox, owner) {
    const waiter = new Waiter(this, mailbox, owner);
    this.#groupOf(mailbox).waiting.add(waiter);
    return waiter;
  }

  /** Wakes this many waiters. @param {string} mailbox @param {number} [count] */
  wake(mailbox, count = 1) {
    const group = this.#groups.get(mailbox);
    for (const waiter of group?.waiting ?? []) {
      if (count <= 0) break;
      if (waiter.isOver || waiter.serving !== undefined) continue;
      choose(waiter);
      count -= 1;
    }
  }

  /**
   * Lets parked calls claim in a commit, longest wait first, up to the first that cannot.
   * @param {string} mailbox @param {Committing} commit
   */
  serve(mailbox, commit) {
    for (const waiter of this.#groups.get(mailbox)?.waiting ?? []) {
      if (waiter.isOver || waiter.serving !== undefined) continue;
      if (!waiter.serveIn(commit)) break;
    }
  }

  /** Makes one call of each mailbox look; it passes on what it does not take. */
  wakeOneEach() {
    for (const mailbox of [...this.#groups.keys()]) this.wake(mailbox);
  }

  /** Wakes all calls of an owner, or all. @param {unknown} [owner] */
  wakeAll(owner) {
    for (const group of this.#groups.values()) {
      for (const waiter of group.waiting) if (owner === undefined || waiter.owner === owner) choose(waiter);
    }
  }

  /** Whether several calls wait, or look. @param {string} mailbox */
  areMany(mailbox) {
    return (this.#groups.get(mailbox)?.waiting.size ?? 0) > 1;
  }

  /**
   * Wakes one of the waiting calls at a time of `performance.now()`, unless one is woken earlier.
   * @param {string} mailbox @param {number} at
   */
  setAlarm(mailbox, at) {
    const group = this.#groups.get(mailbox);
    if (group === undefined || group.alarmAt <= at) return;
    clearTimeout(group.alarm);
    group.alarmAt = at;
    const ring = () => {
      group.alarmAt = Infinity;
      this.wake(mailbox);
    };
    group.alarm = setTimeout(ring, Math.min(Math.max(0, at - performance.now()), LONGEST_TIMER));
  }

  /** @param {string} mailbox @returns {Group} */
  #groupOf(mailbox) {
    let group = this.#groups.get(mailbox);
    if (group === undefined)
      this.#groups.set(mailbox, (group = { waiting: new Set(), alarm: undefined, alarmAt: Infinity }));
    return group;
  }

  /** @param {Waiter<any>} waiter that no longer waits */
  end(waiter) {
    waiter.wake();
    const { mailbox } = waiter;
    const group = this.#groups.get(mailbox);
    group?.waiting.delete(waiter);
    if (group === undefined || group.waiting.size > 0) return;
    clearTimeout(group.alarm);
    this.#groups.delete(mailbox);
  }
}

/** @param {Waiter<any>} waiter */
function choose(waiter) {
  waiter.woken = true;
  waiter.wake();
}
