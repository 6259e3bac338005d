/**
 * Records whose values the browser has lost. Chromium keeps a large value in a file of its own; of one whose file is
 * missing it says no more than UnknownError, and the transaction that asked is over.
 *
 * A lost connection says the same, so a record counts as lost only where its key can be read, twice over, and its value
 * cannot.
 */

import { result } from "./database.js";

/** Values that were asked for. @typedef {{store: string, range: IDBKeyRange | IDBValidKey, count: number}} Asked */

const NOT_READ = ["NotReadableError", "UnknownError"];

/** How often a value is asked for before it counts as lost. */
const LOOKS = 2;

/** Whether an error may mean that a value is lost. @param {unknown} error */
export const mayBeLoss = (error) => error instanceof DOMException && NOT_READ.includes(error.name);

export class Losses {
  /** @type {Set<string>} */
  #lost = new Set();

  get isEmpty() {
    return this.#lost.size === 0;
  }

  /** @param {string} store @param {IDBValidKey} key */
  has(store, key) {
    return this.#lost.has(nameOf(store, key));
  }

  /**
   * Looks for losses among what a transaction had asked for when it failed.
   * @param {import("./database.js").Connection} connection @param {Iterable<Asked>} asked
   */
  async find(connection, asked) {
    try {
      for (const { store, range, count } of asked) {
        const { transaction } = await connection.begin("readonly", "default", [store]);
        for (const key of await result(transaction.objectStore(store).getAllKeys(range, count))) {
          if (await isLost(connection, store, key)) this.#lost.add(nameOf(store, key));
        }
      }
    } catch {
      // it is the connection, then
    }
  }
}

/** @param {import("./database.js").Connection} connection @param {string} name @param {IDBValidKey} key */
async function isLost(connection, name, key) {
  for (let look = 1; look <= LOOKS; look++) {
    const { transaction } = await connection.begin("readonly", "default", [name]);
    const store = transaction.objectStore(name);
    await result(store.getKey(key));
    try {
      await result(store.get(key));
      return false;
    } catch (error) {
      if (!mayBeLoss(error)) throw error;
    }
  }
  return true;
}

/** @param {string} store @param {IDBValidKey} key of numbers */
const nameOf = (store, key) => `${store}/${key}`;
