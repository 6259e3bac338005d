// The lower limit of pymailbox's own layout: the records that it writes and deletes for one message at a time, in bare
// transactions, without Python and without the logic of a queue. It remembers what it stored.

import { MailboxState } from "../../js/model/state.js";
import { committed, deleteDatabase, openDatabase } from "./indexeddb.js";

const NAME = "bench-bare";
const STORES = ["mailboxes", "segments"];
const PRIORITY = 0;
const HOLDER = "holder";
const TERMS = { maxDeliveries: 0, lease: 60_000, locked: true };

/**
 * @param {IDBDatabase} database @param {import("../types.js").Durability} durability
 * @returns {import("../types.js").Queue}
 */
function records(database, durability) {
  const state = MailboxState.create(0);
  /** @type {{payload: Uint8Array, sequence: number}[]} */
  const remembered = [];
  /** @param {import("../types.js").Durability} durability @param {(segments: IDBObjectStore) => void} [change] */
  const commit = (durability, change) => {
    const transaction = database.transaction(STORES, "readwrite", { durability });
    change?.(transaction.objectStore("segments"));
    if (state.pack().length > 0) throw new Error("one message at a time takes no page");
    transaction.objectStore("mailboxes").put(state.toStored(), NAME);
    transaction.commit();
    return committed(transaction);
  };
  /** @param {number} sequence */
  const keyOf = (sequence) => [state.number, PRIORITY, sequence, sequence];
  const oneAtATime = () => Promise.reject(new Error("bare records come one at a time"));
  return {
    async store(payload) {
      const sequence = state.enqueue(PRIORITY, false, 0);
      await commit(durability, (segments) => segments.put(payload, keyOf(sequence)));
      remembered.push({ payload, sequence });
    },
    async claim() {
      if (!state.claim(HOLDER, TERMS, 1, Date.now()).next().done) throw new Error("all pages are in memory");
      await commit("relaxed");
      return remembered.splice(0, 1);
    },
    async ack({ sequence }) {
      state.ack({ priority: PRIORITY, sequence });
      await commit("relaxed", (segments) => segments.delete(keyOf(sequence)));
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
      created.createObjectStore("segments");
      created.createObjectStore("mailboxes");
    });
    return records(database, durability);
  },
  destroy: () => deleteDatabase(NAME),
};
