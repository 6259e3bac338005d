/**
 * The notes that a page writes when it is left: the holders whose messages go back, with their hand-outs undone. No
 * single way is certain to work, so a note goes all of these ways, and finding it a second time does nothing:
 *
 * - a row of the store `notes`, written at once and without a read, since nothing may run later. It is missing if
 *   the browser was busy with IndexedDB at that moment, and always in WebKit;
 * - on a page, an entry of `localStorage`, which arrives in all browsers, but only pages see it;
 * - a notification to contexts that are open, workers included.
 *
 * Whoever takes back what gone holders held first puts the notes that it knows into the store, in the same transaction.
 */

import { onPage } from "../storage/database-identity.js";

const PREFIX = "pymailbox/left/";

/** A holder and its mailbox. @typedef {[string, string]} Note */

/** The notes that this context knows. */
export class UnloadNotes {
  /** How often this page was left, which shows which transactions began before its notes were written. */
  unloads = 0;

  /** Notes that other contexts have sent. @type {Map<string, string>} */
  #received = new Map();

  /** To be called when the page is left, before anything else. */
  countUnload() {
    this.unloads += 1;
  }

  /** @param {Note[]} notes */
  keep(notes) {
    onPage((storage) => {
      for (const [holder, mailbox] of notes) storage.setItem(PREFIX + holder, mailbox);
    });
  }

  /** @param {Note[]} notes of mailboxes that are open here */
  receive(notes) {
    for (const [holder, mailbox] of notes) this.#received.set(holder, mailbox);
  }

  /** The notes known here, besides those in the database. @returns {Note[]} */
  known() {
    return [...this.kept(), ...this.#received];
  }

  /** The notes that pages have kept. @returns {Note[]} */
  kept() {
    const kept = onPage((storage) =>
      Object.keys(storage).flatMap((key) =>
        key.startsWith(PREFIX) ? [/** @type {Note} */ ([key.slice(PREFIX.length), storage.getItem(key) ?? ""])] : [],
      ),
    );
    return kept ?? [];
  }

  /** @param {Iterable<string>} holders whose notes are in the database or no longer needed */
  forget(holders) {
    for (const holder of holders) {
      this.#received.delete(holder);
      onPage((storage) => storage.removeItem(PREFIX + holder));
    }
  }
}
