/** What a page or a worker has one of: the connection, the line of its commits, its news, and its open handles. */

import { Committer } from "./committer.js";
import { Connection } from "./database.js";
import { Signals } from "./signals.js";

export const connection = new Connection();

export const signals = new Signals();

// whoever waits finds out why
connection.onLost = () => signals.wakeAll();

export const committer = new Committer(connection, ({ news }) => {
  for (const [mailbox, { depth, informed }] of news) signals.publish({ mailbox, depth }, informed);
});

/** @type {Set<import("./mailbox.js").MailboxHandle>} */
export const handles = new Set();
