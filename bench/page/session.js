// Runs the cases whose competitors are written in JavaScript; `bench/session.py` does the same for those in Python.

import bareRecords from "../competitors/bare_records.js";
import dexie from "../competitors/dexie.js";
import origin from "../competitors/origin.js";
import rawIndexedDb from "../competitors/raw_indexeddb.js";
import rawPut from "../competitors/raw_put.js";
import tanstack from "../competitors/tanstack.js";
import workbox from "../competitors/workbox.js";
import { randomBytes } from "../cases/common.js";
import * as cases from "../cases/index.js";

/** @typedef {import("../types.js").Job} Job */
/** @typedef {import("../types.js").Queue} Queue */

/** By the names that the plan uses. @type {Record<string, import("../types.js").Competitor>} */
export const COMPETITORS = {
  "bare records": bareRecords,
  dexie,
  origin,
  "raw IndexedDB": rawIndexedDb,
  "raw put": rawPut,
  tanstack,
  workbox,
};

/** Messages of the backlog that are stored at once. */
const FILLING = 1000;

/** Seconds that a case runs before it is measured. */
const WARM_UP = 0.05;

/** @type {Map<string, {queues: Queue[], job: Job}>} */
const prepared = new Map();

/** Opens a competitor's fresh store and fills it. @param {string} name @param {Job} job */
export async function prepare(name, job) {
  const competitor = COMPETITORS[name];
  const queues = [];
  for (let i = 0; i < job.handles; i++) queues.push(await competitor.open(job.durability));
  prepared.set(name, { queues, job });
  const payload = randomBytes(job.payload_bytes);
  for (let left = job.backlog; left > 0; left -= FILLING) {
    await queues[0].storeMany(Array.from({ length: Math.min(left, FILLING) }, () => payload));
  }
  if (isRepeated(job)) await measureOf(job)(queues, { ...job, seconds: WARM_UP }, competitor);
}

/** @param {string} name */
export async function measure(name) {
  const { queues, job } = preparedFor(name);
  return measureOf(job)(queues, job, COMPETITORS[name]);
}

/** Closes a competitor and deletes its store. @param {string} name */
export async function finish(name) {
  for (const queue of preparedFor(name).queues) await queue.close();
  prepared.delete(name);
  await COMPETITORS[name].destroy();
}

/** @param {string} name */
function preparedFor(name) {
  const found = prepared.get(name);
  if (found === undefined) throw new Error(`${name} is not prepared`);
  return found;
}

/** @param {Job} job */
function measureOf({ case: name }) {
  const found = /** @type {Record<string, import("../types.js").Measure>} */ (cases)[name];
  if (found === undefined) throw new Error(`case ${name} has no competitors in JavaScript`);
  return found;
}

/** @param {Job} job */
const isRepeated = ({ seconds }) => seconds > 0;
