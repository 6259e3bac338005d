/**
 * Group commit: while one transaction is under way, operations that come in are collected, and share the next one.
 *
 * Obligations:
 * - An operation's promise resolves after its transaction is complete, never before, and rejects if it is not.
 * - Operations run in the order in which they were submitted, over all mailboxes of the connection.
 * - A single caller waits for nobody: if everything is at hand, its transaction is begun, filled and ended in the turn
 *   of the call, with whatever else is called in that turn. (To begin it inside the call would be no quicker, and calls
 *   made together would need two transactions.) If something has to be read, operations that come meanwhile still join
 *   it.
 * - An operation that needs only the state makes no other context wait for this one, which may compute for long: the
 *   state is read in a transaction that ends by itself, and another that waits for nothing then writes. Operations that
 *   read more do keep their transaction open while this context computes.
 * - Calls that wait, and have looked, claim in the transaction that leaves something for them, after all its
 *   operations. They add no request that it would wait for, and are never the reason why another call fails.
 * - A transaction is strict if one of its operations is; a strict operation never joins a relaxed transaction. It
 *   covers the unload notes if one of its operations needs them, and only then.
 * - A transaction with a failed request has failed, even if the browser says that it is complete: what it did is then
 *   undone as far as possible, and it is not tried again.
 * - If a shared transaction fails, each of its operations is tried alone, so that only those fail that would fail
 *   alone.
 * - That a value cannot be read at present is known only once a transaction has tried, and so has failed: it is tried
 *   again without that value, see `unavailable-values.js`.
 * - A transaction that fails with its connection is tried again on a new one, a bounded number of times, but only where
 *   the database shows that it was not committed.
 * - On a full storage an operation that stores nothing is tried again with the reserve given up, and then after the
 *   browser was made to tidy up. An operation that stores messages puts the reserve back in the same transaction if it
 *   is known to be gone, so as not to use up its room; now and then it checks, since other contexts give the reserve up
 *   too.
 */

import { MailboxError, attempt, translate } from "../model/errors.js";
import { SegmentCache } from "../model/segments.js";
import { RECONNECTIONS, STORES, abort } from "../storage/database.js";
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
 * After so many transactions in a row that found another writer's version in their place, one both reads and writes.
 */
const CONFLICTS = 3;

const END_OF_TURN = Promise.resolve();

/** How often room is made for an operation that stores nothing. */
const TIDYINGS = 6;

/**
 * Why a transaction failed, whether it is sure that nothing of it was committed, and whether calls that wait were
 * served in it.
 * @typedef {{error: Error, undone: boolean, served?: boolean}} Failure
 */

export class GroupCommit {
  #queue = new CommitQueue();
  #running = false;
  /** Whether a transaction is being filled by operations that wait for what they read. */
  #filling = false;
  #headroom = new Headroom();
  /**
   * The last transaction that wrote a version which is not the last and means nothing.
   * @type {WriteTransaction | undefined}
   */
  #fenced;
  #cache;
  #writeLeases;
  /** The opening of the database that the cache and the write leases are of. */
  #opening = 0;
  #unavailable;
  /** @type {Promise<void> | undefined} */
  #retrying;
  /** Whether a transaction that failed in part is being undone. */
  #undoing = false;
  /** How often the site's data had been cleared when these were found. */
  #wipes = 0;
  #engine;
  #connection;
  #announce;
  #serve;

