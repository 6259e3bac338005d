// Messages are stored, handed out and acknowledged, a batch at a time; messages per second. With two handles one stores
// and the other does the rest.

import { batchOf, expectAll, since } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure(queues, job) {
  const producer = queues[0];
  const consumer = queues[queues.length - 1];
  const payloads = batchOf(job);
  let lived = 0;
  const start = performance.now();
  while (since(start) < job.seconds) {
    if (job.batch === 1) {
      await producer.store(payloads[0]);
      const claimed = await consumer.claim(1);
      expectAll(claimed, 1);
      await consumer.ack(claimed[0]);
    } else {
      await producer.storeMany(payloads);
      const claimed = await consumer.claim(job.batch);
      expectAll(claimed, job.batch);
      await consumer.ackMany(claimed);
    }
    lived += job.batch;
  }
  return lived / since(start);
}
