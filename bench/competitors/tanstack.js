// The outbox of @tanstack/offline-transactions, through the classes that it exports: OutboxManager on IndexedDBAdapter.
//
// Its executor, in the one leading tab, hands out from memory and removes what is done, so a claim costs nothing here,
// and no other tab may consume. It stores JSON, so bytes become base64. Its adapter resolves before the commit.

import { IndexedDBAdapter, OutboxManager } from "@tanstack/offline-transactions";
import { createCollection, localOnlyCollectionOptions } from "@tanstack/db";
import { committedWith } from "./durability.js";
import { deleteDatabase } from "./indexeddb.js";

/** @template {import("../types.js").Claimed} T @typedef {import("../types.js").Queue<T>} Queue */
/** @typedef {import("@tanstack/offline-transactions").OfflineTransaction} OfflineTransaction */
/** @typedef {{id: string, payload: string}} Message */

const NAME = "bench-tanstack";

const messages = createCollection(
  localOnlyCollectionOptions({ id: "messages", getKey: (/** @type {Message} */ message) => message.id }),
);

/** @param {Uint8Array} bytes */
function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** @param {Uint8Array} payload @returns {OfflineTransaction} what its executor makes of one insert */
function transactionOf(payload) {
  const id = crypto.randomUUID();
  const message = { id, payload: base64(payload) };
  const mutation = {
    globalKey: `messages/${id}`,
    type: "insert",
    modified: message,
    original: {},
    changes: message,
    collection: messages,
  };
  return {
    id,
    mutationFnName: "send",
    mutations: [/** @type {any} */ (mutation)],
    keys: [mutation.globalKey],
    idempotencyKey: id,
    createdAt: new Date(),
    retryCount: 0,
    nextAttemptAt: Date.now(),
    version: 1,
  };
}

/** @implements {Queue<Message>} */
class TanstackQueue {
  #adapter;
  #durability;
  #outbox;
  /** What its executor keeps in memory. @type {OfflineTransaction[]} */
  #scheduled = [];

  /** @param {IndexedDBAdapter} adapter @param {import("../types.js").Durability} durability */
  constructor(adapter, durability) {
    this.#adapter = adapter;
    this.#outbox = new OutboxManager(adapter, { messages });
    this.#durability = durability;
  }

  /** @param {Uint8Array} payload */
  store(payload) {
    return this.storeMany([payload]);
  }

  /** One transaction each, since it has no batches; all at once. @param {Uint8Array[]} payloads */
  async storeMany(payloads) {
    const transactions = payloads.map(transactionOf);
    await committedWith(this.#durability, () =>
      Promise.all(transactions.map((transaction) => this.#outbox.add(transaction))),
    );
    this.#scheduled.push(...transactions);
  }

  /** @param {number} limit */
  async claim(limit) {
    return this.#scheduled.splice(0, limit).map(({ mutations }) => /** @type {Message} */ (mutations[0].modified));
  }

  /** @param {Message} message */
  ack({ id }) {
    return committedWith("relaxed", () => this.#outbox.remove(id));
  }

  /** @param {Message[]} claimed */
  ackMany(claimed) {
    return committedWith("relaxed", () => this.#outbox.removeMany(claimed.map(({ id }) => id)));
  }

  count() {
    return this.#outbox.count();
  }

  async close() {
    /** @type {{db: IDBDatabase | null}} */ (/** @type {unknown} */ (this.#adapter)).db?.close();
  }
}

/** @type {import("../types.js").Competitor} */
export default {
  async open(durability) {
    const adapter = new IndexedDBAdapter(NAME);
    await adapter.keys();
    return new TanstackQueue(adapter, durability);
  },
  destroy: () => deleteDatabase(NAME),
};
