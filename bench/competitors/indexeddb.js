// What the hand-written competitors share.

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
export const result = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
export const committed = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });

/** @param {string} name @param {(database: IDBDatabase) => void} upgrade @returns {Promise<IDBDatabase>} */
export function openDatabase(name, upgrade) {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => upgrade(request.result);
  return result(request);
}

/** @param {string} name @returns {Promise<void>} */
export const deleteDatabase = (name) =>
  new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error(`${name} is still open: it cannot be deleted`));
  });

/** How many bytes the values in all stores of a database hold. @param {string} name @returns {Promise<number>} */
export async function storedBytes(name) {
  const database = await result(indexedDB.open(name));
  let bytes = 0;
  for (const store of database.objectStoreNames) {
    const values = await result(database.transaction(store).objectStore(store).getAll());
    bytes += bytesIn(values);
  }
  database.close();
  return bytes;
}

/** @param {unknown} value @returns {number} */
function bytesIn(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return value.byteLength;
  if (typeof value === "string") return value.length;
  if (typeof value === "number") return 8;
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce((sum, inside) => sum + bytesIn(inside), 0);
}
