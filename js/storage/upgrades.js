/**
 * Upgrades from each layout of the database to the next, in order; each step reads what the library wrote at that time.
 */

import { randomName } from "../model/ids.js";
import { isDelivery, withError } from "../model/delivery.js";
import { checksum, isCount, quickChecksum } from "../model/bytes.js";
import { countOf } from "../model/queries.js";
import { PRIORITIES } from "../model/lane.js";
import { MailboxState } from "../model/state.js";
import { DELAYED } from "../model/page.js";
import { result } from "./requests.js";
import { keysOf, lastVersion, rowOf, stateOf, writeRows } from "./stored-state.js";

/** @typedef {import("../model/state.js").RestoredRun} RestoredRun */

/** The first is from layout 1. @type {((database: IDBDatabase, transaction: IDBTransaction) => Promise<void>)[]} */
const STEPS = [toPages, toJournal, toNotes, toCommonDeliveries];

/** Bytes of the checksum that begins a head of layout 2. */
const SUM_BYTES = 4;

/**
 * Brings the records of an older layout to this one, while the database is upgraded. Stores that it needs must exist.
 * @param {IDBDatabase} database @param {IDBTransaction} transaction of the upgrade
 * @param {number} layout its present layout
 */
export async function upgradeFrom(layout, database, transaction) {
  for (const step of STEPS.slice(layout - 1)) await step(database, transaction);
}

/**
 * Layout 2: a state is a head and pages. Before, it was one object with all runs of numbers in flat arrays (from, to,
 * delivery state, from, …), and the due times of delayed messages were keys of a store of their own.
 * @param {IDBDatabase} database @param {IDBTransaction} transaction
 */
async function toPages(database, transaction) {
  const mailboxes = transaction.objectStore("mailboxes");
  const pages = transaction.objectStore("pages");
  const dueTimes = database.objectStoreNames.contains("delayed") ? transaction.objectStore("delayed") : undefined;
  const names = await result(mailboxes.getAllKeys(IDBKeyRange.upperBound([], true)));
  for (const name of names) {
    const stored = await result(mailboxes.get(name));
    // what cannot be read stays, and gives an error when its mailbox is used
    if (!isStateOfRuns(stored)) continue;
    const state = MailboxState.create(stored.number);
    state.isBeforeLayout5 = true;
    const { idBase, guessed, dead, nextDead } = stored;
    Object.assign(state, {
      idBase: idBase.slice(),
      mayCollide: guessed === true,
      deadLetters: dead,
      nextDeadLetter: nextDead,
    });
    const dues = await dueTimesOf(stored, dueTimes);
    for (const [priority, { next, widest }] of stored.lanes.entries()) {
      state.restore(priority, next, widest, runsOf(stored, priority, dues));
    }
    state.commitId = Math.random();
    writeRows(() => pages, state);
    const { number, writer, commitId, head } = state.toStored();
    mailboxes.put({ number, writer, commitId, head: withSum(head, number) }, name);
  }
  if (dueTimes !== undefined) database.deleteObjectStore("delayed");
}

/**
 * Layout 3: heads are versions in a store of their own. Before, a head was in the row of its mailbox's name, and rows
 * that revoked the permission to write it without reading it were beside it, with an index of their tokens. A head
 * began with its checksum, and no segment travelled with it.
 * @param {IDBDatabase} _ @param {IDBTransaction} transaction
 */
async function toJournal(_, transaction) {
  const mailboxes = transaction.objectStore("mailboxes");
  const journal = transaction.objectStore("journal");
  const names = await result(mailboxes.getAllKeys(IDBKeyRange.upperBound([], true)));
  for (const name of names) {
    const stored = await result(mailboxes.get(name));
    // what cannot be read stays, and gives an error when its mailbox is used
    if (!isCount(stored?.number) || !("head" in stored)) continue;
    const { number, writer, commitId } = stored;
    const packed = withoutSum(stored.head, number);
    const sum = packed && quickChecksum(packed, number);
    journal.put({ number, base: 1, right: false, writer, commitId, head: packed ?? stored.head, sum, carried: [] }, [
      number,
      1,
    ]);
    mailboxes.put({ number }, name);
  }
  // an upgrade closes all connections, so nobody has such a lease any more
  mailboxes.delete(IDBKeyRange.lowerBound([]));
  if (mailboxes.indexNames.contains("token")) mailboxes.deleteIndex("token");
}

