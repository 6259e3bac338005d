/**
 * Ids that stay known for a while, whatever happens to their messages, so that a message enqueued again under one of
 * them is not stored again: two rows of the store `remembered` for each id.
 *
 * The head of a mailbox says if it never had any.
 */

import { isTime, viewOf } from "../model/frames.js";
import { ID_BYTES, keyOf } from "../model/ids.js";
import { PAGE_MESSAGES } from "../model/limits.js";
import { result } from "../storage/requests.js";

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("./read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/**
 * An id, and until when it is known, milliseconds since 1970.
 * @typedef {{id: Uint8Array<ArrayBuffer>, until: number}} Known
 */

/** The most ids that are forgotten for each one that is remembered, so that each call stays quick. */
const FORGOTTEN_AT_ONCE = 100;

/** How known ids cross to Python: the id, and until when, float64. */
const KNOWN_BYTES = ID_BYTES + 8;

/**
 * Until when ids are known; undefined for each that is not.
 * @param {ReadTransaction} tx @param {MailboxState} state @param {Uint8Array<ArrayBuffer>[]} ids
 * @returns {Promise<(number | undefined)[]>}
 */
export async function rememberedUntil(tx, { number, remembered }, ids) {
  if (remembered === 0) return ids.map(() => undefined);
  const rows = tx.store("remembered");
  const untils = await Promise.all(ids.map((id) => result(rows.get([number, id]))));
  return untils.map((until) => (isTime(until) ? until : undefined));
}

/**
 * Keeps ids known for at least that long, and forgets some whose time is over.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Known[]} known each id once
 */
export async function remember(tx, state, known) {
  const { number } = state;
  const rows = tx.store("remembered");
  const before = await rememberedUntil(
    tx,
    state,
    known.map(({ id }) => id),
  );
  const over = IDBKeyRange.bound([number, -Infinity], [number, Date.now(), []]);
  const expired = state.remembered === 0 ? [] : await result(rows.getAllKeys(over, FORGOTTEN_AT_ONCE));
  /** @type {Set<string>} */
  const forgotten = new Set();
  for (const key of expired) {
    const id = /** @type {unknown[]} */ (key)[2];
    rows.delete(key);
    if (!(id instanceof ArrayBuffer)) continue;
    rows.delete([number, id]);
    forgotten.add(keyOf(new Uint8Array(id)));
  }
  let count = state.remembered - forgotten.size;
  for (const [i, { id, until }] of known.entries()) {
    const old = before[i];
    if (old === undefined || forgotten.has(keyOf(id))) count += 1;
    else rows.delete([number, old, id]);
    const longer = Math.max(until, old ?? 0);
    rows.put(longer, [number, id]);
    rows.put(0, [number, longer, id]);
  }
  state.remembered = Math.max(count, known.length);
}

/**
 * Forgets an id if it is known until exactly then; any of its rows, and the count of rows, may be missing.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Known} known
 */
export async function forget(tx, state, { id, until }) {
  const rows = tx.store("remembered");
  const found = await result(rows.get([state.number, id]));
  rows.delete([state.number, until, id]);
  if (found !== until) return;
  rows.delete([state.number, id]);
  state.remembered = Math.max(0, state.remembered - 1);
}

/**
 * Known ids, in order, as many as an export reads at a time.
 * @param {ReadTransaction} tx @param {MailboxState} state
 * @param {Uint8Array<ArrayBuffer> | undefined} after the last id that was read @returns {Promise<Uint8Array>} packed
 */
export async function readRemembered(tx, { number, remembered }, after) {
  if (remembered === 0) return packKnown([]);
  const rows = tx.store("remembered");
  const range = IDBKeyRange.bound([number, after ?? new Uint8Array()], [number, []], after !== undefined);
  const [keys, untils] = await Promise.all([
    result(rows.getAllKeys(range, PAGE_MESSAGES)),
    result(rows.getAll(range, PAGE_MESSAGES)),
  ]);
  return packKnown(
    keys.flatMap((key, i) => {
      const id = /** @type {unknown[]} */ (key)[1];
      const isOurs = id instanceof ArrayBuffer && id.byteLength === ID_BYTES && isTime(untils[i]);
      return isOurs ? [{ id: new Uint8Array(id), until: untils[i] }] : [];
    }),
  );
}

/**
 * Keeps ids of an export known: until the time that the export says, or longer if they already are.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} packed
 * @returns {Promise<boolean>} whether that changed anything
 */
export async function adoptRemembered(tx, state, packed) {
  const now = Date.now();
  const given = unpackKnown(packed);
  const known = await rememberedUntil(
    tx,
    state,
    given.map(({ id }) => id),
  );
  /** @type {Map<string, Known>} */
  const longer = new Map();
  for (const [i, { id, until }] of given.entries())
    if (until > Math.max(now, known[i] ?? 0, longer.get(keyOf(id))?.until ?? 0)) longer.set(keyOf(id), { id, until });
  if (longer.size === 0) return false;
  await remember(tx, state, [...longer.values()]);
  return true;
}

/** @param {Known[]} known */
export function packKnown(known) {
  const packed = new Uint8Array(known.length * KNOWN_BYTES);
  for (const [i, { id, until }] of known.entries()) {
    packed.set(id, i * KNOWN_BYTES);
    viewOf(packed).setFloat64(i * KNOWN_BYTES + ID_BYTES, until, true);
  }
  return packed;
}

/** @param {Uint8Array} packed @returns {Known[]} */
export const unpackKnown = (packed) =>
  Array.from({ length: packed.length / KNOWN_BYTES }, (_, i) => ({
    id: packed.slice(i * KNOWN_BYTES, i * KNOWN_BYTES + ID_BYTES),
    until: viewOf(packed).getFloat64(i * KNOWN_BYTES + ID_BYTES, true),
  }));
