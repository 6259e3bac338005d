/**
 * The identity under which a handle holds messages: its present life, the heartbeat that shows that it lives where no
 * lock does, and what becomes of a life that is over.
 */

import { Life } from "../coordination/liveness.js";
import { attempt } from "../model/errors.js";
import { PendingReleases } from "./pending-releases.js";

/**
 * Milliseconds after which a failed release is first tried again; then twice as long each time, up to the slow poll.
 */
const FIRST_RETRY = 100;

/** The most milliseconds between two beats, whatever the lease: a timer cannot wait for ever. */
const LONGEST_BEAT = 3_600_000;

/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/**
 * Commits an operation of the handle, or at least what each of its commits does first.
 * @typedef {(run: (tx: WriteTransaction, state: MailboxState) => Promise<void>) => Promise<void>} Commit
 */

export class Holder {
  /** Whether the handle takes no calls any more. */
  isClosed = false;
  /** How many lives are over. */
  livesOver = 0;
  /** Told that a life is over: what it held has been given back, or taken. @type {(() => void) | undefined} */
  onLifeOver;
  /** Commits under way, each of which may leave it with messages. */
  underWay = 0;
  pending;
  life;

  #engine;
  #mailbox;
  #options;
  #commit;
  /** Whether its last release has been committed, and nothing is left to do. */
  #isGone = false;
  /** Whether it held messages after its last commit. */
  #isHolding = false;
  /** The last transaction that it took part in. @type {WriteTransaction | undefined} */
  #lastTx;
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

  /** What others need to know of it. */
  get terms() {
    const { maxDeliveries, lease } = this.#options;
    return { maxDeliveries, lease, locked: this.life.locked };
  }

  /** Whether others have taken all that it held. @param {MailboxState} state */
  hasLostAll(state) {
    return this.#isHolding && !this.life.locked && !state.claims.has(this.life.id);
  }

  // -- in its commits -------------------------------------------------------------------------------------------------

  /**
   * Does what has to be done before any operation of the handle's: what is pending is released, and a life is over
   * whose messages others have taken.
   * @param {WriteTransaction} tx @param {MailboxState} state
   */
  async catchUp(tx, state) {
    if (tx !== this.#lastTx && this.hasLostAll(state)) {
      // it was silent for its lease, and others have taken all that it held
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
   * To be called for each of its operations that is committed, as all that shares the commit has left the state.
   * @param {Life} life that it was done in @param {MailboxState} state
   */
  noteCommitted(life, state) {
    if (life === this.life) this.#beatIf((this.#isHolding = state.claims.has(life.id)) && !this.#isGone);
  }

  /** Where no lock shows that it lives, a beat does, for as long as it holds something. @param {boolean} isHolding */
  #beatIf(isHolding) {
    if ((this.life.locked && isHolding) || (this.#heartbeat !== undefined) === isHolding) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    if (!isHolding || !this.#engine.settings.heartbeats) return;
    const beat = () =>
      this.#commit(async (tx, state) => {
        if (state.beat(this.life.id)) tx.changed(this.#mailbox);
      }).catch(() => {
        // a beat that is missed counts for nothing; the next one tells
      });
    this.#heartbeat = setInterval(beat, Math.min(this.#options.lease / 3, LONGEST_BEAT));
  }

  // -- what is to be released -----------------------------------------------------------------------------------------

  /**
   * Has messages released in the next commit, that it holds, or may hold.
   * @param {Iterable<Uint8Array<ArrayBuffer>>} ids
   */
  owe(ids) {
    this.pending.addMessages(ids);
    this.retryPending();
  }

  /** Releases now what is pending, and tries again later where that fails. */
  async releasePending() {
    if (this.pending.isEmpty) return;
    try {
      await this.#commit(async () => {});
    } catch {
      // tried again
    }
    this.retryPending();
  }

  /** Tries again after a while what could not be released. */
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

  /** Begins a new life, with what the last one holds, whose lock was taken away. @param {Life} lost */
  async #renew(lost) {
    if (lost !== this.life || this.#isGone) return;
    const next = this.#newLife();
    await next.begin();
    if (lost !== this.life || this.#isGone) {
      next.end();
      return;
    }
    this.pending.addLife(lost, { noted: false, inherited: true, held: this.#isHolding || this.underWay > 0 });
    this.life = next;
    await this.releasePending();
  }

  /**
   * Ends this life while the page is being left or frozen.
   * @returns {string[]} the lives for which a note has to ask others to release what they hold
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
    // what a listener throws is its own affair
    attempt(() => this.onLifeOver?.());
  }

  /** The lives that are its own, the present one first. */
  get lives() {
    return [this.life, ...this.pending.lives];
  }

  /** Takes no calls any more. */
  stop() {
    this.isClosed = true;
    clearTimeout(this.#retry);
    this.#beatIf(false);
  }

  /** The end: nobody needs to know any more that it lives. */
  end() {
    this.#isGone = true;
    this.#beatIf(false);
    for (const life of this.lives) life.end();
  }
}
