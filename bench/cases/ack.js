// Inflight messages are acknowledged, one by one or a batch at a time; messages per second.

import { claimAll, fill, since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([queue], job) {
  const claimed = await claimAll(queue, await fill(queue, job));
  const start = performance.now();
  if (job.batch === 1) {
    for (const message of claimed) await queue.ack(message);
  } else {
    for (let i = 0; i < claimed.length; i += job.batch) await queue.ackMany(claimed.slice(i, i + job.batch));
  }
  return claimed.length / since(start);
}
