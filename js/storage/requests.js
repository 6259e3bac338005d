/** IndexedDB requests. */

import { awaiting } from "./interruptions.js";

/**
 * A request as a promise. It may be awaited inside a transaction, as long as nothing else is.
 * @template T @param {IDBRequest<T>} request @returns {Promise<T>}
 */
export function result(request) {
  return new Promise((resolve, reject) => {
    const heard = awaiting(request);
    const done = () => {
      if (request.error === null) resolve(request.result);
      else reject(request.error);
      heard?.();
    };
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
    const heard = awaiting(request);
    request.onsuccess = () => {
      resolve(request.result);
      heard?.();
    };
    request.onerror = (event) => {
      event.preventDefault();
      event.stopPropagation();
      reject(request.error);
      heard?.();
    };
  });
}