/**
 * Layout 4: unload notes are in the store `notes`. Before, that store had another name.
 * @param {IDBDatabase} database @param {IDBTransaction} transaction
 */
async function toNotes(database, transaction) {
  if (!database.objectStoreNames.contains("departed")) return;
  const departed = transaction.objectStore("departed");
  const [holders, of] = await Promise.all([result(departed.getAllKeys()), result(departed.getAll())]);
  for (const [i, holder] of holders.entries()) transaction.objectStore("notes").put(of[i], holder);
  database.deleteObjectStore("departed");
}

/**
 * Layout 5: delivery states are the same numbers as in Python, with a flag for messages that have a row in `errors`,
 * and a head counts the delayed messages. Before, there were three flags.
 * @param {IDBDatabase} _ @param {IDBTransaction} transaction
 */
async function toCommonDeliveries(_, transaction) {
  const mailboxes = transaction.objectStore("mailboxes");
  const journal = transaction.objectStore("journal");
  const pages = transaction.objectStore("pages");
  const rows = await result(mailboxes.getAll(IDBKeyRange.upperBound([], true)));
  for (const row of rows) {
    if (!isCount(row?.number)) continue;
    const last = await lastVersion(journal, row.number);
    const state = await stateOf(row.number, last, pages);
    // what cannot be read stays, and gives an error when its mailbox is used
    if (last === undefined || !state?.isBeforeLayout5) continue;
    state.isBeforeLayout5 = false;
    for (const entry of state.pages.allLacking()) state.pages.open(entry, await rowOf(pages, state, entry));
    for (const [priority, lane] of state.lanes.entries()) {
      const runs = lane.directory.entries.flatMap(({ page }) => [...(page ?? [])]);
      lane.delayed = countOf(runs.filter(({ where }) => where === DELAYED));
      for (const { from, to } of runs)
        state.pages.assign(priority, from, to, (run) => ({ ...run, delivery: inCommon(run.delivery) }));
    }
    for (const key of await result(transaction.objectStore("errors").getAllKeys(keysOf(state)))) {
      const [, priority, sequence] = /** @type {number[]} */ (key);
      if (!(priority in state.lanes) || !isCount(sequence)) continue;
      // all messages of a page that cannot be read become dead letters
      if (state.pages.lacking(priority, sequence, sequence + 1).length > 0) continue;
      if (state.deliveryOf({ priority, sequence }) === undefined) continue;
      state.pages.assign(priority, sequence, sequence + 1, (run) => ({ ...run, delivery: withError(run.delivery) }));
    }
    writeRows(() => pages, state);
    journal.put(state.toStored(), [row.number, last.version]);
  }
}

/** A delivery state of a layout before 5. @param {number} delivery */
const inCommon = (delivery) => (delivery % 8) + Math.floor(delivery / 8) * 16;

/** A head as layout 2 had it. @param {Uint8Array} packed @param {number} number */
function withSum(packed, number) {
  const head = new Uint8Array(SUM_BYTES + packed.length);
  new DataView(head.buffer).setUint32(0, checksum(packed, number), true);
  head.set(packed, SUM_BYTES);
  return head;
}

/**
 * What follows the checksum of a head of layout 2; undefined if the checksum is wrong.
 * @param {unknown} head @param {number} number
 */
function withoutSum(head, number) {
  if (!(head instanceof Uint8Array) || head.length < SUM_BYTES) return undefined;
  const packed = head.slice(SUM_BYTES);
  return new DataView(head.buffer, head.byteOffset).getUint32(0, true) === checksum(packed, number)
    ? packed
    : undefined;
}

/** @typedef {{next: number, widest: number, queued: number[], delayed: number[]}} LaneOfRuns */
/**
 * @typedef {{holder: string, maxDeliveries: number, lease: number, locked: boolean, lanes: number[][]}} ClaimsOfRuns
 */
