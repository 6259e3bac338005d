/** Rows that another script writes between those of a mailbox: they do no harm, but are in its way. */

/** @typedef {ReturnType<typeof import("./random.js").randomOf>} Random */

/** Part of the reason of a dead letter made from such a row. */
export const SALVAGED = "could not be read";

const VALUES = ["litter", null, 42, new Uint8Array(), new Uint8Array([1, 2, 3]), { number: 1 }];

/**
 * Keys of rows, by store: beside an existing one, and elsewhere.
 * @type {[string, (number: number, name: string, there: number[]) => IDBValidKey][]}
 */
const KEYS = [
  ["segments", (number, _, [, lane = 0, last = 1]) => [number, lane, last - 0.5]],
  ["segments", (number, _, [, lane = 0, last = 1]) => [number, lane, last, "litter"]],
  ["segments", (number, _, [, lane = 0, last = 1]) => [number, lane, last - 0.5, last - 1]],
  ["segments", (number, _, [, lane = 0]) => [number, lane, "litter"]],
  ["dead", (number, _, [, letter = 1]) => [number, letter - 0.5]],
  ["dead", (number) => [number, "litter"]],
  ["errors", (number, _, [, lane = 0, sequence = 1]) => [number, lane, sequence]],
  ["ids", (number) => [number, crypto.getRandomValues(new Uint8Array(16))]],
  ["ids", (number) => [number, "litter"]],
  ["pages", (number) => [number, 0, "litter"]],
  ["journal", (number) => [number, "litter"]],
  ["mailboxes", (_, name) => [name, "litter"]],
  ["notes", () => "litter"],
  ["meta", () => "litter"],
];

/** @param {string} mailbox @param {Random} random */
export async function litter(mailbox, random) {
  const { below, once, pick } = random;
  const database = await ended(indexedDB.open("pymailbox"));
  try {
    const transaction = database.transaction([...database.objectStoreNames], "readwrite");
    const row = await ended(transaction.objectStore("mailboxes").get(mailbox));
    if (row === undefined) return;
    for (let rows = 1 + below(3); rows > 0; rows--) {
      const [name, keyOf] = pick(once(2) ? KEYS.slice(0, 5) : KEYS);
      const store = transaction.objectStore(name);
      /** @type {any[][]} */
      const there = await ended(store.getAllKeys(IDBKeyRange.bound([row.number], [row.number, []])));
      const own = there.filter((key) => key.every(Number.isInteger));
      store.put(pick(VALUES), keyOf(row.number, mailbox, pick(own) ?? []));
    }
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** @param {IDBRequest} request @returns {Promise<any>} */
export const ended = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
