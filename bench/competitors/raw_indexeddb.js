// What most people write by hand: one record for each message with its status, a compound index, a cursor.

import { committed, deleteDatabase, openDatabase, result } from "./indexeddb.js";

/** @template {import("../types.js").Claimed} T @typedef {import("../types.js").Queue<T>} Queue */
/** @typedef {import("../types.js").Durability} Durability */
/** @typedef {{seq: number, status: number, priority: number, payload: Uint8Array}} Message */

const NAME = "bench-raw";
const QUEUED = 0;
const INFLIGHT = 1;

/** @param {number} status */
const all = (status) => IDBKeyRange.bound([status], [status, []]);

/** @implements {Queue<Message>} */
class RawQueue {
  #database;
  #durability;

  /** @param {IDBDatabase} database @param {Durability} durability */
  constructor(database, durability) {
    this.#database = database;
    this.#durability = durability;
  }

  /** @param {Uint8Array} payload */
  store(payload) {
    return this.storeMany([payload]);
  }

  /** One transaction for all. @param {Uint8Array[]} payloads */
  storeMany(payloads) {
    const transaction = this.#begin(this.#durability);
    const messages = transaction.objectStore("messages");
    for (const payload of payloads) messages.add({ status: QUEUED, priority: 0, payload });
    transaction.commit();
    return committed(transaction);
  }

  /** @param {number} limit */
  async claim(limit) {
    const transaction = this.#begin("relaxed");
    /** @type {Message[]} */
    const claimed = [];
    const request = transaction.objectStore("messages").index("order").openCursor(all(QUEUED));
    request.onsuccess = () => {
      const cursor = request.result;
      if (cursor === null) return;
      const message = { ...cursor.value, status: INFLIGHT };
      claimed.push(message);
      cursor.update(message);
      if (claimed.length < limit) cursor.continue();
    };
    await committed(transaction);
    return claimed;
  }

  /** @param {Message} message */
  ack(message) {
    return this.ackMany([message]);
  }

  /** @param {Message[]} messages */
  ackMany(messages) {
    const transaction = this.#begin("relaxed");
    const store = transaction.objectStore("messages");
    for (const { seq } of messages) store.delete(seq);
    transaction.commit();
    return committed(transaction);
  }

  count() {
    return result(this.#database.transaction("messages").objectStore("messages").index("order").count(all(QUEUED)));
  }

  async recover() {
    const transaction = this.#begin("relaxed");
    const request = transaction.objectStore("messages").index("order").openCursor(all(INFLIGHT));
    let recovered = 0;
    request.onsuccess = () => {
      const cursor = request.result;
      if (cursor === null) return;
      cursor.update({ ...cursor.value, status: QUEUED });
      recovered += 1;
      cursor.continue();
    };
    await committed(transaction);
    return recovered;
  }

  async close() {
    this.#database.close();
  }

  /** @param {Durability} durability */
  #begin(durability) {
    return this.#database.transaction("messages", "readwrite", { durability });
  }
}

/** @type {import("../types.js").Competitor} */
export default {
  async open(durability) {
    const database = await openDatabase(NAME, (created) => {
      const messages = created.createObjectStore("messages", { keyPath: "seq", autoIncrement: true });
      messages.createIndex("order", ["status", "priority", "seq"]);
    });
    return new RawQueue(database, durability);
  },
  destroy: () => deleteDatabase(NAME),
};
