/**
 * The identity under which a handle holds messages: its present life, the heartbeat that shows that it lives if no lock
 * does, and what happens when a life is over.
 */

import { Life } from "../coordination/liveness.js";
import { attempt } from "../model/errors.js";
import { PendingReleases } from "./pending-releases.js";

/** Milliseconds before a failed release is first tried again; doubled each time, up to the slow poll. */
const FIRST_RETRY = 100;

/** The most milliseconds between two beats, whatever the lease: timers have a limit. */
const LONGEST_BEAT = 3_600_000;

/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/**
 * Commits an operation of the handle, or at least what every one of its commits does first.
 * @typedef {(run: (tx: WriteTransaction, state: MailboxState) => Promise<void>) => Promise<void>} Commit
 */

export class Holder {
  /** Whether the handle takes no more calls. */
  isClosed = false;
  /** How many lives are over. */
  livesOver = 0;
  /** Called when a life is over: what it held has been given back or taken. @type {(() => void) | undefined} */
  onLifeOver;
  /** Commits under way, each of which may give it messages. */
  underWay = 0;
  pending;
  life;

  #engine;
  #mailbox;
  #options;
  #commit;
  /** Whether its last release has been committed and nothing remains to be done. */
  #isGone = false;
  /** Whether it held messages after its last commit. */
  #isHolding = false;
  /** The last transaction that it took part in. @type {WriteTransaction | undefined} */
  #lastTx;
  /** The beginning of a life in place of one that has lost its lock. @type {Promise<void> | undefined} */
  #renewing;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  #retryAfter = FIRST_RETRY;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #heartbeat;

  /**
   * @param {import("./engine.js").Engine} engine @param {string} mailbox @param {Options} options
   * @param {Commit} commit
   */
  constructor(engine, mailbox, options, commit) {
    this.#engine = engine;
    this.#mailbox = mailbox;
    this.#options = options;
    this.#commit = commit;
    this.pending = new PendingReleases(engine.notes);
    this.life = this.#newLife();
  }

  /** What others need to know about it. */
  get terms() {
    const { maxDeliveries, lease } = this.#options;
    return { maxDeliveries, lease, locked: this.life.locked };
  }

  /** Whether others have taken everything that it held. @param {MailboxState} state */
  hasLostAll(state) {
    return this.#isHolding && !this.life.locked && !state.claims.has(this.life.id);
  }

  // -- in its commits -------------------------------------------------------------------------------------------------

