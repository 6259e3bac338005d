// One batch is handed out while a backlog waits; milliseconds per call.

import { batchOf, expectAll, since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([queue], job) {
  const payloads = batchOf(job);
  let calls = 0;
  let claiming = 0;
  const start = performance.now();
  while (since(start) < job.seconds) {
    const called = performance.now();
    const claimed = await queue.claim(job.batch);
    claiming += performance.now() - called;
    calls += 1;
    expectAll(claimed, job.batch);
    // the backlog stays as it is
    await queue.ackMany(claimed);
    await queue.storeMany(payloads);
  }
  return claiming / calls;
}
