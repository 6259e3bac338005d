/** The mailboxes of the database as a whole: which there are, and the end of one. */

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

/** @param {Engine} engine @param {string} mailbox @returns {Promise<boolean>} false if there was none */
export function deleteMailbox(engine, mailbox) {
  return briefly(engine, async () => {
    const found = await engine.groupCommit.submit({
      durability: "strict",
      stores: false,
      needsNotes: () => false,
      run: async (tx) => {
        const found = await tx.exists(mailbox);
        if (found) await deleteMailboxIn(tx, mailbox);
        return found;
      },
    });
    engine.connection.seen.forget(mailbox);
    return found;
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
