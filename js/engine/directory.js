/** Lists the mailboxes of the database, and deletes them. */

import { deleteMailbox as deleteMailboxIn } from "./mailbox-rows.js";
import { result } from "../storage/requests.js";

/** @typedef {import("./engine.js").Engine} Engine */

/** The names of all mailboxes. @param {Engine} engine @returns {Promise<string[]>} */
export function listMailboxes(engine) {
  return briefly(engine, () =>
    engine.groupCommit.read(async (tx) => {
      const names = await result(tx.store("mailboxes").getAllKeys(IDBKeyRange.upperBound([], true)));
      return names.filter((name) => typeof name === "string");
    }),
  );
}

/**
 * Deletes a mailbox, in one transaction.
 * @param {Engine} engine @param {string} mailbox
 * @param {Uint8Array<ArrayBuffer>} [unless] the mailbox is kept if it has a message with this id
 * @param {boolean} [heldOnly] that is, only if that message is inflight
 * @returns {Promise<boolean>} false if there was none or it was kept
 */
export function deleteMailbox(engine, mailbox, unless, heldOnly = false) {
  return briefly(engine, async () => {
    const deleted = await engine.groupCommit.submit({
      durability: "strict",
      stores: false,
      needsNotes: () => false,
      run: async (tx) => {
        if (!(await tx.exists(mailbox))) return false;
        if (unless !== undefined) {
          const state = await tx.state(mailbox);
          const place = await tx.find(state, unless);
          if (place !== undefined && (!heldOnly || state.claimsOn(place) !== undefined)) return false;
        }
        await deleteMailboxIn(tx, mailbox);
        return true;
      },
    });
    if (deleted) engine.connection.seen.forget(mailbox);
    return deleted;
  });
}

/** With the connection open for one call. @template T @param {Engine} engine @param {() => Promise<T>} call */
async function briefly({ connection }, call) {
  connection.enter();
  try {
    return await call();
  } finally {
    connection.leave();
  }
}
