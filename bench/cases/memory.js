// A hundred thousand messages are stored, a thousand per call, and then drained; the most megabytes by which the
// JavaScript heap grew. Chromium only: others do not say.

import { randomBytes } from "./common.js";

const MESSAGES = 100_000;
const STORING = 1000;

const heap = () => /** @type {any} */ (performance).memory.usedJSHeapSize;

/** @type {import("../types.js").Measure} */
export async function measure([queue], { payload_bytes: size, batch }) {
  const before = heap();
  let highest = before;
  const payload = randomBytes(size);
  for (let stored = 0; stored < MESSAGES; stored += STORING) {
    await queue.storeMany(Array.from({ length: STORING }, () => payload));
    highest = Math.max(highest, heap());
  }
  for (;;) {
    const claimed = await queue.claim(batch);
    if (claimed.length === 0) break;
    await queue.ackMany(claimed);
    highest = Math.max(highest, heap());
  }
  return (highest - before) / 1e6;
}
