/**
 * Group commit: operations that arrive while a transaction is under way are collected and share the next one.
 *
 * Obligations:
 * - An operation's promise resolves after its transaction is complete, never before, and rejects if it is not.
 * - Operations run in the order in which they were submitted, over all mailboxes of the connection.
 * - A single caller waits for nobody: if everything is at hand, its transaction begins, is filled and ends in the turn
 *   of the call, with whatever else is called in that turn. (Beginning it inside the call would be no quicker, and
 *   calls made together would need two transactions.) If something has to be read, operations that arrive meanwhile
 *   still join it.
 * - An operation that needs only the state never makes another context wait for this one, which may compute for a long
 *   time: the state is read in a transaction that ends by itself, and written in one that waits for nothing. Operations
 *   that read more do keep their transaction open while this context computes.
 * - Parked calls claim in the transaction that leaves something for them, after all its operations. They add no request
 *   that it would have to wait for, and never make another call fail.
 * - A transaction is strict if one of its operations is; a strict operation never joins a relaxed transaction. It
 *   covers the unload notes if one of its operations needs them, and only then.
 * - A transaction with a failed request has failed, even if the browser says that it completed: what it did is then
 *   undone as far as possible, and it is not tried again.
 * - If a shared transaction fails, each of its operations is tried alone, so that none fails because of another.
 * - Only a transaction that tries, and so fails, shows that a value cannot be read at present: it is tried again
 *   without that value, see `unavailable-values.js`.
 * - A transaction that a dialog of the page interrupts is aborted, and tried again after it: Firefox would commit what
 *   is in it by then, see `interruptions.js`.
 * - A transaction that fails with its connection is tried again on a new one, a bounded number of times, but only if
 *   the database shows that it was not committed.
 * - On a full disk an operation that stores nothing is tried again with the reserve given up, then after making the
 *   browser tidy up, and at last without moving any message to the dead letters, which takes room. An operation that
 *   stores messages puts the reserve back in the same transaction if it is known to be gone, so as not to use up its
 *   space; it also checks now and then, since other contexts give the reserve up too.
 */

import { MailboxError, attempt, translate } from "../model/errors.js";
import { SegmentCache } from "../model/segments.js";
import { RECONNECTIONS, STORES, abort } from "../storage/database.js";
import {
  INTERRUPTIONS,
  beginFilling,
  endFilling,
  interruptedAlways,
  isTooLate,
  wasInterrupted,
} from "../storage/interruptions.js";
import { commitEarly, isFree, nextFree } from "../storage/one-at-a-time.js";
import { isLastVersion, isNumberKnown, readState } from "../storage/stored-state.js";
import { CommitQueue, LARGEST_GROUP, Submitted } from "./commit-queue.js";
import { Headroom } from "./headroom.js";
import { ReadTransaction, Unreadable } from "./read-transaction.js";
import { PartialCommitError, TransactionOutcome, isFenced } from "./transaction-outcome.js";
import { ReadAgain, UnavailableValues } from "./unavailable-values.js";
import { deleteFencedHead, undo, wasCommitted } from "./undo.js";
import { FencedError, WriteLeases, isTrusted, moment } from "./write-lease.js";
import { NotHeadOnly, WriteTransaction } from "./write-transaction.js";

/**
 * After this many transactions in a row that found another writer's version in their place, one both reads and writes.
 */
const CONFLICTS = 3;

const END_OF_TURN = Promise.resolve();

/** How often space is made for an operation that stores nothing. */
const TIDYINGS = 6;

/**
 * Why a transaction failed, whether certainly nothing of it was committed, and whether it served parked calls.
 * @typedef {{error: Error, undone: boolean, served?: boolean}} Failure
 */

