// The lower limit of pymailbox's own layout: the records that it writes and deletes for one message at a time, in bare
// transactions, without Python and without the logic of a queue. It remembers what it stored.

import { CARRIED } from "../../js/engine/stored-segments.js";
import { SegmentWriter } from "../../js/model/segments.js";
import { MailboxState } from "../../js/model/state.js";
import { writeHead, writeRows } from "../../js/storage/stored-state.js";
import { committed, deleteDatabase, openDatabase } from "./indexeddb.js";

const NAME = "bench-bare";
const STORES = ["journal", "segments", "pages"];
const PRIORITY = 0;
const HOLDER = "holder";
const TERMS = { maxDeliveries: 0, lease: 60_000, locked: true };

/**
 * @param {IDBDatabase} database @param {import("../types.js").Durability} durability
 * @returns {import("../types.js").Queue}
 */
function records(database, durability) {
  const state = MailboxState.create(0);
  const lane = state.lanes[PRIORITY];
  /** @type {{payload: Uint8Array, sequence: number}[]} */
  const remembered = [];
  const begin = (/** @type {import("../types.js").Durability} */ durability) =>
    database.transaction(STORES, "readwrite", { durability });
  /** @param {IDBTransaction} transaction */
  const commit = (transaction) => {
    writeRows(() => transaction.objectStore("pages"), state);
    writeHead(() => transaction.objectStore("journal"), state);
    transaction.commit();
    return committed(transaction);
  };
  /** @param {IDBTransaction} transaction */
  const unload = (transaction) => {
    const writer = new SegmentWriter(({ bytes, first, last }) =>
      transaction.objectStore("segments").put(bytes, [state.number, PRIORITY, last, first]),
    );
    for (const segment of lane.takeCarried()) writer.append(segment.first, segment.bytes);
    writer.flush();
  };
  const oneAtATime = () => Promise.reject(new Error("bare records come one at a time"));
  return {
    async store(payload) {
      const transaction = begin(durability);
      const sequence = state.enqueue(PRIORITY, false, 0);
      const writer = new SegmentWriter((segment) => lane.carried.push(segment));
      writer.append(sequence, payload);
      writer.flush();
      if (lane.carriedBytes > CARRIED) unload(transaction);
      await commit(transaction);
      remembered.push({ payload, sequence });
    },
    async claim() {
      const transaction = begin("relaxed");
      if (!state.claim(HOLDER, TERMS, 1, Date.now()).next().done) throw new Error("all pages are in memory");
      await commit(transaction);
      return remembered.splice(0, 1);
    },
    async ack({ sequence }) {
      const transaction = begin("relaxed");
      state.ack({ priority: PRIORITY, sequence });
      lane.dropCarried(sequence, sequence + 1);
      await commit(transaction);
    },
    storeMany: oneAtATime,
    ackMany: oneAtATime,
    count: oneAtATime,
    async close() {
      database.close();
    },
  };
}

/** @type {import("../types.js").Competitor} */
export default {
  async open(durability) {
    const database = await openDatabase(NAME, (created) => {
      for (const name of STORES) created.createObjectStore(name);
    });
    return records(database, durability);
  },
  destroy: () => deleteDatabase(NAME),
};
