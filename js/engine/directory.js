/** The mailboxes of the database as a whole: which there are, and the end of one. */

import { deleteMailbox as deleteMailboxIn } from "./mailbox-rows.js";
import { groupCommit, connection } from "./realm.js";
import { result } from "../storage/database.js";
import { forgetSeen } from "../storage/database-identity.js";

/** The names of all mailboxes. @returns {Promise<string[]>} */
export function listMailboxes() {
  return briefly(() =>
    groupCommit.read(async (tx) => {
      const names = await result(tx.store("mailboxes").getAllKeys(IDBKeyRange.upperBound([], true)));
      return names.filter((name) => typeof name === "string");
    }),
  );
}

/** @param {string} mailbox @returns {Promise<boolean>} false if there was none */
export function deleteMailbox(mailbox) {
  return briefly(async () => {
    const found = await groupCommit.submit({
      durability: "strict",
      stores: false,
      needsNotes: () => false,
      run: async (tx) => {
        const found = await tx.exists(mailbox);
        if (found) await deleteMailboxIn(tx, mailbox);
        return found;
      },
    });
    forgetSeen(mailbox);
    return found;
  });
}

/** With the connection open for one call. @template T @param {() => Promise<T>} call */
async function briefly(call) {
  connection.enter();
  try {
    return await call();
  } finally {
    connection.leave();
  }
}
