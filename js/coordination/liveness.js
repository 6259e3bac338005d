/**
 * Liveness: which holders live. Each handle is a holder with an identity of its own, its life; after a freeze, in a
 * page from a cache, or without its lock, it begins another life under another identity. See docs/liveness.md.
 *
 * Where there are Web Locks, a holder keeps one as long as it lives, and the lock alone decides: the browser releases
 * it when the tab or worker ends, however it ends, and a context that has asked for it learns of that at once.
 * Elsewhere (an insecure context, or where the browser refuses locks) a holder counts up a heartbeat in the mailbox's
 * state while it holds something, and is gone when the beat has stood still for the holder's lease, measured by the
 * clock of whoever watches, so that a wall clock that jumps does not matter.
 */

import { randomName } from "../model/ids.js";

const LOCK_PREFIX = "pymailbox/holder/";

/** Milliseconds between two queries: the first evicts a page from Chromium's back/forward cache, but still lists it. */
export const SECOND_LOOK = 100;

/** @typedef {import("../model/types.js").HolderTerms & {beat: number}} Terms */

/** Holders by identity. @typedef {Map<string, Terms>} Holders */

/**
 * Holders that are gone, each with its last heartbeat; undefined if a lock showed it, which is final.
 * @typedef {Map<string, number | undefined>} Gone
 */

/**
 * The last beat seen of each holder without a lock, and since when.
 * @typedef {Map<string, {beat: number, since: number}>} Beats
 */

/**
 * Where a holder is: in this page or worker, in whichever engine; in another; or gone.
 * @typedef {"here" | "elsewhere" | "gone"} Whereabouts
 */

/** What this context knows about who lives. */
export class Liveness {
  /** The lives of this context, known without locks. @type {Set<string>} */
  here = new Set();

  /** By mailbox. @type {Map<string, Beats>} */
  #beats = new Map();

  /** @param {import("./locks.js").Locks} locks */
  constructor(locks) {
    this.locks = locks;
  }

  /**
   * Those of some holders that belong to other contexts or are gone.
   * @param {ReadonlyMap<string, Terms>} holders @returns {Holders}
   */
  elsewhereAmong(holders) {
    /** @type {Holders} */
    const elsewhere = new Map();
    for (const [holder, terms] of holders) if (!this.here.has(holder)) elsewhere.set(holder, terms);
    return elsewhere;
  }

  /**
   * Those of a mailbox's holders in other contexts that are gone.
   * @param {string} mailbox @param {Holders} holders all of them @returns {Promise<Gone>}
   */
  async goneAmong(mailbox, holders) {
    /** @type {Beats} */
    const beats = new Map();
    const gone = await this.#deadAmong(mailbox, holders, (holder, seen) => beats.set(holder, seen));
    // forget holders that no longer exist
    if (beats.size > 0) this.#beats.set(mailbox, beats);
    else this.#beats.delete(mailbox);
    return new Map(gone.map(([holder, { locked, beat }]) => [holder, locked ? undefined : beat]));
  }

  /**
   * Where some holders of a mailbox are, as far as is known without waiting. Unlike `goneAmong` it records nothing, so
   * it may be called at any time without consequences.
   * @param {string} mailbox @param {ReadonlyMap<string, Terms>} holders @returns {Promise<Map<string, Whereabouts>>}
   */
  async whereabouts(mailbox, holders) {
    const [gone, clients] = await Promise.all([
      this.#deadAmong(mailbox, this.elsewhereAmong(holders), () => {}),
      this.locks.clients(),
    ]);
    const dead = new Set(gone.map(([holder]) => holder));
    const own = new Set([...this.here].map((holder) => clients.get(LOCK_PREFIX + holder)));
    return new Map(
      [...holders.keys()].map((holder) => {
        const client = clients.get(LOCK_PREFIX + holder);
        const isHere = this.here.has(holder) || (client !== undefined && own.has(client));
        return [holder, isHere ? "here" : dead.has(holder) ? "gone" : "elsewhere"];
      }),
    );
  }

  /**
   * @param {string} mailbox @param {Holders} holders of other contexts
   * @param {(holder: string, seen: {beat: number, since: number}) => void} keep called with what was seen of one that
   * may live
   */
  async #deadAmong(mailbox, holders, keep) {
    const keepingLocks = [...holders].filter(([, { locked }]) => locked).map(([holder]) => LOCK_PREFIX + holder);
    const unheld = await this.locks.unheldAmong(keepingLocks);
    const before = this.#beats.get(mailbox);
    return [...holders].filter(([holder, terms]) =>
      terms.locked
        ? unheld.has(LOCK_PREFIX + holder)
        : hasLeaseExpired(terms, before?.get(holder), (seen) => keep(holder, seen)),
    );
  }

  /**
   * Resolves when a holder of another context dies; never if no lock can show it.
   * @param {string} holder @param {AbortSignal} signal
   */
  death(holder, signal) {
    return this.locks.onceReleased(LOCK_PREFIX + holder, signal);
  }
}

/** One life of a holder of this context. */
export class Life {
  id = randomName();
  /** Whether a lock shows that it lives. */
  locked = false;
  /** Whether others can see that it lives, or could; until then it may hold nothing. */
  begun = false;
  /** Whether its lock was taken away: others may take what it holds, so nothing may be added to that. */
  hasLostLock = false;
  /** Whether everything that it held has been given back or taken. */
  over = false;
  #ended = false;
  #release = () => {};
  /** @type {Promise<void> | undefined} */
  #beginning;
  #liveness;
  #onLost;

  /**
   * @param {Liveness} liveness of its context @param {(life: Life) => void} onLost called when its lock is taken away
   */
  constructor(liveness, onLost) {
    this.#liveness = liveness;
    this.#onLost = onLost;
  }

  /** Resolves once it has begun. */
  begin() {
    return (this.#beginning ??= this.#begin());
  }

  async #begin() {
    this.#liveness.here.add(this.id);
    try {
      this.#release = await this.#liveness.locks.keep(LOCK_PREFIX + this.id, () => {
        this.hasLostLock = true;
        this.#onLost(this);
      });
      this.locked = true;
      if (this.#ended) this.#release();
    } catch {
      // there are no locks, or the browser refuses them here: a heartbeat then shows that it lives
    }
    this.begun = true;
  }

  get mayClaim() {
    return this.begun && !this.hasLostLock;
  }

  end() {
    this.#ended = true;
    this.#liveness.here.delete(this.id);
    this.#release();
  }
}

/**
 * @param {{beat: number, lease: number}} terms
 * @param {{beat: number, since: number} | undefined} seen what was seen of it last
 * @param {(seen: {beat: number, since: number}) => void} keep for the next look
 */
function hasLeaseExpired({ beat, lease }, seen, keep) {
  const now = performance.now();
  const last = seen?.beat === beat ? seen : { beat, since: now };
  const gone = seen === last && now - last.since >= lease;
  if (!gone) keep(last);
  return gone;
}
