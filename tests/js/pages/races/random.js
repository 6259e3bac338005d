/** Repeatable random numbers. */

/** @param {number} seed */
export function randomOf(seed) {
  let state = seed + 1;
  // mulberry32
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    below: (/** @type {number} */ limit) => Math.floor(next() * limit),
    once: (/** @type {number} */ times) => next() * times < 1,
    /** @template T @param {readonly T[]} of @returns {T} */
    pick: (of) => of[Math.floor(next() * of.length)],
  };
}
