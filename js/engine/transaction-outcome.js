/** How a transaction of IndexedDB ends: complete, failed, or complete although one of its requests failed. */

import { abort } from "../storage/database.js";
import { FencedError } from "./write-lease.js";

export class TransactionOutcome {
  /**
   * Why it failed, once that is known: the error of the request that failed first; never an AbortError, which says only that
   * it failed. @type {DOMException | undefined}
   */
  reason;

  /** @param {IDBTransaction} transaction */
  constructor(transaction) {
    transaction.onerror = ({ target }) => {
      this.#note(/** @type {IDBRequest} */ (target).error);
      abort(transaction);
    };
    /** @type {Promise<void>} */
    this.completion = new Promise((resolve, reject) => {
      transaction.oncomplete = () => (this.reason === undefined ? resolve() : reject(new PartialCommitError(this.reason)));
      transaction.onabort = () => {
        this.#note(transaction.error);
        reject(this.reason ?? new DOMException("The transaction was aborted.", "AbortError"));
      };
    });
  }

  /** @param {DOMException | null} error */
  #note(error) {
    if (error !== null && error.name !== "AbortError") this.reason ??= error;
  }
}

/** Why a transaction counts as failed although it is complete: one of its requests failed. */
export class PartialCommitError extends Error {
  /** @param {DOMException} reason */
  constructor(reason) {
    super("a transaction is complete although one of its requests failed");
    this.reason = reason;
  }
}

/** Whether somebody else has written the version that was to be written: its key is taken. @param {unknown} error */
export const isFenced = (error) => error instanceof FencedError || (error instanceof DOMException && error.name === "ConstraintError");
