/** Recovering: what a transaction does to take back what gone holders held, or holders whose page was left. */

import { failures } from "../../model/delivery.js";
import { countOf } from "../../model/queries.js";
import { diedReason } from "../../model/reasons.js";
import { result } from "../../storage/requests.js";
import { buryIfPossible } from "./dead-letters.js";

/** How long a message waits that has no room as a dead letter: others are handled meanwhile, which makes room. */
const NO_ROOM_FOR = 60_000;

/**
 * Takes back what gone holders held, and holders whose page was left according to an unload note. A note releases: the
 * hand-outs are undone. A death makes suspects, and counts as a failure for a message that was solo.
 * @param {import("../write-transaction.js").WriteTransaction} tx @param {string} mailbox
 * @param {import("../../model/state.js").MailboxState} state
 * @param {import("../../coordination/liveness.js").Gone} gone
 * @returns {Promise<number>} how many messages came back
 */
export async function recover(tx, mailbox, state, gone) {
  const notes = tx.store("notes");
  const [holders, mailboxes] = await Promise.all([result(notes.getAllKeys()), result(notes.getAll())]);
  let count = 0;
  for (const [i, holder] of holders.entries()) {
    const of = mailboxes[i];
    if (of === mailbox) count += countOf(await tx.run(state, state.releaseAll(/** @type {string} */ (holder))));
    // or a note of a mailbox that no longer exists would stay for ever
    if (of === mailbox || typeof of !== "string" || !(await tx.exists(of))) notes.delete(holder);
  }
  for (const [holder, beat] of gone) {
    const claims = state.claims.get(holder);
    // it has shown a sign of life since
    if (claims === undefined || (beat !== undefined && claims.beat !== beat)) continue;
    const { maxDeliveries } = claims;
    for (const { priority, from, to, delivery, before } of await tx.run(state, state.recover(holder))) {
      count += to - from;
      if (maxDeliveries === 0 || failures(delivery) === failures(before) || failures(delivery) < maxDeliveries)
        continue;
      const reason = diedReason(failures(delivery), maxDeliveries);
      for (let sequence = from; sequence < to; sequence++) {
        const place = { priority, sequence };
        const isBuried = await buryIfPossible(tx, state, place, delivery, reason);
        if (!isBuried && tx.lacksRoom) state.delay(place, Date.now() + NO_ROOM_FOR);
      }
    }
  }
  return count;
}
