/** Promoting: what a transaction does to end delays. */

/**
 * Queues delayed messages at their old places.
 * @param {import("../write-transaction.js").WriteTransaction} tx
 * @param {import("../../model/state.js").MailboxState} state
 * @param {Uint8Array<ArrayBuffer>[]} [ids] all if omitted
 * @returns {Promise<{running: number, queued: number}>} how many delays were still running, and how many messages are
 * queued
 */
export async function promote(tx, state, ids) {
  const places = ids && (await Promise.all(ids.map((id) => tx.find(state, id)))).filter((place) => place !== undefined);
  return tx.run(state, state.promote(places, Date.now()));
}
