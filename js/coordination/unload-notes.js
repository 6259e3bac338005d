/**
 * The notes that a page leaves when it is left: the holders whose messages go back, the hand-outs undone. None of the ways
 * is sure, so a note goes all of them, and whoever finds one twice does nothing the second time:
 *
 * - a row of the store `departed`, written at once and without a read, since nothing may run any more later. It is missing
 *   where the browser was busy with IndexedDB at that moment, and in WebKit always;
 * - on a page an entry of `localStorage`, which lands in all browsers, but which only pages see;
 * - a notification to contexts that are open, workers included.
 *
 * Whoever takes back what holders had who are gone puts what it knows of notes into the store first, in the same transaction.
 */

import { onPage } from "../storage/database-identity.js";

const PREFIX = "pymailbox/left/";

/** Whether what a page begins to write while it is left never lands: so it is in JavaScriptCore, known by what its errors have. */
export const LAST_WRITES_VANISH = "line" in new Error();

/** A holder, and its mailbox. @typedef {[string, string]} Note */

/** What other contexts have told. @type {Map<string, string>} */
const told = new Map();

/** How often this page was left, so that it can be told which transactions began before its notes were written. */
export let unloads = 0;

/** To be called when the page is left, before anything else. */
export function countUnload() {
  unloads += 1;
}

/** @param {Note[]} notes */
export function keepNotes(notes) {
  onPage((storage) => {
    for (const [holder, mailbox] of notes) storage.setItem(PREFIX + holder, mailbox);
  });
}

/** @param {Note[]} notes of mailboxes that are open here */
export function hearNotes(notes) {
  for (const [holder, mailbox] of notes) told.set(holder, mailbox);
}

/** The notes that this context knows of, beside those in the database. @returns {Note[]} */
export const knownNotes = () => [...keptNotes(), ...told];

/** The notes that pages have kept. @returns {Note[]} */
export const keptNotes = () =>
  onPage((storage) =>
    Object.keys(storage).flatMap((key) =>
      key.startsWith(PREFIX) ? [/** @type {Note} */ ([key.slice(PREFIX.length), storage.getItem(key) ?? ""])] : [],
    ),
  ) ?? [];

/** @param {Iterable<string>} holders whose notes are in the database, or need be nowhere any more */
export function forgetNotes(holders) {
  for (const holder of holders) {
    told.delete(holder);
    onPage((storage) => storage.removeItem(PREFIX + holder));
  }
}
