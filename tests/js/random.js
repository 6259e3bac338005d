// Numbers that are random and can be had again.

/**
 * Seeds, and for each a source of numbers; only that of SEED in the environment, if there is one.
 * @param {number} count
 * @returns {Generator<{seed: number, below: (limit: number) => number}>}
 */
export function* random(count) {
  const only = process.env.SEED;
  const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i) : [Number(only)];
  for (const seed of seeds) {
    let state = seed + 1;
    // mulberry32
    const next = () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
    yield { seed, below: (limit) => Math.floor(next() * limit) };
  }
}
