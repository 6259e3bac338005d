/** Looking at one message: what a transaction does to show it, wherever it is, without changing anything. */

import { DELAYED, INFLIGHT, NO_BATCH, QUEUED, packBatch } from "../../model/frames.js";
import { DELAYED as PUT_OFF, HELD } from "../../model/page.js";
import { DEAD, isDeadLetter } from "../../storage/rows.js";
import { Unreadable } from "../read-transaction.js";
import { ValueUnavailable, withId } from "../unavailable-values.js";
import { batchOf } from "./dead-letters.js";

/**
 * Finds one message.
 * @param {import("../read-transaction.js").ReadTransaction} tx
 * @param {import("../../model/state.js").MailboxState} state @param {Uint8Array<ArrayBuffer>} id
 * @returns {Promise<[Uint8Array, string]>} a batch of one at most; and JSON: of a dead letter `[reason, error, diedAt]`
 * @throws {Unreadable}
 * @throws {ValueUnavailable}
 */
export async function get(tx, state, id) {
  try {
    const place = await tx.find(state, id);
    if (place?.priority === DEAD) {
      const [letter] = await tx.values("dead", [state.number, place.sequence]);
      if (!isDeadLetter(letter)) throw new Unreadable(place);
      return batchOf([letter]);
    }
    const run = place && state.pages.runOf(place);
    if (place === undefined || run === undefined) return [NO_BATCH, "[]"];
    const { priority, sequence } = place;
    const isDelayed = run.where === PUT_OFF && run.due > Date.now();
    const status = isDelayed ? DELAYED : run.where >= HELD ? INFLIGHT : QUEUED;
    const one = { priority, from: sequence, to: sequence + 1, delivery: run.delivery, due: run.due };
    return [packBatch(await tx.entries(state, [one], status)), "[]"];
  } catch (error) {
    throw error instanceof ValueUnavailable ? withId(error, id) : error;
  }
}
