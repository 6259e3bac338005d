/**
 * How a handle's calls get into transactions: calls that write become operations, which may share one; calls that read
 * get one of their own; and what both check first.
 */

import { closed, unavailable } from "../model/errors.js";
import { Holder } from "./holder.js";
import { Unreadable } from "./read-transaction.js";
import { salvage } from "./salvage.js";

/** @typedef {import("./types.js").Options} Options */
/** @template T @typedef {import("./types.js").Operation<T>} Operation */
/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("./read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../coordination/liveness.js").Life} Life */
/**
 * What a call does with the mailbox's state in a transaction.
 * @template T @typedef {(tx: WriteTransaction, state: MailboxState) => Promise<T>} Run
 */
/**
 * As `Run`, if everything it needs is at hand; undefined otherwise.
 * @template T @typedef {(tx: WriteTransaction, state: MailboxState) => T | undefined} RunAtHand
 */
/**
 * See `Operation`.
 * @template T
 * @typedef
 * {{durability?: import("./types.js").Durability, stores?: boolean, tidyings?: number, atHand?: RunAtHand<T>,
 *   onCommit?: (value: T) => void, onDoubt?: (value: T) => void}}
 * Needs
 */

/** @type {Needs<any>} */
const NO_NEEDS = {};

/** One call of a handle. @template T @implements {Operation<T>} */
class HandleOperation {
  #operations;
  #run;
  #needs;
  /** The handle's life when this was last done. @type {Life | undefined} */
  #life;
  /** The state with which this was last done. @type {MailboxState | undefined} */
  #state;

  /** @param {Operations} operations @param {Run<T>} run @param {Needs<T>} needs */
  constructor(operations, run, needs) {
    this.#operations = operations;
    this.#run = run;
    this.#needs = needs;
    this.mailbox = operations.mailbox;
    this.durability = needs.durability ?? "relaxed";
    this.stores = needs.stores === true;
    this.tidyings = needs.tidyings;
    this.mayBeAtHand = needs.atHand !== undefined;
  }

  needsNotes() {
    return this.#operations.holder.pending.needsNotes();
  }

  /** @param {WriteTransaction} tx @returns {Promise<T>} */
  async run(tx) {
    this.#operations.checkNotWiped();
    const { holder } = this.#operations;
    const state = await tx.state(this.mailbox);
    await holder.catchUp(tx, state);
    const value = await this.#run(tx, state);
    this.#life = holder.life;
    this.#state = state;
    return value;
  }

