// Messages are taken one at a time, each after the acknowledgement of the previous one; messages per second.

import { expectAll, fill, since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([queue], job) {
  const count = await fill(queue, job);
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    const claimed = await queue.claim(1);
    expectAll(claimed, 1);
    await queue.ack(claimed[0]);
  }
  return count / since(start);
}
