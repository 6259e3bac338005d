// Batches are handed out until the queue is empty; messages per second.

import { expectAll, fill, since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([queue], job) {
  const count = await fill(queue, job);
  let claimed = 0;
  const start = performance.now();
  while (claimed < count) {
    const wanted = Math.min(job.batch, count - claimed);
    expectAll(await queue.claim(job.batch), wanted);
    claimed += wanted;
  }
  return count / since(start);
}
