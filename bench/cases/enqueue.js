// One awaited enqueue after another; messages per second.

import { randomBytes, since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([queue], { seconds, payload_bytes: size }) {
  const payload = randomBytes(size);
  let stored = 0;
  const start = performance.now();
  while (since(start) < seconds) {
    await queue.store(payload);
    stored += 1;
  }
  return stored / since(start);
}
