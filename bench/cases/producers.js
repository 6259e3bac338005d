// `batch` producers each await one enqueue after another; messages per second.

import { randomBytes, since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([queue], { seconds, payload_bytes: size, batch }) {
  const payload = randomBytes(size);
  let stored = 0;
  const start = performance.now();
  const produce = async () => {
    while (since(start) < seconds) {
      await queue.store(payload);
      stored += 1;
    }
  };
  await Promise.all(Array.from({ length: batch }, produce));
  return stored / since(start);
}
