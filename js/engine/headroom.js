/**
 * Headroom on a full disk: a reserve of bytes that is given up so that claims, acknowledgements and nacks still find
 * space, and that is put back when messages are stored.
 */

import { newReserve, tidyUp } from "../storage/database.js";
import { IS_GECKO } from "../storage/interruptions.js";
import { commitEarly } from "../storage/one-at-a-time.js";
import { result } from "../storage/requests.js";
import { TransactionOutcome } from "./transaction-outcome.js";

/** Milliseconds between checks that the reserve is there. */
const RESERVE_INTERVAL = 60_000;

/** Milliseconds that the browser gets to tidy up the second time; each further time it gets this much more. */
const TIDYING_TIME = 200;

/** What this context knows about the reserve. */
export class Headroom {
  /** Whether this context gave the reserve up and has not seen it since. */
  #spent = false;
  /** When it was last seen, on the clock of `performance.now()`; others may give it up too. */
  #seenAt = -Infinity;

  /** Whether an operation that stores messages has to check for the reserve. */
  get isToBeChecked() {
    return this.#spent || performance.now() - this.#seenAt > RESERVE_INTERVAL;
  }

  /** The reserve is there: a transaction that made sure of it is complete. */
  noteKept() {
    this.#spent = false;
    this.#seenAt = performance.now();
  }

  /**
   * Makes space for operations that store nothing: on a full disk a transaction of deletes alone still commits.
   * @param {import("../storage/database.js").Connection} connection
   * @param {number} attempt how often this has not been enough
   */
  async makeRoom(connection, attempt) {
    if (this.#spent) {
      await tidyUp();
      // the browser updates its count of used bytes a little later
      await new Promise((resolve) => setTimeout(resolve, attempt * TIDYING_TIME));
      // the first transaction after one that found the disk full may only delete, in Firefox
      if (!IS_GECKO) return;
    }
    this.#spent = true;
    try {
      const { transaction } = await connection.begin("readwrite", "relaxed");
      const outcome = new TransactionOutcome(transaction);
      transaction.objectStore("meta").delete("reserve");
      commitEarly(transaction);
      await outcome.completed();
    } catch {
      // the operation that needed it is tried again anyway, and meets the error
    }
  }
}

/** Puts the reserve back if it is gone. @param {import("./write-transaction.js").WriteTransaction} tx */
export async function putReserveBack(tx) {
  const meta = tx.store("meta");
  if ((await result(meta.getKey("reserve"))) === undefined) meta.put(newReserve(), "reserve");
}
