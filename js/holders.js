/**
 * Who lives. Each handle is a holder with an identity of its own.
 *
 * Where there are Web Locks, a holder keeps one as long as it lives, and the lock alone decides: the browser gives it up
 * when the tab or worker ends, however it ends, and whoever has asked for it hears of that at once. Elsewhere (an insecure
 * context, or a place where the browser refuses locks) a holder counts up a beat in the mailbox's state while it holds
 * something, and is gone when the beat has stood still for the holder's lease, measured by the clock of whoever watches, so
 * that a wall clock that jumps means nothing.
 */

import { randomName } from "./ids.js";

const LOCK_PREFIX = "pymailbox/holder/";

/** A page in Chromium's back/forward cache is still listed by the first query, which evicts it. Milliseconds. */
export const SECOND_LOOK = 100;

const locks = globalThis.navigator?.locks;

/**
 * Holders that are gone, each with the beat that stood still; undefined where a lock told, which is final.
 * @typedef {Map<string, number | undefined>} Gone
 */

/** Beats seen of holders without a lock: which, and since when. @type {Map<string, {beat: number, since: number}>} */
const beats = new Map();

/** The life of one holder of this context. */
export class Life {
  id = randomName();
  /** Whether a lock tells that it lives. */
  locked = false;
  /** @type {() => void} */
  end = () => {};

  /** @returns {Promise<Life>} after which others can see it */
  static async begin() {
    const life = new Life();
    try {
      life.end = await keepLock(LOCK_PREFIX + life.id);
      life.locked = true;
    } catch {
      // there are none, or the browser refuses them here: then its beat tells
    }
    return life;
  }
}

/** Holds a lock until the function that it resolves with is called, or this context ends. @param {string} name @returns {Promise<() => void>} */
export function keepLock(name) {
  return new Promise((held, failed) => {
    if (locks === undefined) throw new Error("there are no Web Locks here");
    const released = new Promise((release) => {
      locks
        .request(name, () => {
          held(() => release(undefined));
          return released;
        })
        .catch(failed);
    });
  });
}

/**
 * Those of some names whose locks nobody holds; none where nothing can tell.
 * @param {string[]} names @returns {Promise<Set<string>>}
 */
export async function unheldAmong(names) {
  if (locks === undefined || names.length === 0) return new Set();
  try {
    const { held = [] } = await locks.query();
    const holding = new Set(held.map(({ name }) => name));
    return new Set(names.filter((name) => !holding.has(name)));
  } catch {
    // Firefox refuses to list them in a frame of another site
    const unheld = await Promise.all(names.map(isUnheld));
    return new Set(names.filter((_, i) => unheld[i]));
  }
}

/** Whether nobody holds a lock, as the lock itself tells. @param {string} name */
async function isUnheld(name) {
  try {
    // shared, so that those who ask at the same time are not in each other's way
    return await locks?.request(name, { mode: "shared", ifAvailable: true }, (lock) => lock !== null);
  } catch {
    return false; // nothing can tell
  }
}

/**
 * Those of some holders that are gone.
 * @param {Map<string, import("./types.js").HolderTerms & {beat: number}>} holders
 * @returns {Promise<Gone>}
 */
export async function goneAmong(holders) {
  const keepingLocks = [...holders].filter(([, { locked }]) => locked).map(([holder]) => LOCK_PREFIX + holder);
  const unheld = await unheldAmong(keepingLocks);
  const gone = [...holders].filter(([holder, terms]) =>
    terms.locked ? unheld.has(LOCK_PREFIX + holder) : hasMissedItsLease(holder, terms),
  );
  return new Map(gone.map(([holder, { locked, beat }]) => [holder, locked ? undefined : beat]));
}

/** Resolves when a holder dies; never, where no lock can tell. @param {string} holder @param {AbortSignal} signal */
export async function death(holder, signal) {
  if (locks === undefined) return new Promise(() => {});
  return locks.request(LOCK_PREFIX + holder, { signal }, () => {});
}

/** @param {string} holder @param {{beat: number, lease: number}} terms */
function hasMissedItsLease(holder, { beat, lease }) {
  const now = performance.now();
  const seen = beats.get(holder);
  if (seen?.beat === beat) {
    const gone = now - seen.since >= lease;
    if (gone) beats.delete(holder);
    return gone;
  }
  beats.set(holder, { beat, since: now });
  return false;
}
