/**
 * Headroom on a full storage: a reserve of bytes that is given up so that claims, acknowledgements and nacks still find
 * room, and put back by what stores messages.
 */

import { newReserve, tidyUp } from "../storage/database.js";
import { result } from "../storage/requests.js";
import { TransactionOutcome } from "./transaction-outcome.js";

/** Milliseconds after which it is checked again whether the reserve is there. */
const RESERVE_INTERVAL = 60_000;

/**
 * Milliseconds that the browser gets to tidy up, the second time that it has to; each further time it gets so much
 * more.
 */
const TIDYING_TIME = 200;

/** What this context knows of the reserve. */
export class Headroom {
  /** Whether this context gave the reserve up and has not seen it since. */
  #spent = false;
  /** When it was last seen, on the clock of `performance.now()`: others may give it up too. */
  #seenAt = -Infinity;

  /** Whether an operation that stores messages has to check whether the reserve is there. */
  get isToBeChecked() {
    return this.#spent || performance.now() - this.#seenAt > RESERVE_INTERVAL;
  }

  /** The reserve is there, as a transaction that is complete has seen to. */
  noteKept() {
    this.#spent = false;
    this.#seenAt = performance.now();
  }

  /**
   * Makes room for what stores nothing: on a full storage a transaction of deletes alone still commits.
   * @param {import("../storage/database.js").Connection} connection
   * @param {number} attempt how often this was not enough
   */
  async makeRoom(connection, attempt) {
    if (this.#spent) {
      await tidyUp();
      // the browser counts what is in use a little later
      await new Promise((resolve) => setTimeout(resolve, attempt * TIDYING_TIME));
      return;
    }
    this.#spent = true;
    try {
      const { transaction } = await connection.begin("readwrite", "relaxed");
      const outcome = new TransactionOutcome(transaction);
      transaction.objectStore("meta").delete("reserve");
      transaction.commit();
      await outcome.completed();
    } catch {
      // what needed it is tried again all the same, and meets the error itself
    }
  }
}

/** Puts the reserve back if it is gone. @param {import("./write-transaction.js").WriteTransaction} tx */
export async function putReserveBack(tx) {
  const meta = tx.store("meta");
  if ((await result(meta.getKey("reserve"))) === undefined) meta.put(newReserve(), "reserve");
}