  /**
   * @param {import("./engine.js").Engine} engine
   * @param {(tx: WriteTransaction) => void} announce called after each commit
   * @param {(tx: WriteTransaction) => void} serve has calls that wait claim in a transaction what it leaves
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
   * Reads in a transaction of its own, at one moment.
   * @template T @param {(tx: ReadTransaction) => Promise<T>} read @param {string[]} [stores] @returns {Promise<T>}
   */
  async read(read, stores) {
    for (let attempt = 1; ; attempt++) {
      const { transaction, opening } = await this.#connection.begin("readonly", "default", stores);
      try {
        // numbers begin again in a database that was cleared: what is kept of the old one would mean other messages
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
   * As `read`, where all that is needed can be asked for at once: the transaction then ends without this context, which
   * may compute for long. Where that was not enough, it is read again, the other way.
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
        transaction.commit();
        return await reading;
      } catch (error) {
        if (error instanceof MailboxError) throw error;
        // the next read meets the error itself, if it is one
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
        // it is the connection, and who needs it meets the error itself
      }
      this.#retrying = undefined;
    };
    await (this.#retrying ??= retry());
  }

  /**
   * The state of a mailbox that this context may write without reading it, as it will be when what is under way is
   * committed.
   * @param {string} mailbox
   */
  stateInMemory(mailbox) {
    return this.#filling || this.#connection.openings !== this.#opening ? undefined : this.#writeLeases.get(mailbox);
  }

  /** Whether that is the latest state; this is looked up beside the ongoing work. @param {string} mailbox */
  async isLatest(mailbox) {
    const state = this.stateInMemory(mailbox);
    if (state === undefined) return false;
    try {
      const transaction = this.#connection.beginNow("readonly", "default", ["journal"]);
      if (transaction === undefined) return false;
      const isLast = isLastVersion(transaction.objectStore("journal"), state);
      transaction.commit();
      // a write that has failed meanwhile has been forgotten: its version is another's
      return (await isLast) && this.#writeLeases.get(mailbox) === state;
    } catch {
      return false; // whoever looks again meets the error itself
    }
  }

  /**
   * Has every mailbox read before it is written: this context may be away for long, and lose what its write leases rest
   * on.
   */
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

  /** Commits what waits: of the plain case all is here. */
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
   * Goes on with operations of which a commit with what was at hand has failed, or was not possible.
   * @param {import("./commit-queue.js").Group} group
   * @param {{failure: Failure | undefined}} [ended] what that commit came to
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
      const again = [...joined];
      failure = await this.#commit(durability, notes, () => again.shift() ?? join(), true);
    }
    if (failure !== undefined) {
      if (joined.length === 0) for (const submitted of this.#queue.takeAll()) submitted.reject(failure.error);
      for (const submitted of joined) {
        const wasAlone = joined.length === 1 && !failure.served;
        if (!submitted.refused) await this.#retryAlone(submitted, durability, failure, wasAlone);
      }
    }
    this.#runNext();
  }

