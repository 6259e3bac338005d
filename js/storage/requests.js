/** IndexedDB requests. */

/**
 * A request as a promise. It may be awaited inside a transaction, as long as nothing else is.
 * @template T @param {IDBRequest<T>} request @returns {Promise<T>}
 */
export function result(request) {
  return new Promise((resolve, reject) => {
    const done = () => (request.error === null ? resolve(request.result) : reject(request.error));
    request.onsuccess = request.onerror = done;
    // a request that Chromium refuses in the page may have failed before anybody could listen
    if (request.readyState === "done") done();
  });
}

/**
 * As `result`, but a failure does not end the transaction.
 * @template T @param {IDBRequest<T>} request @returns {Promise<T>}
 */
export function forgiven(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = (event) => {
      event.preventDefault();
      event.stopPropagation();
      reject(request.error);
    };
  });
}
