/**
 * Who lives. Each handle is a holder with an identity of its own.
 *
 * Where there are Web Locks, a holder keeps one as long as it lives, and the lock alone decides: the browser gives it up
 * when the tab or worker ends, however it ends, and whoever has asked for it hears of that at once. Elsewhere (an insecure
 * context) a holder counts up a beat in the mailbox's state while it holds something, and is gone when the beat has stood
 * still for the holder's lease, measured by the clock of whoever watches, so that a wall clock that jumps means nothing.
 */

import { randomName } from "./ids.js";

const LOCK_PREFIX = "pymailbox/holder/";

/** A page in Chromium's back/forward cache is still listed by the first query, which evicts it. Milliseconds. */
export const SECOND_LOOK = 100;

const locks = globalThis.navigator?.locks;

/** Whether a lock can tell that a holder lives. */
export const locked = locks !== undefined;

/**
 * Holders that are gone, each with the beat that stood still; undefined where a lock told, which is final.
 * @typedef {Map<string, number | undefined>} Gone
 */

/** Beats seen of holders without a lock: which, and since when. @type {Map<string, {beat: number, since: number}>} */
const beats = new Map();

/** The life of one holder of this context. */
export class Life {
  id = randomName();
  /** @type {() => void} */
  end = () => {};

  /** @returns {Promise<Life>} after which others can see it */
  static async begin() {
    const life = new Life();
    if (locked) life.end = await keepLock(LOCK_PREFIX + life.id);
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

/** Tells of names whether locks of these names are held anywhere. @returns {Promise<(name: string) => boolean>} */
export async function isHeld() {
  const names = new Set((await locks?.query())?.held?.map(({ name }) => name));
  return (name) => names.has(name);
}

/**
 * Those of some holders that are gone.
 * @param {Map<string, import("./types.js").HolderTerms & {beat: number}>} holders
 * @returns {Promise<Gone>}
 */
export async function goneAmong(holders) {
  const held = await isHeld();
  const gone = [...holders].filter(([holder, terms]) =>
    terms.locked ? locked && !held(LOCK_PREFIX + holder) : hasMissedItsLease(holder, terms),
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