  /**
   * Reads the state that the waiting operations need, all the same one, in a transaction that ends without this
   * context.
   * @returns {Promise<ReadonlyMap<string, import("../model/state.js").MailboxState> | undefined>} by mailbox; undefined
   * where that is not enough
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
      transaction.commit();
      const state = await reading;
      // what tells of a deleted mailbox stays long, but not for ever
      if (!isTrusted(began)) return undefined;
      // where another's lease ends there is more to write
      if (state === undefined || state === "unreadable" || this.#writeLeases.isLeasedToAnother(state)) return undefined;
      return new Map([[mailbox, state]]);
    } catch {
      return undefined; // more has to be read; whoever does meets the error itself, if it is one
    }
  }

  /** Whether all that the waiting operations need may be at hand. */
  #mayBeAtHand() {
    return this.#connection.openings === this.#opening && this.#queue.mayBeAtHand(this.#headroom);
  }

  /**
   * Tries an operation alone after a transaction that it was in has failed.
   * @param {Submitted} submitted @param {IDBTransactionDurability} durability @param {Failure} first why
   * @param {boolean} wasAlone whether it was the only one in it
   */
  async #retryAlone(submitted, durability, first, wasAlone) {
    const { operation } = submitted;
    const mayPass = (/** @type {Error} */ error) =>
      error instanceof FencedError ||
      error instanceof ReadAgain ||
      error.name === "ConnectionLostError" ||
      (error.name === "StorageFullError" && !operation.stores);
    /** @type {Failure | undefined} */
    let failure = first;
    for (let attempt = 0; failure?.undone; attempt++) {
      const isFull = failure.error.name === "StorageFullError" && !operation.stores;
      if (attempt >= (isFull ? TIDYINGS : RECONNECTIONS)) break;
      if (!mayPass(failure.error) && (wasAlone || attempt > 0)) break;
      if (isFull) await this.#headroom.makeRoom(this.#connection, attempt);
      const only = [submitted];
      failure = await this.#commit(durability, operation.needsNotes(), () => only.pop(), true);
    }
    if (failure !== undefined) submitted.reject(failure.error);
  }

  /** Called when what is in memory may never have been committed, or may belong to a database that is gone. */
  #forget() {
    this.#cache.clear();
    this.#writeLeases.forget();
  }

  /** What cannot be read of the database that is open: in another one the same keys are other records. */
  #unavailableNow() {
    if (this.#wipes !== this.#connection.wipes) this.#unavailable = new UnavailableValues(this.#engine.settings);
    this.#wipes = this.#connection.wipes;
    return this.#unavailable;
  }

  /**
   * One transaction.
   * @param {IDBTransactionDurability} durability @param {boolean} notes whether the unload notes are part of it
   * @param {() => Submitted | undefined} join gives the next operation that shares it
   * @param {boolean} [readFirst] whether no state may come from memory
   * @returns {Promise<Failure | undefined>} why it failed; then no promise has been resolved
   */
  async #commit(durability, notes, join, readFirst = false) {
    /** @type {WriteTransaction | undefined} */
    let tx;
    let finished = false;
    /** @type {[Submitted, unknown][]} */
    const results = [];
    try {
      const begun = await this.#connection.begin("readwrite", durability, notes ? STORES : undefined);
      const { transaction, opening } = begun;
      const outcome = new TransactionOutcome(transaction);
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
      this.#filling = true;
      try {
        for (let next = join(); next !== undefined; next = join()) {
          if (next.operation.stores) tx.willStore(this.#headroom.isToBeChecked);
          results.push([next, await next.run(tx)]);
        }
        if (tx.failedToRead !== undefined) throw new ReadAgain(tx.failedToRead);
        const fenced = this.#fenced;
        this.#fenced = undefined;
        if (fenced !== undefined) await deleteFencedHead(tx, fenced);
        // what is tried again is not to fail once more because of others
        if (!readFirst) this.#serveIn(tx);
        await tx.finish();
        finished = true;
      } catch (error) {
        abort(transaction);
        throw error instanceof DOMException ? (outcome.reason ?? error) : error;
      } finally {
        this.#filling = false;
      }
      await outcome.completed();
    } catch (cause) {
      const failure = await this.#failureOf(cause, tx, finished, results);
      if (failure !== undefined || tx === undefined) return failure;
    }
    this.#conclude(tx, results);
    return undefined;
  }

  /**
   * As `#commit`, for operations all of which are at hand: the transaction is begun, filled and ended before this
   * returns.
   * @param {import("./commit-queue.js").Group} group
   * @param {(failure: Failure | undefined) => void} ended called when it is over: with why it failed; then no promise
   * has been resolved
   * @param {ReadonlyMap<string, import("../model/state.js").MailboxState>} [states] that were read for it
   * @returns {boolean} false if it cannot be done so; then nothing has joined
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
      // by now, where the stack is shallow: Firefox may save it with each listener
      if (states === undefined) tx.begin();
      tx.finishAtHand();
      /** @type {TransactionOutcome} */ (/** @type {unknown} */ (outcome)).whenOver((cause) =>
        this.#end(cause, tx, results, ended),
      );
    } catch (error) {
      // they are done the other way, on what is read anew, and meet the error there if it is still one
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
   * Has calls that wait claim what a transaction leaves, where nothing has to be read for that.
   * @param {WriteTransaction} tx
   */
  #serveIn(tx) {
    try {
      this.#serve(tx);
    } catch (error) {
      // a record that cannot be read: whoever looks for it sees to that
      if (!(error instanceof Unreadable)) throw error;
    }
  }

  /**
   * The end of a transaction that was asked to commit.
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
   * Why a transaction failed; undefined if it has not, after all.
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
   * Tells what a transaction came to that is complete.
   * @param {WriteTransaction} tx @param {[Submitted, unknown][]} results
   */
  #conclude(tx, results) {
    // what a listener throws is its own affair: what was committed stays so, and the next calls come
    attempt(() => tx.completed());
    if (tx.keptReserve) this.#headroom.noteKept();
    for (const [submitted, value] of results) {
      attempt(() => submitted.operation.onCommit?.(value));
      submitted.resolve(value);
    }
    for (const { committed } of tx.served) attempt(committed);
    attempt(() => this.#announce(tx));
  }

  /** Undoes a transaction that is complete although one of its requests failed. @param {WriteTransaction} broken */
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
    // if that fails too, what is not whole becomes a dead letter when it is read
    await this.#commit("strict", false, () => only.pop(), true);
    this.#undoing = false;
  }

  /**
   * Whether a transaction whose connection was lost with it was committed; undefined if nothing tells.
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
