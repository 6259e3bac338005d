// Random numbers for tests in Node.

import { randomOf } from "./pages/races/random.js";

/**
 * Seeds, and for each a source of numbers; only that of SEED in the environment, if there is one.
 * @param {number} count
 * @returns {Generator<{seed: number, below: (limit: number) => number}>}
 */
export function* random(count) {
  const only = process.env.SEED;
  const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i) : [Number(only)];
  for (const seed of seeds) yield { seed, below: randomOf(seed).below };
}
