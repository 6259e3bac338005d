/**
 * Remembers in which database a mailbox was last seen: if it is now in another one, the site's data was cleared.
 *
 * This context remembers it, and on a page so does `localStorage`, which outlives a database that the browser evicted
 * or another script deleted. A worker has no such storage, and it goes too if a browser clears all of a site's data.
 */

const PREFIX = "pymailbox/seen/";

export class SeenMailboxes {
  /** By mailbox. @type {Map<string, string>} */
  #seen = new Map();

  /**
   * The database, by its random `birth`, in which a mailbox was last seen; undefined if unknown.
   * @param {string} mailbox
   */
  lastIn(mailbox) {
    return this.#seen.get(mailbox) ?? onPage((storage) => storage.getItem(PREFIX + mailbox)) ?? undefined;
  }

  /** @param {string} mailbox @param {string} birth */
  note(mailbox, birth) {
    if (this.#seen.get(mailbox) === birth) return;
    this.#seen.set(mailbox, birth);
    onPage((storage) => storage.setItem(PREFIX + mailbox, birth));
  }

  /** @param {string} mailbox */
  forget(mailbox) {
    this.#seen.delete(mailbox);
    onPage((storage) => storage.removeItem(PREFIX + mailbox));
  }
}

/**
 * Uses `localStorage`.
 * @template T @param {(storage: Storage) => T} use
 * @returns {T | undefined} undefined if there is none or it is full
 */
export function onPage(use) {
  try {
    return globalThis.localStorage && use(globalThis.localStorage);
  } catch {
    return undefined;
  }
}
