// One awaited batch after another; messages per second.

import { batchOf, since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([queue], job) {
  const payloads = batchOf(job);
  let stored = 0;
  const start = performance.now();
  while (since(start) < job.seconds) {
    await queue.storeMany(payloads);
    stored += payloads.length;
  }
  return stored / since(start);
}
