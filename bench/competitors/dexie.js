// A queue on Dexie, written as its documentation suggests: a schema with a compound index, `bulkAdd`, a `where` in a
// readwrite transaction, `bulkUpdate`, `bulkDelete`.

import { Dexie } from "dexie";
import { withDurability } from "./durability.js";

/** @template {import("../types.js").Claimed} T @typedef {import("../types.js").Queue<T>} Queue */
/** @typedef {import("../types.js").Durability} Durability */
/** @typedef {{seq?: number, status: number, priority: number, payload: Uint8Array}} Message */

const NAME = "bench-dexie";
const QUEUED = 0;
const INFLIGHT = 1;

/** @implements {Queue<Message>} */
class DexieQueue {
  #database;
  #durability;
  /** @type {import("dexie").Table<Message, number>} */
  #messages;

  /** @param {Dexie} database @param {Durability} durability */
  constructor(database, durability) {
    this.#database = database;
    this.#durability = durability;
    this.#messages = database.table("messages");
  }

  // Dexie has one durability for each database (`chromeTransactionDurability`); this splits it as for the others.

  /** @param {Uint8Array} payload */
  store(payload) {
    return withDurability(this.#durability, () => this.#messages.add({ status: QUEUED, priority: 0, payload }));
  }

  /** @param {Uint8Array[]} payloads */
  storeMany(payloads) {
    const messages = payloads.map((payload) => ({ status: QUEUED, priority: 0, payload }));
    return withDurability(this.#durability, () => this.#messages.bulkAdd(messages));
  }

  /** @param {number} limit */
  claim(limit) {
    return withDurability("relaxed", () =>
      this.#database.transaction("rw", this.#messages, async () => {
        const claimed = await this.#messages
          .where("[status+priority+seq]")
          .between([QUEUED, Dexie.minKey, Dexie.minKey], [QUEUED, Dexie.maxKey, Dexie.maxKey])
          .limit(limit)
          .toArray();
        // whole records, since `bulkUpdate` would read each of them again
        for (const message of claimed) message.status = INFLIGHT;
        await this.#messages.bulkPut(claimed);
        return claimed;
      }),
    );
  }

  /** @param {Message} message */
  ack(message) {
    return withDurability("relaxed", () => this.#messages.delete(/** @type {number} */ (message.seq)));
  }

  /** @param {Message[]} messages */
  ackMany(messages) {
    const keys = messages.map(({ seq }) => /** @type {number} */ (seq));
    return withDurability("relaxed", () => this.#messages.bulkDelete(keys));
  }

  count() {
    return this.#messages
      .where("[status+priority+seq]")
      .between([QUEUED, Dexie.minKey, Dexie.minKey], [QUEUED, Dexie.maxKey, Dexie.maxKey])
      .count();
  }

  async close() {
    this.#database.close();
  }
}

/** @type {import("../types.js").Competitor} */
export default {
  async open(durability) {
    const database = new Dexie(NAME);
    database.version(1).stores({ messages: "++seq, [status+priority+seq]" });
    await database.open();
    return new DexieQueue(database, durability);
  },
  destroy: () => Dexie.delete(NAME),
};