  /** @param {WriteTransaction} tx @returns {T | undefined} */
  atHand(tx) {
    if (!this.#operations.isCaughtUp) return undefined;
    const { holder } = this.#operations;
    const state = tx.stateAtHand(this.mailbox);
    if (state === undefined || holder.hasLostAll(state)) return undefined;
    const value = this.#needs.atHand?.(tx, state);
    this.#life = holder.life;
    this.#state = state;
    return value;
  }

  /** @param {T} value */
  onCommit(value) {
    if (this.#life !== undefined && this.#state !== undefined)
      this.#operations.holder.noteCommitted(this.#life, this.#state);
    this.#needs.onCommit?.(value);
  }

  /** @param {T} value */
  onDoubt(value) {
    this.#needs.onDoubt?.(value);
  }

  onSettled() {
    this.#operations.holder.underWay -= 1;
  }
}

export class Operations {
  /** Reads under way; they do not queue with writes. @type {Set<Promise<unknown>>} */
  reads = new Set();

  #options;
  /** How many wipes of the site's data the handle's calls have reported. */
  #wipes;
  #wipesAtOpen;
  /** Whether the site's data was cleared between when this mailbox was last seen and its opening. */
  #wipedBefore = false;

  /** @param {import("./engine.js").Engine} engine @param {string} mailbox @param {Options} options */
  constructor(engine, mailbox, options) {
    this.engine = engine;
    this.mailbox = mailbox;
    this.#options = options;
    this.#wipes = this.#wipesAtOpen = engine.connection.wipes;
    this.holder = new Holder(engine, mailbox, options, (run) => this.commit(run));
  }

  // -- writing --------------------------------------------------------------------------------------------------------

  /** @template T @param {Run<T>} run @param {Needs<T>} [needs] @returns {Promise<T>} */
  submit(run, needs) {
    return this.holder.isClosed ? Promise.reject(closed()) : this.commit(run, needs);
  }

  /**
   * For operations that store messages. @template T @param {Run<T>} run @param {RunAtHand<T>} [atHand] @returns
   * {Promise<T>}
   */
  submitStoring(run, atHand) {
    return this.submit(run, { durability: this.#options.durability, stores: true, atHand });
  }

  /**
   * As `submit`, also while the handle is being closed.
   * @template T @param {Run<T>} run @param {Needs<T>} [needs] @returns {Promise<T>}
   */
  commit(run, needs) {
    this.holder.underWay += 1;
    return this.engine.groupCommit.submit(this.operation(run, needs));
  }

  /** @template T @param {Run<T>} run @param {Needs<T>} [needs] */
  operation(run, needs = NO_NEEDS) {
    return new HandleOperation(this, run, needs);
  }

  /** Whether a commit of the handle needs to do nothing else first. */
  get isCaughtUp() {
    return this.#wipes === this.engine.connection.wipes && this.holder.pending.isEmpty;
  }

  /**
   * Tells others that there may be something to claim. @param {WriteTransaction} tx @param {number} [count] how many
   * messages
   */
  announce(tx, count) {
    tx.changed(this.mailbox);
    tx.announce(this.mailbox, undefined, [], count);
  }

  // -- reading --------------------------------------------------------------------------------------------------------

  /**
   * @template T @param {T} absent the answer if the mailbox no longer exists
   * @param {(tx: ReadTransaction, state: MailboxState) => Promise<T>} read
   * @param {(read: (tx: ReadTransaction) => Promise<T>) => Promise<T>} [inTransaction] @returns {Promise<T>}
   */
  read(absent, read, inTransaction = (read) => this.engine.groupCommit.read(read)) {
    if (this.holder.isClosed) return Promise.reject(closed());
    const reading = inTransaction(async (tx) => {
      this.checkNotWiped();
      const state = await tx.stored(this.mailbox);
      return state === undefined ? absent : read(tx, state);
    });
    this.reads.add(reading);
    const done = () => this.reads.delete(reading);
    reading.then(done, done);
    return reading;
  }

  /** Tries again what could not be read, if it is time. */
  async retryUnavailableIfDue() {
    const { groupCommit } = this.engine;
    if (groupCommit.isRetryDue) await groupCommit.retryUnavailable();
  }

  /**
   * Reads what may turn out to be unreadable, which then becomes a dead letter, and the read is repeated.
   * @template T @param {T} absent @param {(tx: ReadTransaction, state: MailboxState) => Promise<T>} read
   * @returns {Promise<T>}
   */
  async readWhole(absent, read) {
    await this.retryUnavailableIfDue();
    for (;;) {
      try {
        return await this.read(absent, read);
      } catch (error) {
        if (!(error instanceof Unreadable)) throw error;
        const { place } = error;
        await this.submit(async (tx, state) => {
          await salvage(tx, state, place);
          tx.changed(this.mailbox);
        });
      }
    }
  }

  // -- the database itself --------------------------------------------------------------------------------------------

  /** To be called when the handle is open: its calls do not report that data was cleared before. */
  noteOpened() {
    const { connection } = this.engine;
    this.#wipes = this.#wipesAtOpen = connection.wipes;
    const seenIn = connection.seen.lastIn(this.mailbox);
    this.#wipedBefore = seenIn !== undefined && seenIn !== connection.birth;
    connection.seen.note(this.mailbox, connection.birth);
  }

  /** Whether the site's data was cleared since this mailbox was last seen, as far as that can be known. */
  get wasWiped() {
    return this.#wipedBefore || this.engine.connection.wipes > this.#wipesAtOpen;
  }

  /** Thrown once: the messages are gone, and what follows is a new mailbox. */
  checkNotWiped() {
    const { connection } = this.engine;
    if (this.#wipes === connection.wipes) return;
    this.#wipes = connection.wipes;
    connection.seen.note(this.mailbox, connection.birth);
    throw unavailable("This site's data was cleared, and all messages with it. The mailbox continues empty.");
  }
}
