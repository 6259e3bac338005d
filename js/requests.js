/** Requests and transactions of IndexedDB, as promises. */

/** A request as a promise. Inside a transaction it may be awaited, as long as nothing else is. @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
export function result(request) {
  return new Promise((resolve, reject) => {
    const done = () => (request.error === null ? resolve(request.result) : reject(request.error));
    request.onsuccess = request.onerror = done;
    // what Chromium refuses in the page may have failed before anybody could listen
    if (request.readyState === "done") done();
  });
}

/**
 * Firefox completes a transaction whose request fails once it was asked to commit, with all that did not fail; only a last
 * request that was made outside of another's handler aborts it (Firefox 153). Its engine is known by an error of its own.
 */
const ABORTS_AFTER_COMMIT = !("InternalError" in globalThis);

/** Ends a transaction, to which nothing is added any more, as soon as may be: whole, or not at all. @param {IDBTransaction} transaction */
export function commit(transaction) {
  if (ABORTS_AFTER_COMMIT) transaction.commit();
}
