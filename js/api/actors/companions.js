/** What a handle has beside its own mailbox: the other mailboxes of its origin, and what was opened for it there. */

/**
 * The mailboxes of the origin. It refers to no handle.
 * @typedef {object} Nearby
 * @property {(name: string, isRelaxed?: boolean) => Promise<import("../mailbox.js").Mailbox>} open makes it if there is
 * none; its durability is the handle's, unless it is to be relaxed
 * @property {() => Promise<string[]>} names of all
 * @property {(name: string, unless?: string, heldOnly?: boolean) => Promise<boolean>} delete deletes one, in one
 * transaction; false if there was none, or if it has a message of the id `unless`, with `heldOnly` one that is inflight
 */

/**
 * Something that was opened for a handle, and ends with it. It does not refer to that handle, which may be collected.
 * @typedef {object} Companion
 * @property {boolean} over whether it has ended, or will
 * @property {() => Promise<void>} end ends it; resolves when it has ended, and never rejects
 */

/** The companions of one handle. */
export class Companions {
  #nearby;
  /** @type {Companion[]} */
  #all = [];

  /** @param {Nearby} nearby */
  constructor(nearby) {
    this.#nearby = nearby;
  }

  /**
   * The one of a kind, which is made if there is none.
   * @template {Companion} T @param {new (nearby: Nearby) => T} Kind @returns {T}
   */
  of(Kind) {
    this.#all = this.#all.filter((one) => !one.over);
    const present = this.#all.find((one) => one instanceof Kind);
    if (present !== undefined) return /** @type {T} */ (present);
    const made = new Kind(this.#nearby);
    this.#all.push(made);
    return made;
  }

  /** Ends all of them. */
  async end() {
    await Promise.all(this.#all.map((one) => one.end()));
  }
}
