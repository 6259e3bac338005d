/** A mailbox's state as the stores `mailboxes` and `pages` have it. */

import { MailboxState } from "../model/state.js";
import { result } from "../requests.js";

/** The state that a record of `mailboxes` tells, with the rows that belong to it; undefined if it cannot be read. @param {unknown} record @param {IDBObjectStore} pages @returns {Promise<MailboxState | undefined>} */
export async function stateOf(record, pages) {
  const state = MailboxState.from(record);
  if (state === undefined) return undefined;
  const { absent } = state;
  if (absent.length === 0) return state;
  const rows = await Promise.all(absent.map((block) => rowOf(pages, state, block)));
  return state.fill(rows) ? state : undefined;
}

/** The row of a block. @param {IDBObjectStore} pages @param {MailboxState} state @param {{kind: number, number: number}} block @returns {Promise<unknown>} */
export const rowOf = (pages, { number }, block) => result(pages.get([number, block.kind, block.number]));

/** Writes what has changed of a state, but for its head. @param {() => IDBObjectStore} store gives `pages` @param {MailboxState} state */
export function writeRows(store, state) {
  const changes = state.pack();
  for (const { key, to, bytes } of changes) {
    const [kind, first] = key;
    const pages = store();
    if (bytes !== undefined) pages.put(bytes, [state.number, kind, first]);
    else if (to === first) pages.delete([state.number, kind, first]);
    else pages.delete(IDBKeyRange.bound([state.number, kind, first], [state.number, kind, to]));
  }
  return changes;
}
