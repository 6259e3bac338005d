/** The operations that wait for a transaction, and the choice of those that share the next one. */

import { MailboxError } from "../model/errors.js";

/** The most operations in one transaction, so that no caller waits for ever while others keep coming. */
export const LARGEST_GROUP = 1000;

/** @typedef {import("./types.js").Operation<unknown>} Operation */

/** An operation that waits for its commit, or is in one. */
export class Submitted {
  /** Whether it refused, and must not be tried again. */
  refused = false;
  #isSettled = false;
  #resolve;
  #reject;

  /** @param {Operation} operation @param {(value: any) => void} resolve @param {(reason: unknown) => void} reject */
  constructor(operation, resolve, reject) {
    this.operation = operation;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /**
   * Runs the operation; if it refuses, it fails at once and is not tried again.
   * @param {import("./write-transaction.js").WriteTransaction} tx
   */
  async run(tx) {
    try {
      return await this.operation.run(tx);
    } catch (error) {
      if (error instanceof MailboxError && error.name !== "ConnectionLostError") {
        this.refused = true;
        this.reject(error);
      }
      throw error;
    }
  }

  /** @param {unknown} value */
  resolve(value) {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.operation.onSettled?.();
    this.#resolve(value);
  }

  /** @param {unknown} reason */
  reject(reason) {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.operation.onSettled?.();
    this.#reject(reason);
  }
}

/**
 * The plan of the next transaction: `join` gives the next operation that shares it, and adds it to `joined`.
 * @typedef {object} Group
 * @property {IDBTransactionDurability} durability
 * @property {boolean} notes whether the unload notes are part of it
 * @property {Submitted[]} joined
 * @property {() => Submitted | undefined} join
 */

export class CommitQueue {
  /** @type {Submitted[]} */
  #waiting = [];

  get isEmpty() {
    return this.#waiting.length === 0;
  }

  /** The operation that has waited longest. */
  get first() {
    return this.#waiting[0];
  }

  /** @param {Submitted} submitted */
  add(submitted) {
    this.#waiting.push(submitted);
  }

  /** Puts operations back before all others. @param {Submitted[]} submitted in their order */
  putBack(submitted) {
    this.#waiting.unshift(...submitted);
  }

  /** Takes all. */
  takeAll() {
    return this.#waiting.splice(0);
  }

  /** @returns {Group} */
  nextGroup() {
    /** @type {IDBTransactionDurability} */
    let durability = "relaxed";
    let notes = false;
    for (const { operation } of this.#waiting) {
      if (operation.durability === "strict") durability = "strict";
      notes ||= operation.needsNotes();
    }
    /** @type {Submitted[]} */
    const joined = [];
    const join = () => {
      const next = this.#waiting[0];
      if (next === undefined || joined.length === LARGEST_GROUP) return undefined;
      if (next.operation.durability === "strict" && durability === "relaxed") return undefined;
      if (next.operation.needsNotes() && !notes) return undefined;
      joined.push(next);
      return this.#waiting.shift();
    };
    return { durability, notes, joined, join };
  }

  /** The mailbox that all operations concern; undefined if there are several. */
  get soleMailbox() {
    const [mailbox = "", another] = new Set(this.#waiting.map(({ operation }) => operation.mailbox));
    return another === undefined ? mailbox : undefined;
  }

  /** Whether everything they need may be at hand. @param {import("./headroom.js").Headroom} headroom */
  mayBeAtHand(headroom) {
    for (const { operation } of this.#waiting) {
      if (!operation.mayBeAtHand || operation.needsNotes() || (operation.stores && headroom.isToBeChecked))
        return false;
    }
    return true;
  }
}
