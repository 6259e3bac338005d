/**
 * A mailbox whose pages have room for few messages, most of them in rows of their own: what otherwise takes thousands of
 * messages happens with a handful.
 */

import { MailboxState } from "../../../../js/model/state.js";
import { openMailbox } from "/pymailbox.js";
import { ended } from "./litter.js";

/** @param {string} mailbox @param {{pageNumbers: number, pagesInHead: number}} sizes */
export async function makeWithSmallPages(mailbox, sizes) {
  await (await openMailbox(mailbox)).close();
  const database = await ended(indexedDB.open("pymailbox"));
  try {
    const transaction = database.transaction(["mailboxes", "journal"], "readwrite");
    const journal = transaction.objectStore("journal");
    const { number } = await ended(transaction.objectStore("mailboxes").get(mailbox));
    const versions = IDBKeyRange.bound([number, 0], [number, Infinity]);
    const [, version] = (await ended(journal.openKeyCursor(versions, "prev"))).key;
    const state = MailboxState.create(number, sizes);
    state.pack();
    await ended(journal.add(state.toStored(), [number, version + 1]));
  } finally {
    database.close();
  }
}