export class GroupCommit {
  #queue = new CommitQueue();
  #running = false;
  /** Whether a transaction is being filled by operations that wait for reads. */
  #filling = false;
  /** How many transactions in a row were interrupted. */
  #interruptions = 0;
  #headroom = new Headroom();
  /**
   * The last transaction whose version was not the last one, and so means nothing.
   * @type {WriteTransaction | undefined}
   */
  #fenced;
  #cache;
  #writeLeases;
  /** The opening of the database that the cache and the write leases belong to. */
  #opening = 0;
  #unavailable;
  /** @type {Promise<void> | undefined} */
  #retrying;
  /** Whether a partly failed transaction is being undone. */
  #undoing = false;
  /** How often the site's data had been cleared when these values were found. */
  #wipes = 0;
  #engine;
  #connection;
  #announce;
  #serve;

  /**
   * @param {import("./engine.js").Engine} engine
   * @param {(tx: WriteTransaction) => void} announce called after each commit
   * @param {(tx: WriteTransaction) => void} serve lets parked calls claim what a transaction leaves
   */
  constructor(engine, announce, serve) {
    this.#engine = engine;
    this.#connection = engine.connection;
    this.#cache = new SegmentCache(engine.settings.cacheBytes);
    this.#unavailable = new UnavailableValues(engine.settings);
    this.#writeLeases = new WriteLeases(engine.locks);
    this.#announce = announce;
    this.#serve = serve;
  }

