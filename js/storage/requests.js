/** IndexedDB requests. */

/** Firefox's engine, recognised by an error class that only it has. */
export const IS_GECKO = "InternalError" in globalThis;

/**
 * Whether a page hears of requests while one of its dialogs is open (`confirm()`), or a synchronous request under way,
 * but nothing continues that awaits them. Such a transaction would be committed as far as it has been filled.
 */
const HEARS_AMID_DIALOGS = IS_GECKO && typeof document !== "undefined";

const END_OF_TURN = Promise.resolve();

/**
 * How many results of a transaction those who await them have not heard of yet, and whether a request watches that.
 * @typedef {{unheard: number, isWatched: boolean}} Hearing
 */

/** @type {WeakMap<IDBTransaction, Hearing>} */
const hearings = new WeakMap();

/** @type {WeakSet<IDBTransaction>} */
const interrupted = new WeakSet();

/** Whether a transaction was aborted because a dialog kept it from being filled. @param {IDBTransaction} transaction */
export const wasInterrupted = (transaction) => interrupted.has(transaction);

/**
 * A request as a promise. It may be awaited inside a transaction, as long as nothing else is.
 * @template T @param {IDBRequest<T>} request @returns {Promise<T>}
 */
export function result(request) {
  return new Promise((resolve, reject) => {
    const done = () => {
      if (request.error !== null) return reject(request.error);
      resolve(request.result);
      watch(request);
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
    request.onsuccess = () => {
      resolve(request.result);
      watch(request);
    };
    request.onerror = (event) => {
      event.preventDefault();
      event.stopPropagation();
      reject(request.error);
      watch(request);
    };
  });
}

/**
 * Has a transaction aborted, instead of committed in part, if nobody hears of a result before another request is done.
 * @param {IDBRequest} request that was just settled
 */
function watch({ transaction }) {
  if (!HEARS_AMID_DIALOGS || transaction === null || transaction.mode === "readonly") return;
  const hearing = hearings.get(transaction) ?? { unheard: 0, isWatched: false };
  hearings.set(transaction, hearing);
  hearing.unheard += 1;
  // after those who await it
  END_OF_TURN.then(() => (hearing.unheard -= 1));
  if (hearing.isWatched) return;
  try {
    const next = transaction.objectStore(transaction.objectStoreNames[0]).getKey(0);
    hearing.isWatched = true;
    next.onsuccess = () => {
      hearing.isWatched = false;
      if (hearing.unheard === 0) return;
      interrupted.add(transaction);
      transaction.abort();
    };
  } catch {
    // it is over, or takes no more requests
  }
}
