/**
 * Calls that wait for something to claim: which of them are served, and which are woken.
 *
 * A call that has looked and found nothing is parked: a commit of this context that leaves something to claim serves
 * it, the longest wait first, in its own transaction. What is left, or comes from elsewhere, wakes waiting calls, and
 * they look.
 *
 * As many are woken as there are messages, those that have waited longest first; one that was woken and does not take
 * everything passes it on, see `claim-loop.js`. So a message costs the same however many wait. What has to be checked
 * at a certain time, one of them checks for all.
 */

/** @typedef {import("./cancellation.js").Cancellation} Cancellation */

/** The longest that a timer can wait, in milliseconds; with more it would end at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * A parked call that has claimed in a commit: it is told what becomes of that.
 * @typedef {object} Served
 * @property {() => void} committed
 * @property {(undone: boolean) => void} failed and whether it is sure that nothing was committed
 * @property {() => void} forgotten it never came to a transaction, and the call is parked as before
 */

/** A transaction that is about to commit. @typedef {{served: Served[]}} Committing */

/**
 * What a parked call does in a commit of others. `claim` gives undefined if it is not possible, and then nothing is
 * done; `undone` says whether it is certain that nothing of it was committed.
 * @template T
 * @typedef
 * {{claim(commit: Committing): T | undefined, committed(claimed: T): void, failed(claimed: T, undone: boolean): void}}
 * Claiming
 */

/** @typedef {{waiting: Set<Waiter<any>>, alarm: ReturnType<typeof setTimeout> | undefined, alarmAt: number}} Group */

/** A call that waits, and keeps its place while it looks. @template T what it is served with */
class Waiter {
  /** Whether it was chosen to look. */
  woken = false;
  /** Whether it has been told to look, or what it was served with. */
  isOver = false;
  /**
   * What it is served with in a commit that is under way, or was; undefined if that fails.
   * @type {Promise<T | undefined> | undefined}
   */
  serving;
  /** Once it is parked. @type {Claiming<T> | undefined} */
  #claiming;
  /** While it is waited for. @type {(() => void) | undefined} */
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
   * Has it claim in a commit, and learn what becomes of that.
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
   * Resolves once it is woken, or when the time is over, in milliseconds; or with what it was served with.
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
  /** Those who wait, by mailbox, the longest wait first. @type {Map<string, Group>} */
  #groups = new Map();

  /** Has a call woken from now on, until it ends that. @param {string} mailbox @param {unknown} owner */
  begin(mailbox, owner) {
    const waiter = new Waiter(this, mailbox, owner);
    this.#groupOf(mailbox).waiting.add(waiter);
    return waiter;
  }

  /** Wakes so many waiters. @param {string} mailbox @param {number} [count] */
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
   * Has those who are parked claim in a commit, the longest wait first, up to the first that cannot.
   * @param {string} mailbox @param {Committing} commit
   */
  serve(mailbox, commit) {
    for (const waiter of this.#groups.get(mailbox)?.waiting ?? []) {
      if (waiter.isOver || waiter.serving !== undefined) continue;
      if (!waiter.serveIn(commit)) break;
    }
  }

  /** One of each mailbox looks, and passes on what it does not take. */
  wakeOneEach() {
    for (const mailbox of [...this.#groups.keys()]) this.wake(mailbox);
  }

  /** All of an owner, or all there are. @param {unknown} [owner] */
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
   * Has one of those who wait woken at a time of `performance.now()`, unless that happens before.
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
