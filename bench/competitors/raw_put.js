// The lower limit: just `put`s, one or 100 in a transaction. Not a queue: nothing is handed out.

import { committed, deleteDatabase, openDatabase } from "./indexeddb.js";

const NAME = "bench-put";
const PUTS_PER_TRANSACTION = 100;

/**
 * @param {IDBDatabase} database @param {import("../types.js").Durability} durability
 * @returns {import("../types.js").Queue}
 */
function putter(database, durability) {
  let next = 0;
  /** @param {Uint8Array[]} payloads */
  const put = (payloads) => {
    const transaction = database.transaction("messages", "readwrite", { durability });
    const messages = transaction.objectStore("messages");
    for (const payload of payloads) messages.put(payload, next++);
    transaction.commit();
    return committed(transaction);
  };
  const nothing = () => Promise.reject(new Error("puts are not a queue"));
  return {
    store: (payload) => put([payload]),
    async storeMany(payloads) {
      for (let i = 0; i < payloads.length; i += PUTS_PER_TRANSACTION) {
        await put(payloads.slice(i, i + PUTS_PER_TRANSACTION));
      }
    },
    claim: nothing,
    ack: nothing,
    ackMany: nothing,
    count: nothing,
    async close() {
      database.close();
    },
  };
}

/** @type {import("../types.js").Competitor} */
export default {
  async open(durability) {
    return putter(await openDatabase(NAME, (created) => created.createObjectStore("messages")), durability);
  },
  destroy: () => deleteDatabase(NAME),
};
