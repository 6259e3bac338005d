/** Web Locks, used to show which holders live: a lock is held exclusively for as long as its holder lives. */

export class Locks {
  #manager;

  /** @param {LockManager | undefined} manager undefined where there are no Web Locks */
  constructor(manager) {
    this.#manager = manager;
  }

  /**
   * Holds a lock until the function that it resolves with is called, or this context ends.
   * @param {string} name
   * @param {() => void} [onLost] called if the lock is taken away: another script has stolen it, or the browser has put
   * this page into its back/forward cache (WebKit)
   * @returns {Promise<() => void>}
   */
  keep(name, onLost = () => {}) {
    return new Promise((held, failed) => {
      if (this.#manager === undefined) throw new Error("there are no Web Locks here");
      let isHeld = false;
      let isReleased = false;
      const released = new Promise((release) => {
        const ended = this.#manager?.request(name, () => {
          isHeld = true;
          held(() => {
            isReleased = true;
            release(undefined);
          });
          return released;
        });
        const over = (/** @type {unknown} */ reason) => {
          if (!isHeld) failed(reason);
          else if (!isReleased) onLost();
        };
        ended?.then(over, over);
      });
    });
  }

  /**
   * Resolves when another context's exclusive lock is released; never if no lock can show it.
   *
   * It is requested in shared mode, so that all who wait for it learn of it at the same time, even if some are blocked
   * or frozen.
   * @param {string} name @param {AbortSignal} signal
   */
  async onceReleased(name, signal) {
    if (this.#manager === undefined) return new Promise(() => {});
    return this.#manager.request(name, { mode: "shared", signal }, () => {});
  }

  /**
   * Those of some names whose locks nobody holds exclusively; none if that cannot be told. A context that has one in
   * shared mode was waiting for its holder's death.
   * @param {string[]} names @returns {Promise<Set<string>>}
   */
  async unheldAmong(names) {
    if (this.#manager === undefined || names.length === 0) return new Set();
    try {
      const { held = [] } = await this.#manager.query();
      const holding = new Set(held.flatMap(({ name, mode }) => (mode === "exclusive" ? [name] : [])));
      return new Set(names.filter((name) => !holding.has(name)));
    } catch {
      // Firefox refuses to list them in a frame of another site
      const unheld = await Promise.all(names.map((name) => this.#isUnheld(name)));
      return new Set(names.filter((_, i) => unheld[i]));
    }
  }

  /**
   * The pages or workers that hold locks exclusively, by the browser's ids; none if it does not tell.
   * @returns {Promise<Map<string, string>>} by the names of the locks
   */
  async clients() {
    /** @type {Map<string, string>} */
    const clients = new Map();
    try {
      for (const { name, mode, clientId } of (await this.#manager?.query())?.held ?? [])
        if (mode === "exclusive" && name !== undefined && clientId !== undefined) clients.set(name, clientId);
    } catch {
      // as above
    }
    return clients;
  }

  /** Whether nobody holds a lock exclusively, found by requesting it. @param {string} name */
  async #isUnheld(name) {
    try {
      return await this.#manager?.request(name, { mode: "shared", ifAvailable: true }, (lock) => lock !== null);
    } catch {
      return false; // it cannot be told
    }
  }
}
