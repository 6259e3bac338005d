/** The consumers of a handle: they are told when a message is settled through it, and when it ends. */

/** @typedef {import("./holds.js").SettlingVerb} SettlingVerb */

/**
 * @typedef {object} Watcher
 * @property {import("./holds.js").Holds["settling"]} settling a settling verb is called
 * @property {(ids: string[]) => Promise<unknown> | undefined} beforeSettling does what has to come before that call;
 * what the call has to wait for, if there is anything, which never rejects
 * @property {() => void} closing begins what the end of the handle must not forestall
 * @property {() => void} lifeOver the page is left or frozen: all that the handle held has been given back
 */

export class Watchers {
  /** @type {Set<Watcher>} */
  #all = new Set();

  get size() {
    return this.#all.size;
  }

  /** @param {Watcher} watcher @returns {() => void} ends that */
  add(watcher) {
    this.#all.add(watcher);
    return () => {
      this.#all.delete(watcher);
    };
  }

  /**
   * Settles messages.
   * @template T @param {SettlingVerb} verb @param {string[]} ids @param {() => Promise<T>} call @returns {Promise<T>}
   */
  async settling(verb, ids, call) {
    const watchers = [...this.#all];
    const ends = watchers.map((watcher) => watcher.settling(verb, ids));
    /** @type {T | undefined} */
    let answer;
    try {
      for (const watcher of watchers) {
        const before = watcher.beforeSettling(ids);
        if (before !== undefined) await before;
      }
      answer = await call();
      return answer;
    } finally {
      for (const end of ends) end(answer === undefined ? undefined : Boolean(answer));
    }
  }

  closing() {
    for (const watcher of this.#all) watcher.closing();
  }

  lifeOver() {
    for (const watcher of this.#all) watcher.lifeOver();
  }
}
