// What several cases need.

/** Messages for a case that empties a store, by batch: enough for a steady figure, not too many one by one. */
const ONE_BY_ONE = 300;
const IN_BATCHES = 2000;

/** The most bytes that such a case stores. */
const FILL_BYTES = 32 * 1024 * 1024;

/** Bytes that cannot be compressed. @param {number} size */
export function randomBytes(size) {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
  return bytes;
}

/** The payloads of a batch. @param {import("../types.js").Job} job */
export function batchOf({ payload_bytes: size, batch }) {
  const payload = randomBytes(size);
  return Array.from({ length: batch }, () => payload);
}

/**
 * Stores messages for a case that empties a store.
 * @param {import("../types.js").Queue} queue @param {import("../types.js").Job} job @returns {Promise<number>} how many
 */
export async function fill(queue, { payload_bytes: size, batch }) {
  const most = batch === 1 ? ONE_BY_ONE : IN_BATCHES;
  const count = Math.min(most, Math.floor(FILL_BYTES / size));
  const payload = randomBytes(size);
  for (let left = count; left > 0; left -= 100) {
    await queue.storeMany(Array.from({ length: Math.min(left, 100) }, () => payload));
  }
  return count;
}

/** Claims exactly that many. @param {import("../types.js").Queue} queue @param {number} count */
export async function claimAll(queue, count) {
  const claimed = [];
  while (claimed.length < count) {
    const batch = await queue.claim(Math.min(100, count - claimed.length));
    if (batch.length === 0) throw new Error(`only ${claimed.length} of ${count} messages could be claimed`);
    claimed.push(...batch);
  }
  return claimed;
}

/** @param {unknown[]} claimed @param {number} wanted */
export function expectAll(claimed, wanted) {
  if (claimed.length !== wanted) throw new Error(`${claimed.length} messages were handed out, not ${wanted}`);
}

/** Seconds since a moment of `performance.now()`. @param {number} start */
export const since = (start) => (performance.now() - start) / 1000;
