/**
 * What a handle still has to release: messages of a claim that nobody received, and everything that its past lives
 * held. Each of its commits releases them first.
 */

import { keyOf } from "../model/ids.js";
import { countOf } from "../model/queries.js";
import { release as releaseIn } from "./verbs/settle.js";

/** @typedef {import("../coordination/liveness.js").Life} Life */
/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */

/**
 * A past life: whether an unload note lists it, and after how many unloads; whether the present life inherits what it
 * holds, since it only lost its lock; whether it may hold anything; the transaction that dealt with it; and the one
 * that found that others have taken everything.
 * @typedef
 * {{noted: boolean, unload?: number, inherited: boolean, held: boolean, doneIn?: WriteTransaction,
 *   takenIn?: WriteTransaction}}
 * Past
 */

/**
 * A message that the present life holds, and the transaction that dealt with it.
 * @typedef {{id: Uint8Array<ArrayBuffer>, doneIn?: WriteTransaction}} Owed
 */

export class PendingReleases {
  /** @type {Map<Life, Past>} */
  #past = new Map();
  /** @type {Map<string, Owed>} */
  #owed = new Map();
  #notes;

  /** @param {import("../coordination/unload-notes.js").UnloadNotes} notes */
  constructor(notes) {
    this.#notes = notes;
  }

  get isEmpty() {
    return this.#past.size === 0 && this.#owed.size === 0;
  }

  /** Whether any past life remains. */
  get hasLives() {
    return this.#past.size > 0;
  }

  /** Whether a message of the present life has to be released. */
  get hasMessages() {
    return this.#owed.size > 0;
  }

  /** The past lives. */
  get lives() {
    return this.#past.keys();
  }

  /**
   * Whether a transaction has found that others have taken what a past life held; until it is committed, that life
   * does not count as over. The life after it has held nothing that anybody received, so no call in that transaction is
   * about what it claims there.
   * @param {WriteTransaction} tx
   */
  isTakenIn(tx) {
    for (const { takenIn } of this.#past.values()) if (takenIn === tx) return true;
    return false;
  }

  /** Whether the transaction that releases it must cover the unload notes. */
  needsNotes() {
    if (this.#past.size > 0) for (const { noted } of this.#past.values()) if (noted) return true;
    return false;
  }

  /** @param {Life} life @param {Past} past */
  addLife(life, past) {
    this.#past.set(life, past);
  }

  /** @param {Iterable<Uint8Array<ArrayBuffer>>} ids of messages that the present life holds */
  addMessages(ids) {
    for (const id of ids) {
      // a message that a transaction is releasing must not be released again: by then it may have been claimed anew
      if (!this.#owed.has(keyOf(id))) this.#owed.set(keyOf(id), { id });
    }
  }

  /** Everything that the present life holds will be released, so its single releases are dropped. */
  dropMessages() {
    this.#owed.clear();
  }

  /**
   * A note is left for all past lives: what they hold goes back, and nobody inherits it. Transactions that have already
   * begun cannot delete the notes, which are written after them.
   */
  noteLives() {
    for (const [life, past] of this.#past) {
      life.over = true;
      Object.assign(past, { noted: true, unload: this.#notes.unloads, inherited: false, doneIn: undefined });
    }
  }

  /**
   * Releases what is pending in a transaction; if that is not committed, the next one does it again.
   * @param {WriteTransaction} tx @param {MailboxState} state
   * @param {string} heir the present life @param {import("../model/types.js").HolderTerms} terms
   * @param {(lives: Life[]) => void} onTaken called after the commit with lives whose messages others have taken
   * @returns {Promise<{released: number, inherited: boolean}>} how many messages were released, and whether the heir
   * got any
   */
  async release(tx, state, heir, terms, onTaken) {
    // a lock may be lost while a transaction is filled: then it has more to do than at first
    const lives = [...this.#past].filter(([, { doneIn }]) => doneIn !== tx);
    const owed = [...this.#owed].filter(([, { doneIn }]) => doneIn !== tx);
    // then what is owed was among it, and what has its ids now was claimed in this transaction
    const isOwedTaken = this.isTakenIn(tx);
    /** @type {Life[]} */
    const taken = [];
    let [released, anyInherited] = [0, false];
    for (const [life, past] of lives) {
      // also if the page has been left again since the last of them was released
      if (past.noted && !canDeleteNote(tx, past)) continue;
      past.doneIn = tx;
      const { noted, inherited, held } = past;
      if (noted) tx.store("notes").delete(life.id);
      if (!inherited) released += countOf(await tx.run(state, state.releaseAll(life.id)));
      else if (state.bequeath(life.id, heir, terms)) anyInherited = true;
      // what a lost life still had has never belonged to the lives after it, so these have lost nothing either; if they
      // hold something already, it was inherited in a commit of which nobody knew whether it was one
      else if (held && !anyInherited && !state.claims.has(heir)) {
        taken.push(life);
        past.takenIn = tx;
      }
    }
    for (const [, one] of owed) one.doneIn = tx;
    // after that, since these may be messages that a past life held
    released += await releaseIn(tx, state, heir, isOwedTaken ? [] : owed.map(([, { id }]) => id));
    tx.afterCommit.push(() => {
      for (const [life, { noted, doneIn }] of lives) {
        // it has been noted again since
        if (doneIn !== tx) continue;
        this.#past.delete(life);
        life.end();
        if (noted) this.#notes.forget([life.id]);
      }
      for (const [key, one] of owed) if (this.#owed.get(key) === one) this.#owed.delete(key);
      if (taken.length > 0) onTaken(taken);
    });
    return { released, inherited: anyInherited };
  }
}

/** @param {WriteTransaction} tx @param {Past} past */
const canDeleteNote = (tx, { unload = 0 }) => tx.seesNotes && tx.unloadsBefore >= unload;
