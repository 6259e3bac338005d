// workbox-background-sync's store of failed requests, through the two classes that it exports for this. Its `Queue`
// around them registers a sync event, which needs a service worker, and adds nothing to what is stored.
//
// It has no claim: `shiftEntry` deletes what it hands out, which is lost with its page. It has no batches either. Its
// transactions ask for "relaxed"; here they get what the row asks for.

import { withDurability } from "./durability.js";

/** @template {import("../types.js").Claimed} T @typedef {import("../types.js").Queue<T>} Queue */
/** @typedef {import("workbox-background-sync").QueueStore} QueueStore */
/** @typedef {typeof import("workbox-background-sync")} Workbox */
/** @typedef {{payload: unknown}} Message */

const DATABASE = "workbox-background-sync";

/** Defined by its scripts for pages without a bundler, which the page has loaded. @returns {Workbox} */
const workbox = () => /** @type {any} */ (globalThis).workbox.backgroundSync;

/** @implements {Queue<Message>} */
class WorkboxQueue {
  #durability;
  #store;

  /** @param {QueueStore} store @param {import("../types.js").Durability} durability */
  constructor(store, durability) {
    this.#store = store;
    this.#durability = durability;
  }

  /** @param {Uint8Array} payload */
  store(payload) {
    return withDurability(this.#durability, () => this.#push(payload));
  }

  /** All at once: it has no batches, and this is the fastest way. @param {Uint8Array[]} payloads */
  storeMany(payloads) {
    return withDurability(this.#durability, () => Promise.all(payloads.map((payload) => this.#push(payload))));
  }

  /** @param {number} limit */
  claim(limit) {
    return withDurability("relaxed", async () => {
      /** @type {Message[]} */
      const claimed = [];
      while (claimed.length < limit) {
        const entry = await this.#store.shiftEntry();
        if (entry === undefined) break;
        claimed.push({ payload: entry.requestData.body });
      }
      return claimed;
    });
  }

  async ack() {}

  async ackMany() {}

  count() {
    return this.#store.size();
  }

  async close() {
    // only the page's end closes its connection; the store is emptied instead, see below
  }

  /** @param {Uint8Array} payload */
  async #push(payload) {
    // what `StorableRequest.fromRequest` makes of a POST, without the detour through a Request
    const request = new (workbox().StorableRequest)({
      url: "https://example.com/inbox",
      method: "POST",
      headers: {},
      body: /** @type {ArrayBuffer} */ (payload.buffer),
    });
    await this.#store.pushEntry({ requestData: request.toObject(), timestamp: Date.now() });
  }
}

/** @type {QueueStore | undefined} */
let store;

/** @type {import("../types.js").Competitor} */
export default {
  async open(durability) {
    store ??= new (workbox().QueueStore)("bench");
    await store.size();
    return new WorkboxQueue(store, durability);
  },
  destroy: () =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(DATABASE);
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const transaction = request.result.transaction("requests", "readwrite");
        transaction.objectStore("requests").clear();
        transaction.oncomplete = () => resolve(request.result.close());
        transaction.onabort = () => reject(transaction.error);
      };
    }),
};
