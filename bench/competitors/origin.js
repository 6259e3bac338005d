// The algorithm of the browser backend of the Rust crate that the verbs come from, rewritten: ordered by clock, ties
// broken by a random id; it reads the whole store to find the next batch, which a second transaction marks. With
// overlapping calls it hands messages out twice and brings acknowledged ones back; it is here only for its speed.

import { committed, deleteDatabase, openDatabase, result } from "./indexeddb.js";

/** @template {import("../types.js").Claimed} T @typedef {import("../types.js").Queue<T>} Queue */
/** @typedef {import("../types.js").Durability} Durability */
/**
 * @typedef {{id: string, sender: string, payload: Uint8Array, priority: number, createdAt: number, status: number}}
 * Message
 */

const NAME = "bench-origin";
const QUEUED = 0;
const INFLIGHT = 1;

/** @param {Message} a @param {Message} b */
const inOrder = (a, b) => b.priority - a.priority || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);

/** @implements {Queue<Message>} */
class OriginQueue {
  #database;
  #durability;

  /** @param {IDBDatabase} database @param {Durability} durability */
  constructor(database, durability) {
    this.#database = database;
    this.#durability = durability;
  }

  /** @param {Uint8Array} payload */
  store(payload) {
    const transaction = this.#begin(this.#durability);
    const message = {
      id: crypto.randomUUID(),
      sender: "bench",
      payload,
      priority: 0,
      createdAt: Date.now(),
      status: QUEUED,
    };
    transaction.objectStore("messages").put(message);
    return committed(transaction);
  }

  /**
   * Its `enqueue` takes one message; calling it for all at once is the fastest way.
   * @param {Uint8Array[]} payloads
   */
  storeMany(payloads) {
    return Promise.all(payloads.map((payload) => this.store(payload)));
  }

  /** @param {number} limit */
  async claim(limit) {
    const queued = await this.#queued();
    const claimed = queued.sort(inOrder).slice(0, limit);
    const transaction = this.#begin("relaxed");
    for (const message of claimed) transaction.objectStore("messages").put({ ...message, status: INFLIGHT });
    await committed(transaction);
    return claimed;
  }

  /** @param {Message} message */
  ack({ id }) {
    const transaction = this.#begin("relaxed");
    transaction.objectStore("messages").delete(id);
    return committed(transaction);
  }

  /** It acknowledges one at a time; calling it for all at once is the fastest way. @param {Message[]} messages */
  ackMany(messages) {
    return Promise.all(messages.map((message) => this.ack(message)));
  }

  async count() {
    return (await this.#queued()).length;
  }

  async close() {
    this.#database.close();
  }

  /** @returns {Promise<Message[]>} */
  async #queued() {
    /** @type {Message[]} */
    const messages = await result(this.#database.transaction("messages").objectStore("messages").getAll());
    return messages.filter(({ status }) => status === QUEUED);
  }

  /** @param {Durability} durability */
  #begin(durability) {
    return this.#database.transaction("messages", "readwrite", { durability });
  }
}

/** @type {import("../types.js").Competitor} */
export default {
  async open(durability) {
    const database = await openDatabase(NAME, (created) => created.createObjectStore("messages", { keyPath: "id" }));
    return new OriginQueue(database, durability);
  },
  destroy: () => deleteDatabase(NAME),
};