  /**
   * Runs an operation in a readwrite transaction.
   * @template T @param {import("./types.js").Operation<T>} operation @returns {Promise<T>} its result, once committed
   */
  submit(operation) {
    return new Promise((resolve, reject) => {
      this.#queue.add(new Submitted(operation, resolve, reject));
      if (!this.#running) this.#run();
    });
  }

  /**
   * Reads in a transaction of its own, so at one moment.
   * @template T @param {(tx: ReadTransaction) => Promise<T>} read @param {string[]} [stores] @returns {Promise<T>}
   */
  async read(read, stores) {
    for (let attempt = 1; ; attempt++) {
      const { transaction, opening } = await this.#connection.begin("readonly", "default", stores);
      try {
        // numbers start again in a cleared database: what is remembered of the old one would mean other messages
        const cache = opening === this.#opening ? this.#cache : new SegmentCache(this.#engine.settings.cacheBytes);
        return await read(new ReadTransaction(() => transaction, cache, this.#unavailableNow()));
      } catch (error) {
        if (error instanceof Unreadable) throw error;
        const failure = translate(error);
        if (failure.name !== "ConnectionLostError" || attempt > RECONNECTIONS) throw failure;
        this.#connection.drop(transaction.db);
      }
    }
  }

  /**
   * As `read`, if everything needed can be requested at once: the transaction then ends without this context, which may
   * compute for a long time. If that was not enough, `read` does it.
   * @template T @param {(tx: ReadTransaction) => Promise<T>} read @param {string[]} [stores] @returns {Promise<T>}
   */
  async readAtOnce(read, stores) {
    const transaction =
      this.#connection.openings === this.#opening
        ? this.#connection.beginNow("readonly", "default", stores)
        : undefined;
    if (transaction !== undefined) {
      try {
        const reading = read(new ReadTransaction(() => transaction, this.#cache, this.#unavailableNow()));
        commitEarly(transaction);
        return await reading;
      } catch (error) {
        if (error instanceof MailboxError) throw error;
        // if it is an error, the next read meets it
      }
    }
    return this.read(read, stores);
  }

  /** Whether it is time to try again what could not be read. */
  get isRetryDue() {
    return this.#retrying !== undefined || this.#unavailableNow().isRetryDue;
  }

  /** Tries again what could not be read. */
  async retryUnavailable() {
    const retry = async () => {
      try {
        const { transaction } = await this.#connection.begin("readonly", "default");
        await this.#unavailable.retry((name) => transaction.objectStore(name));
      } catch {
        // it is the connection; whoever needs it meets the error
      }
      this.#retrying = undefined;
    };
    await (this.#retrying ??= retry());
  }

  /**
   * The state of a mailbox that this context may write without reading it, as if what is under way were committed.
   * @param {string} mailbox
   */
  stateInMemory(mailbox) {
    return this.#filling || this.#connection.openings !== this.#opening ? undefined : this.#writeLeases.get(mailbox);
  }

  /** Whether that is the latest state; this is looked up beside other work. @param {string} mailbox */
  async isLatest(mailbox) {
    const state = this.stateInMemory(mailbox);
    if (state === undefined) return false;
    try {
      const transaction = this.#connection.beginNow("readonly", "default", ["journal"]);
      if (transaction === undefined) return false;
      const isLast = isLastVersion(transaction.objectStore("journal"), state);
      commitEarly(transaction);
      // a write that failed meanwhile has been forgotten: another writer has its version
      return (await isLast) && this.#writeLeases.get(mailbox) === state;
    } catch {
      return false; // whoever looks again meets the error
    }
  }

  /** Makes every write read first: this context may be away for a long time, and lose the basis of its write leases. */
  suspendWriteLeases() {
    this.#writeLeases.suspend();
  }

  /** Lets this context have write leases again. */
  renewWriteLeases() {
    this.#writeLeases.renew();
  }

  #run() {
    this.#running = true;
    // calls that are made together share a transaction
    END_OF_TURN.then(this.#commitWaiting);
  }

  /** Commits what waits; the plain case is all here. */
  #commitWaiting = () => {
    const group = this.#queue.nextGroup();
    const ended = (/** @type {Failure | undefined} */ failure) =>
      failure === undefined ? this.#runNext() : this.#runOn(group, { failure });
    if (!this.#commitNow(group, ended)) this.#runOn(group);
  };

  #runNext() {
    if (this.#queue.isEmpty) this.#running = false;
    else this.#run();
  }

  /**
   * Continues with operations whose commit from memory failed or was not possible.
   * @param {import("./commit-queue.js").Group} group
   * @param {{failure: Failure | undefined}} [ended] how that commit ended
   */
  async #runOn(group, ended) {
    for (let conflicts = 0; ended?.failure?.error instanceof FencedError || ended === undefined; ) {
      if (ended !== undefined) {
        conflicts += 1;
        this.#queue.putBack(group.joined);
        ended = undefined;
      }
      const states = conflicts < CONFLICTS ? await this.#readState() : undefined;
      group = this.#queue.nextGroup();
      if (states === undefined) break;
      const read = group;
      ended = await new Promise((resolve) => {
        if (!this.#commitNow(read, (failure) => resolve({ failure }), states)) resolve(undefined);
      });
      if (ended === undefined) {
        group = this.#queue.nextGroup();
        break;
      }
    }
    const { durability, notes, joined, join } = group;
    let failure = ended === undefined ? await this.#commit(durability, notes, join) : ended.failure;
    if (failure?.error instanceof FencedError || failure?.error instanceof ReadAgain) {
      const again = joined.filter(({ refused }) => !refused);
      failure = await this.#commit(durability, notes, () => again.shift() ?? join(), true);
    }
    if (failure !== undefined) {
      // unless it was only the last user's end, and the next one is here
      const isOver = failure.error.name !== "MailboxClosedError" || !this.#connection.isInUse;
      if (joined.length === 0 && isOver) for (const one of this.#queue.takeAll()) one.reject(failure.error);
      for (const submitted of joined) {
        const wasAlone = joined.length === 1 && !failure.served;
        if (!submitted.refused) await this.#retryAlone(submitted, durability, failure, wasAlone);
      }
    }
    this.#runNext();
  }

  /**
   * Reads the one state that all waiting operations need, in a transaction that ends without this context.
   * @returns {Promise<ReadonlyMap<string, import("../model/state.js").MailboxState> | undefined>} by mailbox; undefined
   * if that is not enough
   */
  async #readState() {
    const mailbox = this.#queue.soleMailbox;
    if (mailbox === undefined || !this.#mayBeAtHand() || !isNumberKnown(mailbox) || this.#writeLeases.get(mailbox))
      return undefined;
    const transaction = this.#connection.beginNow("readonly", "default");
    if (transaction === undefined) return undefined;
    const began = moment();
    try {
      const reading = readState(mailbox, (name) => transaction.objectStore(name));
      commitEarly(transaction);
      const state = await reading;
      while (!isFree()) await nextFree();
      // the trace of a deleted mailbox stays for a long time, but not for ever
      if (!isTrusted(began)) return undefined;
      // ending another's lease needs more writes
      if (state === undefined || state === "unreadable" || this.#writeLeases.isLeasedToAnother(state)) return undefined;
      return new Map([[mailbox, state]]);
    } catch {
      return undefined; // more has to be read; whoever does meets the error itself, if it is one
    }
  }

  /** Whether everything that the waiting operations need may be at hand. */
  #mayBeAtHand() {
    return this.#connection.openings === this.#opening && isFree() && this.#queue.mayBeAtHand(this.#headroom);
  }

  /**
   * Tries an operation alone after the transaction that it was in failed.
   * @param {Submitted} submitted @param {IDBTransactionDurability} durability @param {Failure} first why
   * @param {boolean} wasAlone whether it was the only one in it
   */
  async #retryAlone(submitted, durability, first, wasAlone) {
    const { operation } = submitted;
    const { tidyings = TIDYINGS } = operation;
    const mayPass = (/** @type {Error} */ error) =>
      error instanceof FencedError ||
      error instanceof ReadAgain ||
      error.name === "ConnectionLostError" ||
      (error.name === "StorageFullError" && !operation.stores);
    /** @type {Failure | undefined} */
    let failure = first;
    for (let attempt = 0; failure?.undone; attempt++) {
      const isFull = failure.error.name === "StorageFullError" && !operation.stores;
      if (attempt >= (isFull ? tidyings : RECONNECTIONS)) break;
      if (!mayPass(failure.error) && (wasAlone || attempt > 0)) break;
      if (isFull) await this.#headroom.makeRoom(this.#connection, attempt);
      const only = [submitted];
      const isLast = isFull && attempt === tidyings - 1;
      failure = await this.#commit(durability, operation.needsNotes(), () => only.pop(), true, isLast);
    }
    if (failure !== undefined) submitted.reject(failure.error);
  }

  /** Called when what is in memory may never have been committed, or may belong to a database that is gone. */
  #forget() {
    this.#cache.clear();
    this.#writeLeases.forget();
  }

  /** The unavailable values of the database that is open: in another one the same keys are other records. */
  #unavailableNow() {
    if (this.#wipes !== this.#connection.wipes) this.#unavailable = new UnavailableValues(this.#engine.settings);
    this.#wipes = this.#connection.wipes;
    return this.#unavailable;
  }

  /**
   * One transaction.
   * @param {IDBTransactionDurability} durability @param {boolean} notes whether the unload notes are part of it
   * @param {() => Submitted | undefined} join gives the next operation that shares it
   * @param {boolean} [readFirst] whether every state must be read, not taken from memory
   * @param {boolean} [lacksRoom] whether it must do without room for messages
   * @returns {Promise<Failure | undefined>} why it failed, in which case no promise has been resolved
   */
  async #commit(durability, notes, join, readFirst = false, lacksRoom = false) {
    /** @type {WriteTransaction | undefined} */
    let tx;
    let finished = false;
    let isTooLateToFill = false;
    /** @type {WriteTransaction | undefined} */
    let fenced;
    /** @type {Submitted[]} */
    const taken = [];
    /** @type {[Submitted, unknown][]} */
    const results = [];
    try {
      const begun = await this.#connection.begin("readwrite", durability, notes ? STORES : undefined);
      const { transaction, opening } = begun;
      const outcome = new TransactionOutcome(transaction);
      beginFilling(transaction);
      if (opening !== this.#opening) this.#forget();
      this.#opening = opening;
      tx = new WriteTransaction(
        this.#engine,
        () => transaction,
        this.#cache,
        this.#unavailableNow(),
        this.#writeLeases,
        readFirst,
      );
      tx.lacksRoom = lacksRoom;
      this.#filling = true;
      try {
        for (let next = join(); next !== undefined; next = join()) {
          taken.push(next);
          if (next.operation.stores) tx.willStore(this.#headroom.isToBeChecked);
          results.push([next, await next.run(tx)]);
        }
        if (tx.failedToRead !== undefined) throw new ReadAgain(tx.failedToRead);
        [fenced, this.#fenced] = [this.#fenced, undefined];
        if (fenced !== undefined) await deleteFencedHead(tx, fenced);
        // a second attempt must not fail because of others
        if (!readFirst) this.#serveIn(tx);
        await tx.finish();
        endFilling(transaction);
        finished = true;
      } catch (error) {
        if (abort(transaction)) isTooLateToFill = isTooLate(error);
        else await outcome.failed(new PartialCommitError(error));
        throw error instanceof DOMException ? (outcome.reason ?? error) : error;
      } finally {
        this.#filling = false;
      }
      await outcome.completed();
      this.#interruptions = 0;
    } catch (cause) {
      const isInterrupted = tx !== undefined && (isTooLateToFill || wasInterrupted(tx.transaction));
      // then nothing of it was committed, and whatever failed afterwards failed because of that
      const failure = await this.#failureOf(isInterrupted ? new FencedError() : cause, tx, finished, results);
      if (isInterrupted) {
        if (++this.#interruptions > INTERRUPTIONS) {
          this.#interruptions = 0;
          return { error: interruptedAlways(), undone: true };
        }
        this.#fenced ??= fenced;
        const again = taken.filter(({ refused }) => !refused);
        return this.#commit(durability, notes, () => again.shift() ?? join(), true, lacksRoom);
      }
      if (failure !== undefined || tx === undefined) return failure;
    }
    this.#conclude(tx, results);
    return undefined;
  }

  /**
   * As `#commit`, if everything is at hand: the transaction begins, is filled and ends before this returns.
   * @param {import("./commit-queue.js").Group} group
   * @param {(failure: Failure | undefined) => void} ended called when it is over; if it failed, with the reason, and no
   * promise has been resolved
   * @param {ReadonlyMap<string, import("../model/state.js").MailboxState>} [states] read for it
   * @returns {boolean} false if that is impossible; then nothing has joined
   */
  #commitNow({ durability, join }, ended, states) {
    if (!this.#mayBeAtHand()) return false;
    /** @type {TransactionOutcome | undefined} */
    let outcome;
    const begin = () => {
      const transaction = this.#connection.beginNow("readwrite", durability);
      if (transaction === undefined) throw new Error("the connection is closing");
      outcome = new TransactionOutcome(transaction);
      return transaction;
    };
    const tx = new WriteTransaction(this.#engine, begin, this.#cache, this.#unavailableNow(), this.#writeLeases, false);
    if (states !== undefined) tx.startFrom(states);
    /** @type {[Submitted, unknown][]} */
    const results = [];
    try {
      for (
        let next = this.#queue.first;
        next !== undefined && results.length < LARGEST_GROUP;
        next = this.#queue.first
      ) {
        if (states?.has(next.operation.mailbox ?? "") === false) break;
        const value = next.operation.atHand?.(tx);
        if (value === undefined) break;
        join();
        results.push([next, value]);
      }
      if (results.length === 0) return false;
      this.#serveIn(tx);
      // here, where the stack is shallow: Firefox may save the stack with each listener
      if (states === undefined) tx.begin();
      tx.finishAtHand();
      /** @type {TransactionOutcome} */ (/** @type {unknown} */ (outcome)).whenOver((cause) =>
        this.#end(cause, tx, results, ended),
      );
    } catch (error) {
      // they are done the other way, after reading again, and meet the error there if there still is one
      if (error instanceof NotHeadOnly && outcome === undefined) {
        this.#queue.putBack(results.map(([submitted]) => submitted));
        for (const { forgotten } of tx.served) forgotten();
        return false;
      }
      for (const { failed } of tx.served) failed(true);
      this.#forget();
      if (!(error instanceof DOMException)) console.error(error);
      if (outcome !== undefined) abort(tx.transaction);
      // in a turn of its own, as if the transaction had ended
      END_OF_TURN.then(() => ended({ error: new FencedError(), undone: true }));
    }
    return true;
  }

  /**
   * Lets parked calls claim what a transaction leaves, if nothing has to be read for that.
   * @param {WriteTransaction} tx
   */
  #serveIn(tx) {
    try {
      this.#serve(tx);
    } catch (error) {
      // a record that cannot be read: whoever looks for it deals with that
      if (!(error instanceof Unreadable)) throw error;
    }
  }

  /**
   * Ends a transaction that was asked to commit.
   * @param {Error | undefined} cause why it seems to have failed @param {WriteTransaction} tx
   * @param {[Submitted, unknown][]} results
   * @param {(failure: Failure | undefined) => void} ended
   */
  #end(cause, tx, results, ended) {
    const conclude = (/** @type {Failure | undefined} */ failure) => {
      if (failure === undefined) this.#conclude(tx, results);
      ended(failure);
    };
    if (cause === undefined && tx.isLast) return conclude(undefined);
    if (cause === undefined) this.#fenced = tx;
    this.#failureOf(cause ?? new FencedError(), tx, true, results).then(conclude);
  }

  /**
   * Why a transaction failed; undefined if it did not fail after all.
   * @param {unknown} cause @param {WriteTransaction | undefined} tx
   * @param {boolean} finished whether it was asked to commit
   * @param {[Submitted, unknown][]} results @returns {Promise<Failure | undefined>}
   */
  async #failureOf(cause, tx, finished, results) {
    const failure = await this.#examine(cause, tx, finished);
    if (failure === undefined || tx === undefined) return failure;
    if (!failure.undone) for (const [{ operation }, value] of results) operation.onDoubt?.(value);
    for (const { failed } of tx.served) failed(failure.undone);
    return { ...failure, served: tx.served.length > 0 };
  }

  /**
   * @param {unknown} cause @param {WriteTransaction | undefined} tx @param {boolean} finished
   * @returns {Promise<Failure | undefined>}
   */
  async #examine(cause, tx, finished) {
    this.#forget();
    if (cause instanceof PartialCommitError && tx !== undefined) {
      if (tx.failedWhole)
        return { error: isFenced(cause.reason) ? new FencedError() : translate(cause.reason), undone: true };
      await this.#undo(tx);
      return { error: translate(cause.reason), undone: false };
    }
    if (isFenced(cause)) return { error: new FencedError(), undone: true };
    const error = translate(cause);
    if (tx === undefined || error.name !== "ConnectionLostError") return { error, undone: true };
    this.#connection.drop(tx.transaction.db);
    const committed = finished ? await this.#wasCommitted(tx) : false;
    return committed === true ? undefined : { error, undone: committed === false };
  }

  /**
   * Delivers the results of a complete transaction.
   * @param {WriteTransaction} tx @param {[Submitted, unknown][]} results
   */
  #conclude(tx, results) {
    // an error of a listener changes nothing: what was committed stays committed, and the next calls go on
    attempt(() => tx.completed());
    if (tx.keptReserve) this.#headroom.noteKept();
    for (const [submitted, value] of results) {
      attempt(() => submitted.operation.onCommit?.(value));
      submitted.resolve(value);
    }
    for (const { committed } of tx.served) attempt(committed);
    attempt(() => this.#announce(tx));
  }

  /** Undoes a transaction that completed although one of its requests failed. @param {WriteTransaction} broken */
  async #undo(broken) {
    if (this.#undoing) return;
    this.#undoing = true;
    /** @type {import("./types.js").Operation<void>} */
    const operation = { durability: "strict", stores: false, needsNotes: () => false, run: (tx) => undo(tx, broken) };
    const only = [
      new Submitted(
        operation,
        () => {},
        () => {},
      ),
    ];
    // if that fails too, what is incomplete becomes a dead letter when it is read
    await this.#commit("strict", false, () => only.pop(), true);
    this.#undoing = false;
  }

  /**
   * Whether a transaction that was lost with its connection was committed; undefined if that cannot be told.
   * @param {WriteTransaction} done
   */
  async #wasCommitted(done) {
    try {
      return await this.read((tx) => wasCommitted(tx, done));
    } catch {
      return undefined;
    }
  }
}
