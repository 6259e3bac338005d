/** What a page or a worker has one of: its connection, group commit, notifier, waiters, and open handles. */

import { GroupCommit } from "./group-commit.js";
import { Notifier } from "../coordination/notifier.js";
import { Waiters } from "../coordination/waiters.js";
import { Connection } from "../storage/database.js";

export const connection = new Connection();

export const notifier = new Notifier();

export const waiters = new Waiters();

// whoever waits finds out why
connection.onLost = () => waiters.wakeAll();

notifier.onMissed = () => waiters.wakeOneEach();
notifier.listen(({ mailbox, count = 1 }) => waiters.wake(mailbox, count));

export const groupCommit = new GroupCommit(
  connection,
  ({ notifications }) => {
    for (const [mailbox, { depth, excluded, count }] of notifications) {
      if (depth !== undefined || count > 0) notifier.publish({ mailbox, depth, count }, excluded);
    }
  },
  (tx) => {
    for (const mailbox of tx.notifications.keys()) waiters.serve(mailbox, tx);
  },
);

/** @type {Set<import("./mailbox-handle.js").MailboxHandle>} */
export const handles = new Set();
