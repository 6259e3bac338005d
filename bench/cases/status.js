// How many messages wait; milliseconds per call.

import { since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([queue], job) {
  let calls = 0;
  const start = performance.now();
  do {
    const count = await queue.count();
    if (count !== job.backlog) throw new Error(`${count} messages wait, not ${job.backlog}`);
    calls += 1;
  } while (since(start) < job.seconds);
  return (since(start) * 1000) / calls;
}