/**
 * @typedef
 * {{number: number, idBase: Uint8Array, guessed: boolean, dead: number, nextDead: number, nextDue: number, lanes:
 *   LaneOfRuns[], claims: ClaimsOfRuns[]}}
 * StateOfRuns
 */

/**
 * All living messages of a lane, in order.
 * @param {StateOfRuns} stored @param {number} priority @param {(priority: number, sequence: number) => number} dueOf
 * @returns {RestoredRun[]}
 */
function runsOf({ lanes, claims }, priority, dueOf) {
  const { queued, delayed } = lanes[priority];
  /** @type {RestoredRun[]} */
  const runs = eachRun(queued);
  for (const { from, to, delivery } of eachRun(delayed)) {
    for (let sequence = from; sequence < to; sequence++)
      runs.push({ from: sequence, to: sequence + 1, delivery, due: dueOf(priority, sequence) });
  }
  for (const { lanes: held, ...terms } of claims)
    runs.push(...eachRun(held[priority]).map((run) => ({ ...run, holder: nameOf(terms.holder), terms })));
  return runs.sort((a, b) => a.from - b.from);
}

/** @param {number[]} flat */
const eachRun = (flat) =>
  Array.from({ length: flat.length / 3 }, (_, i) => ({
    from: flat[3 * i],
    to: flat[3 * i + 1],
    delivery: flat[3 * i + 2],
    due: 0,
  }));

/** Names that this context gives to holders whose names are too long. @type {Map<string, string>} */
const renamed = new Map();

/** A holder whose name the library did not give does not live. @param {string} holder */
function nameOf(holder) {
  if (holder.length > 0 && holder.length <= 50) return holder;
  const name = renamed.get(holder) ?? randomName();
  renamed.set(holder, name);
  return name;
}

/**
 * When a delayed message is due: at once if something else deleted that; if it did so for all, when the first one is.
 * @param {StateOfRuns} stored @param {IDBObjectStore | undefined} store
 * @returns {Promise<(priority: number, sequence: number) => number>}
 */
async function dueTimesOf({ number, nextDue }, store) {
  if (store === undefined) return () => (Number.isFinite(nextDue) ? nextDue : 0);
  /** @type {Map<string, number>} */
  const dues = new Map();
  for (const key of await result(store.getAllKeys(IDBKeyRange.bound([number], [number, []])))) {
    const [, due, priority, sequence] = /** @type {unknown[]} */ (key);
    if (typeof due === "number" && due >= 0) dues.set(`${priority}/${sequence}`, due);
  }
  return (priority, sequence) => dues.get(`${priority}/${sequence}`) ?? 0;
}

/** @param {any} value @returns {value is StateOfRuns} */
function isStateOfRuns(value) {
  const areLanes = (/** @type {unknown} */ lanes) => Array.isArray(lanes) && lanes.length === PRIORITIES;
  return (
    [value?.number, value?.dead, value?.nextDead].every(isCount) &&
    value.idBase instanceof Uint8Array &&
    value.idBase.length === 16 &&
    areLanes(value.lanes) &&
    value.lanes.every(
      (/** @type {any} */ lane) =>
        isCount(lane?.next) &&
        isCount(lane.widest) &&
        areRuns(lane.queued, lane.next) &&
        areRuns(lane.delayed, lane.next),
    ) &&
    Array.isArray(value.claims) &&
    value.claims.every(
      (/** @type {any} */ claims) =>
        typeof claims?.holder === "string" &&
        areLanes(claims.lanes) &&
        claims.lanes.every((/** @type {unknown} */ flat, /** @type {number} */ i) =>
          areRuns(flat, value.lanes[i].next),
        ),
    )
  );
}

/** @param {unknown} flat @param {number} limit the first number that does not exist */
function areRuns(flat, limit) {
  if (!Array.isArray(flat) || flat.length % 3 !== 0) return false;
  let end = 0;
  for (let i = 0; i < flat.length; i += 3) {
    const [from, to, delivery] = [flat[i], flat[i + 1], flat[i + 2]];
    if (!isCount(from) || !isCount(to) || !isDelivery(delivery) || from < end || to <= from || to > limit) return false;
    end = to;
  }
  return true;
}
