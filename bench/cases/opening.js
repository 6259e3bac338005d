// An existing store is opened; milliseconds until it can be used.

/** @type {import("../types.js").Measure} */
export async function measure(queues, job, competitor) {
  await queues[0].close();
  const start = performance.now();
  queues[0] = await competitor.open(job.durability);
  return performance.now() - start;
}
