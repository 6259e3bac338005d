/**
 * How a handle's calls get into transactions: calls that write become operations that may share one, calls that read get one of
 * their own; and what each of them checks first.
 */

import { closed, unavailable } from "../model/errors.js";
import { Holder } from "./holder.js";
import { Unreadable } from "./read-transaction.js";
import { salvage } from "./salvage.js";

/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("./read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../coordination/liveness.js").Life} Life */
/** What a call does with the mailbox's state in a transaction. @template T @typedef {(tx: WriteTransaction, state: MailboxState) => Promise<T>} Run */
/** As `Run`, if everything that it needs is at hand; undefined if not. @template T @typedef {(tx: WriteTransaction, state: MailboxState) => T | undefined} RunAtHand */
/**
 * See `Operation`.
 * @template T
 * @typedef {{durability?: import("./types.js").Durability, stores?: boolean, atHand?: RunAtHand<T>, onCommit?: (value: T) => void, onDoubt?: (value: T) => void}} Needs
 */
/** What an operation comes to, in which life of the handle, and with what state. @template T @typedef {{value: T, life: Life, state: MailboxState}} Done */

export class Operations {
  /** Reads under way; they do not queue with what writes. @type {Set<Promise<unknown>>} */
  reads = new Set();

  #options;
  /** Wipes of the site's data that the handle's calls have been told of. */
  #wipes;
  #wipesAtOpen;
  /** Whether the site's data was cleared between the last time that this mailbox was seen and its opening. */
  #wipedBefore = false;

  /** @param {import("./engine.js").Engine} engine @param {string} mailbox @param {Options} options */
  constructor(engine, mailbox, options) {
    this.engine = engine;
    this.mailbox = mailbox;
    this.#options = options;
    this.#wipes = this.#wipesAtOpen = engine.connection.wipes;
    this.holder = new Holder(engine, mailbox, options, (run) => this.commit(run));
  }

  // -- writing ----------------------------------------------------------------------------------------------------------

  /** @template T @param {Run<T>} run @param {Needs<T>} [needs] @returns {Promise<T>} */
  submit(run, needs) {
    return this.holder.isClosed ? Promise.reject(closed()) : this.commit(run, needs);
  }

  /** Of what stores messages. @template T @param {Run<T>} run @param {RunAtHand<T>} [atHand] @returns {Promise<T>} */
  submitStoring(run, atHand) {
    return this.submit(run, { durability: this.#options.durability, stores: true, atHand });
  }

  /** As `submit`, also while the handle is being closed. @template T @param {Run<T>} run @param {Needs<T>} [needs] @returns {Promise<T>} */
  async commit(run, needs) {
    const { holder } = this;
    holder.underWay += 1;
    try {
      return (await this.engine.groupCommit.submit(this.operation(run, needs))).value;
    } finally {
      holder.underWay -= 1;
    }
  }

  /** @template T @param {Run<T>} run @param {Needs<T>} [needs] @returns {import("./types.js").Operation<Done<T>>} */
  operation(run, { durability = "relaxed", stores = false, atHand, onCommit, onDoubt } = {}) {
    const { holder } = this;
    const done = (/** @type {T} */ value, /** @type {MailboxState} */ state) => ({ value, life: holder.life, state });
    return {
      durability,
      stores,
      needsNotes: () => holder.pending.needsNotes(),
      run: async (tx) => {
        this.#checkNotWiped();
        const state = await tx.state(this.mailbox);
        await holder.catchUp(tx, state);
        return done(await run(tx, state), state);
      },
      mailbox: this.mailbox,
      atHand:
        atHand &&
        ((tx) => {
          if (!this.isCaughtUp) return undefined;
          const state = tx.stateAtHand(this.mailbox);
          if (state === undefined || holder.hasLostAll(state)) return undefined;
          const value = atHand(tx, state);
          return value === undefined ? undefined : done(value, state);
        }),
      onCommit: ({ value, life, state }) => {
        holder.noteCommitted(life, state);
        onCommit?.(value);
      },
      onDoubt: ({ value }) => onDoubt?.(value),
    };
  }

  /** Whether a commit of the handle has nothing else to do first. */
  get isCaughtUp() {
    return this.#wipes === this.engine.connection.wipes && this.holder.pending.isEmpty;
  }

  /** Others may find something to claim. @param {WriteTransaction} tx @param {number} [count] how many messages */
  announce(tx, count) {
    tx.changed(this.mailbox);
    tx.announce(this.mailbox, undefined, [], count);
  }

  // -- reading ----------------------------------------------------------------------------------------------------------

  /**
   * @template T @param {T} absent the answer where there is no such mailbox any more
   * @param {(tx: ReadTransaction, state: MailboxState) => Promise<T>} read
   * @param {(read: (tx: ReadTransaction) => Promise<T>) => Promise<T>} [inTransaction] @returns {Promise<T>}
   */
  read(absent, read, inTransaction = (read) => this.engine.groupCommit.read(read)) {
    if (this.holder.isClosed) return Promise.reject(closed());
    const reading = inTransaction(async (tx) => {
      this.#checkNotWiped();
      const state = await tx.stored(this.mailbox);
      return state === undefined ? absent : read(tx, state);
    });
    this.reads.add(reading);
    const done = () => this.reads.delete(reading);
    reading.then(done, done);
    return reading;
  }

  /** Tries again what could not be read, if it is time to. */
  async retryUnavailableIfDue() {
    const { groupCommit } = this.engine;
    if (groupCommit.isRetryDue) await groupCommit.retryUnavailable();
  }

  /**
   * Reads what may turn out to be unreadable: that becomes a dead letter, and it is read again.
   * @template T @param {T} absent @param {(tx: ReadTransaction, state: MailboxState) => Promise<T>} read @returns {Promise<T>}
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

  // -- the database itself ----------------------------------------------------------------------------------------------

  /** To be called once the handle is open: clearing the data before that does not concern its calls. */
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

  /** Raised once: the messages are gone, and what comes next is a new mailbox. */
  #checkNotWiped() {
    const { connection } = this.engine;
    if (this.#wipes === connection.wipes) return;
    this.#wipes = connection.wipes;
    connection.seen.note(this.mailbox, connection.birth);
    throw unavailable("This site's data was cleared, and all messages with it. The mailbox goes on empty.");
  }
}
