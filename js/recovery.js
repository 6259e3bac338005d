/** One handle's part in taking back what others held who are gone: it looks, and it listens for their death. */

import { death, goneAmong } from "./holders.js";

/** Other holders, by their identity. @typedef {Map<string, import("./types.js").HolderTerms & {beat: number}>} Others */

/** What a handle lends. @typedef {object} Hands
 * @property {() => Promise<number>} notes how many notes of departure there are for its mailbox
 * @property {() => Promise<Others>} others who else holds something
 * @property {(gone: import("./holders.js").Gone) => Promise<number>} takeBack what some had who are gone, and what notes give back
 */

export class Recovery {
  /** Holders whose death is listened for. @type {Map<string, AbortController>} */
  #watched = new Map();
  #stopped = false;
  #hands;

  /** @param {Hands} hands */
  constructor(hands) {
    this.#hands = hands;
  }

  /**
   * Takes back what is to be had at the first look; nothing once it is stopped, so that a call that is under way when the
   * handle is closed comes to its end.
   * @returns {Promise<{recovered: number, living: Others}>} how many messages came back, and who else seems to live
   */
  async now() {
    try {
      return await this.#look();
    } catch (error) {
      if (!this.#stopped) throw error;
      return { recovered: 0, living: new Map() };
    }
  }

  /** Takes back what other holders have as soon as they die. @param {Others} others all that hold something */
  watch(others) {
    for (const [holder, unwatched] of this.#watched) if (!others.has(holder)) unwatched.abort();
    for (const [holder, terms] of others) {
      if (!terms.locked || this.#watched.has(holder) || this.#stopped) continue;
      const unwatched = new AbortController();
      this.#watched.set(holder, unwatched);
      this.#takeBackAfterDeath(holder, unwatched);
    }
  }

  stop() {
    this.#stopped = true;
    for (const unwatched of this.#watched.values()) unwatched.abort();
  }

  /** @param {string} holder @param {AbortController} unwatched */
  async #takeBackAfterDeath(holder, unwatched) {
    try {
      await death(holder, unwatched.signal);
      if (!this.#stopped) await this.#hands.takeBack(new Map([[holder, undefined]]));
    } catch {
      // it is watched no more; or storage failed, and the handle's next call meets the same error and can tell somebody
    } finally {
      if (this.#watched.get(holder) === unwatched) this.#watched.delete(holder);
    }
  }

  async #look() {
    const [notes, living] = await Promise.all([this.#hands.notes(), this.#hands.others()]);
    const gone = await goneAmong(living);
    for (const holder of gone.keys()) living.delete(holder);
    if (gone.size === 0 && notes === 0) return { recovered: 0, living };
    return { recovered: await this.#hands.takeBack(gone), living };
  }
}
