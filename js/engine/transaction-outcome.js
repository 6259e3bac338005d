/** How an IndexedDB transaction ends: complete, failed, or complete although one of its requests failed. */

import { abort } from "../storage/database.js";
import { FencedError } from "./write-lease.js";

export class TransactionOutcome {
  /**
   * Why it failed, once known: the error of the first request that failed; never an AbortError, which does not say why.
   * @type {DOMException | undefined}
   */
  reason;

  /** Once it is over: why it failed; undefined if it is complete. @type {{failure: Error | undefined} | undefined} */
  #end;
  /** @type {((failure: Error | undefined) => void) | undefined} */
  #listener;

  /** @param {IDBTransaction} transaction */
  constructor(transaction) {
    transaction.onerror = ({ target }) => {
      this.#note(/** @type {IDBRequest} */ (target).error);
      abort(transaction);
    };
    transaction.oncomplete = () => this.#over(this.reason && new PartialCommitError(this.reason));
    transaction.onabort = () => {
      this.#note(transaction.error);
      this.#over(this.reason ?? new DOMException("The transaction was aborted.", "AbortError"));
    };
  }

  /**
   * Sets the one function that is called when it is over: with why it failed, or undefined if it is complete.
   * @param {(failure: Error | undefined) => void} listener
   */
  whenOver(listener) {
    if (this.#end === undefined) this.#listener = listener;
    else listener(this.#end.failure);
  }

  /** Resolves when it is complete, and rejects with why it failed. @returns {Promise<void>} */
  completed() {
    return new Promise((resolve, reject) =>
      this.whenOver((failure) => (failure === undefined ? resolve() : reject(failure))),
    );
  }

  /** Resolves when it has failed. @param {Error} surprise what is thrown if it is complete @returns {Promise<void>} */
  failed(surprise) {
    return new Promise((resolve, reject) =>
      this.whenOver((failure) => (failure === undefined ? reject(surprise) : resolve())),
    );
  }

  /** @param {Error | undefined} failure */
  #over(failure) {
    this.#end = { failure };
    this.#listener?.(failure);
  }

  /** @param {DOMException | null} error */
  #note(error) {
    if (error !== null && error.name !== "AbortError") this.reason ??= error;
  }
}

/** Why a transaction counts as failed although it is complete: one of its requests failed, or could not be made. */
export class PartialCommitError extends Error {
  /** @param {unknown} reason */
  constructor(reason) {
    super("a transaction is complete although one of its requests failed, or could not be made");
    this.reason = reason;
  }
}

/** Whether somebody else has written this version first: its key is taken. @param {unknown} error */
export const isFenced = (error) =>
  error instanceof FencedError || (error instanceof DOMException && error.name === "ConstraintError");
