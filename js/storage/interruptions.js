/**
 * Transactions that a dialog of the page interrupts.
 *
 * While a dialog of a page is open in Firefox (`confirm()`), or a synchronous request under way, events of IndexedDB
 * are delivered, but nothing that awaits goes on. A transaction with nothing left to do would then be committed as far
 * as it has been filled. So after each result that is awaited there is a request more: if nothing else is awaited when
 * that is done, nobody has gone on, and the transaction is aborted. (A dialog that is opened in the same turn, before
 * those who await the result have theirs, commits nothing: for Firefox the request is then still under way.)
 */

import { unavailable } from "../model/errors.js";

/** After this many attempts in a row that were interrupted there is none more. */
export const INTERRUPTIONS = 50;

export const interruptedAlways = () =>
  unavailable("Dialogs of the page interrupted every attempt. Try again.", undefined, true);

/** Firefox's engine, recognised by an error class that only it has. */
export const IS_GECKO = "InternalError" in globalThis;

/** Workers have no dialogs, and deliver no events amid synchronous requests. */
const IS_INTERRUPTIBLE = IS_GECKO && typeof document !== "undefined";

/** How a transaction's own steps stand. */
class Filling {
  isOver = false;
  /** Requests that are awaited and not done. */
  awaited = 0;
  isInterrupted = false;
  #isWatched = false;
  #transaction;

  /** @param {IDBTransaction} transaction */
  constructor(transaction) {
    this.#transaction = transaction;
  }

  /** Has it aborted if nobody has gone on when another request is done. */
  watch() {
    if (this.#isWatched || this.isOver) return;
    try {
      const [store] = this.#transaction.objectStoreNames;
      const next = this.#transaction.objectStore(store).getKey(0);
      this.#isWatched = true;
      next.onsuccess = () => {
        this.#isWatched = false;
        if (this.isOver || this.awaited > 0) return;
        this.isInterrupted = true;
        this.#transaction.abort();
      };
    } catch {
      // it is over, or takes no more requests
    }
  }
}

/** @type {WeakMap<IDBTransaction, Filling>} */
const fillings = new WeakMap();

/** To be called before the first request of what is filled in steps. @param {IDBTransaction} transaction */
export function beginFilling(transaction) {
  if (IS_INTERRUPTIBLE) fillings.set(transaction, new Filling(transaction));
}

/** To be called when it has all its requests. @param {IDBTransaction} transaction */
export function endFilling(transaction) {
  const filling = fillings.get(transaction);
  if (filling !== undefined) filling.isOver = true;
}

/**
 * To be called for a request that is awaited.
 * @param {IDBRequest} request @returns {(() => void) | undefined} to be called when it is done
 */
export function awaiting({ transaction }) {
  if (!IS_INTERRUPTIBLE || transaction === null) return undefined;
  const filling = fillings.get(transaction);
  if (filling === undefined) return undefined;
  filling.awaited += 1;
  return () => {
    filling.awaited -= 1;
    filling.watch();
  };
}

/** Whether a transaction was aborted because it was interrupted. @param {IDBTransaction} transaction */
export const wasInterrupted = (transaction) => fillings.get(transaction)?.isInterrupted === true;

/**
 * Whether an error says that a transaction that can still be aborted takes no more requests: who awaited one of its
 * results went on later than that, and was interrupted too.
 * @param {unknown} error
 */
export const isTooLate = (error) =>
  IS_INTERRUPTIBLE && error instanceof DOMException && error.name === "TransactionInactiveError";