  /**
   * Does what must precede any operation of the handle: releases what is pending, and ends a life whose messages others
   * have taken.
   * @param {WriteTransaction} tx @param {MailboxState} state
   */
  async catchUp(tx, state) {
    if (tx !== this.#lastTx && this.hasLostAll(state)) {
      // it was silent for its whole lease, and others have taken everything that it held
      this.life.over = true;
      this.pending.addLife(this.life, { noted: false, inherited: false, held: true });
      this.life = this.#newLife();
      this.#isHolding = false;
      this.#tellLifeOver();
    }
    this.#lastTx = tx;
    if (this.pending.isEmpty) return;
    const { released, inherited } = await this.pending.release(tx, state, this.life.id, this.terms, (taken) => {
      for (const life of taken) life.over = true;
      this.#tellLifeOver();
    });
    if (released > 0 || inherited) tx.changed(this.#mailbox);
    if (released > 0) tx.announce(this.#mailbox, undefined, [], released);
  }

  /**
   * To be called for each of its committed operations, with the state that the whole commit left.
   * @param {Life} life in which it was done @param {MailboxState} state
   */
  noteCommitted(life, state) {
    if (life === this.life) this.#beatIf((this.#isHolding = state.claims.has(life.id)) && !this.#isGone);
  }

  /** If no lock shows that it lives, a heartbeat does, for as long as it holds something. @param {boolean} isHolding */
  #beatIf(isHolding) {
    if ((this.life.locked && isHolding) || (this.#heartbeat !== undefined) === isHolding) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    if (!isHolding || !this.#engine.settings.heartbeats) return;
    const beat = () =>
      this.#commit(async (tx, state) => {
        if (state.beat(this.life.id)) tx.changed(this.#mailbox);
      }).catch(() => {
        // a missed beat does not matter: the next one follows
      });
    this.#heartbeat = setInterval(beat, Math.min(this.#options.lease / 3, LONGEST_BEAT));
  }

  /**
   * Whether everything that the handle held in a life has been given back or taken, as far as a transaction knows.
   * @param {Life} life @param {WriteTransaction} tx
   */
  isOverIn(life, tx) {
    return life.over || this.pending.isTakenIn(tx);
  }

  // -- what is to be released -----------------------------------------------------------------------------------------

  /**
   * Makes the next commit release messages that it holds or may hold.
   * @param {Iterable<Uint8Array<ArrayBuffer>>} ids
   */
  owe(ids) {
    this.pending.addMessages(ids);
    this.retryPending();
  }

  /** Releases what is pending now, and tries again later if that fails. */
  async releasePending() {
    if (this.pending.isEmpty) return;
    try {
      await this.#commit(async () => {});
    } catch {
      // tried again
    }
    this.retryPending();
  }

  /** Tries again after a while to release what could not be released. */
  retryPending() {
    clearTimeout(this.#retry);
    if (this.isClosed || this.pending.isEmpty) {
      this.#retryAfter = FIRST_RETRY;
      return;
    }
    this.#retry = setTimeout(() => this.releasePending(), this.#retryAfter);
    this.#retryAfter = Math.min(2 * this.#retryAfter, this.#engine.settings.slowPoll);
  }

  // -- lives ----------------------------------------------------------------------------------------------------------

  #newLife() {
    return new Life(this.#engine.liveness, (lost) => this.#renew(lost));
  }

  /** Resolves when its life may claim. */
  async ready() {
    await this.#renewing;
    if (!this.life.begun) await this.life.begin();
  }

  /** Begins a new life after the last one lost its lock; it inherits what that one held. @param {Life} lost */
  async #renew(lost) {
    if (lost !== this.life || this.#isGone) return;
    const next = this.#newLife();
    // now: a commit that finds that others have taken everything would look as if nothing had been held
    const held = this.#isHolding || this.underWay > 0;
    await (this.#renewing = next.begin());
    if (lost !== this.life || this.#isGone) {
      next.end();
      return;
    }
    this.pending.addLife(lost, { noted: false, inherited: true, held: held || this.underWay > 0 });
    this.life = next;
    this.#isHolding = false;
    await this.releasePending();
  }

  /**
   * Ends this life while the page is being left or frozen.
   * @returns {string[]} the lives for which a note must ask others to release what they hold
   */
  releaseOnUnload() {
    if (this.#isGone) return [];
    const left = this.life;
    this.life = this.#newLife();
    left.over = true;
    this.livesOver += 1;
    const mayHold = this.#isHolding || this.underWay > 0 || this.pending.hasMessages;
    this.pending.dropMessages();
    if (mayHold) this.pending.addLife(left, { noted: true, inherited: false, held: true });
    else left.end();
    this.#isHolding = false;
    this.#beatIf(false);
    this.pending.noteLives();
    return [...this.pending.lives].map(({ id }) => id);
  }

  #tellLifeOver() {
    this.livesOver += 1;
    // an error of a listener changes nothing here
    attempt(() => this.onLifeOver?.());
  }

  /** All its lives, the present one first. */
  get lives() {
    return [this.life, ...this.pending.lives];
  }

  /** Takes no more calls. */
  stop() {
    this.isClosed = true;
    clearTimeout(this.#retry);
    this.#beatIf(false);
  }

  /** The end: nobody needs to know that it lives any more. */
  end() {
    this.#isGone = true;
    this.#beatIf(false);
    for (const life of this.lives) life.end();
  }
}
