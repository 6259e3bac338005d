// A consumer has claimed all messages of the backlog and is gone; milliseconds until they can be handed out again.

import { claimAll } from "./common.js";

/** @type {import("../types.js").Measure} */
export async function measure([survivor, victim], job) {
  await claimAll(victim, job.backlog);
  const start = performance.now();
  const recovered = await survivor.recover?.();
  const took = performance.now() - start;
  if (recovered !== job.backlog) throw new Error(`${recovered} messages came back, not ${job.backlog}`);
  return took;
}
