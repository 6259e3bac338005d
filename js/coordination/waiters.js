/**
 * Calls that wait for something to claim, and who of them is woken.
 *
 * As many are woken as there are messages, those that have waited longest first; whoever was woken and does not take all
 * that is there passes it on, see `claiming.js`. So a message costs the same however many wait. What is to be looked at by
 * itself, at a time, one of them looks at for all.
 */

/** What a timer can wait, in milliseconds; beyond it would end at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** @typedef {{waiting: Set<Waiter>, alarm: ReturnType<typeof setTimeout> | undefined, alarmAt: number}} Group */

/** One that waits. */
class Waiter {
  woken = false;
  wake = () => {};
  /** @type {Promise<void>} */
  #news = new Promise((resolve) => {
    this.wake = resolve;
  });
  #end;

  /** @param {unknown} owner @param {() => void} end */
  constructor(owner, end) {
    this.owner = owner;
    this.#end = end;
  }

  /** Resolves once it is woken, or when the time is over, in milliseconds. @param {number} time @param {AbortSignal} cancelled */
  async within(time, cancelled) {
    const timer = time === Infinity ? undefined : setTimeout(this.wake, Math.min(Math.max(0, time), LONGEST_TIMER));
    cancelled.addEventListener("abort", this.wake);
    if (cancelled.aborted) this.wake();
    await this.#news;
    clearTimeout(timer);
    cancelled.removeEventListener("abort", this.wake);
  }

  /** It waits no more. */
  end() {
    this.#end();
  }
}

export class Waiters {
  /** Those who wait, by mailbox, the longest wait first. @type {Map<string, Group>} */
  #groups = new Map();

  /** Has a call woken from now on; it ends that. @param {string} mailbox @param {unknown} owner */
  begin(mailbox, owner) {
    const waiter = new Waiter(owner, () => this.#end(mailbox, waiter));
    this.#groupOf(mailbox).waiting.add(waiter);
    return waiter;
  }

  /** Wakes so many of those who wait. @param {string} mailbox @param {number} [count] */
  wake(mailbox, count = 1) {
    const group = this.#groups.get(mailbox);
    for (const waiter of group?.waiting ?? []) {
      if (count-- <= 0) break;
      this.#wake(group, waiter);
    }
  }

  /** One of each mailbox looks, and passes on what it does not take. */
  wakeOneEach() {
    for (const mailbox of [...this.#groups.keys()]) this.wake(mailbox);
  }

  /** All of an owner, or all there are. @param {unknown} [owner] */
  wakeAll(owner) {
    for (const group of this.#groups.values()) {
      for (const waiter of [...group.waiting]) if (owner === undefined || waiter.owner === owner) this.#wake(group, waiter);
    }
  }

  /** Has one of those who wait woken at a time of `performance.now()`, unless that happens before. @param {string} mailbox @param {number} at */
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
    if (group === undefined) this.#groups.set(mailbox, (group = { waiting: new Set(), alarm: undefined, alarmAt: Infinity }));
    return group;
  }

  /** @param {Group | undefined} group @param {Waiter} waiter */
  #wake(group, waiter) {
    group?.waiting.delete(waiter);
    waiter.woken = true;
    waiter.wake();
  }

  /** @param {string} mailbox @param {Waiter} waiter */
  #end(mailbox, waiter) {
    waiter.wake();
    const group = this.#groups.get(mailbox);
    group?.waiting.delete(waiter);
    if (group === undefined || group.waiting.size > 0) return;
    clearTimeout(group.alarm);
    this.#groups.delete(mailbox);
  }
}
