/**
 * Shared commits: while one transaction is on its way, what comes in is collected, and goes together into the next.
 *
 * Obligations:
 * - An operation's promise resolves after its transaction is complete, never before, and rejects if it is not.
 * - Operations run in the order in which they were submitted, over all mailboxes of the connection.
 * - A caller alone waits for nobody: where all is at hand, its transaction is begun, filled and ended in the turn of the call,
 *   with what else is called in it. (Begun inside the call it is no quicker by itself, and calls made together need two
 *   transactions.) Where something has to be read, one that comes meanwhile still joins it.
 * - An operation that needs the state only keeps nobody waiting for this context, which may compute for long: the state is read in
 *   a transaction that ends by itself, and one that waits for nothing then writes. What reads more does wait for this context.
 * - Calls that wait, and have looked, claim in the transaction that leaves something for them, after all its operations. They
 *   add no request to it that it would wait for, and are never the reason why another call fails.
 * - A transaction is strict if one of its operations is; a strict one never joins a relaxed transaction. It is over the
 *   notes of departure too if one of its operations needs them, and only then.
 * - A transaction one of whose requests failed has failed, even if the browser says that it is complete: what it did is undone
 *   then, as far as can be, and it is not tried again.
 * - If a shared transaction fails, each of its operations is tried apart, so that one that fails fails alone.
 * - What cannot be read at present is known once a transaction has tried, which then has failed: it is tried again, now
 *   without that, see `unavailable-values.js`.
 * - A transaction that fails with its connection is tried again on a new one, a bounded number of times, but only where
 *   the database shows that it was not committed.
 * - On a full storage an operation that stores nothing is tried again with the reserve given up, and then after the browser
 *   was made to tidy up. What stores messages puts the reserve back in the same transaction, so as not to take its room, where
 *   it is known to be gone; now and then it looks, since other contexts give it up too.
 */

import { WriteTransaction, NotHeadOnly } from "./write-transaction.js";
import { RECONNECTIONS, STORES, tidyUp } from "../storage/database.js";
import { MailboxError, translate } from "../model/errors.js";
import { ReadTransaction, Unreadable } from "./read-transaction.js";
import { SegmentCache } from "../model/segments.js";
import { isLastVersion, isNumberKnown, readState } from "../storage/stored-state.js";
import { FencedError, WriteLeases, isTrusted, moment } from "./write-lease.js";
import { ReadAgain, UnavailableValues } from "./unavailable-values.js";

/** Operations in one transaction at most, so that no caller waits without end for others that keep coming. */
const SHARERS = 1000;

/** Transactions in a row that found another writer's version where they were to write, after which one reads and writes. */
const CONFLICTS = 3;

/** Milliseconds after which it is looked again whether the reserve is there. */
const RESERVE_INTERVAL = 60_000;

/** How often room is made for an operation that stores nothing. */
const TIDYINGS = 6;

/** Milliseconds that the browser is given to tidy up, the second time that it has to; each time it gets as much more. */
const TIDYING_TIME = 200;

/** @typedef {import("./types.js").Operation<unknown>} Operation */
/** @typedef {{operation: Operation, resolve: (value: any) => void, reject: (reason: unknown) => void, refused?: boolean}} Submitted */
/**
 * Why a transaction failed, whether it is sure that nothing of it was committed, and whether calls that wait were served in it.
 * @typedef {{error: Error, undone: boolean, served?: boolean}} Failure
 */

export class GroupCommit {
  /** @type {Submitted[]} */
  #waiting = [];
  #running = false;
  /** Whether a transaction is being filled by operations that wait for what they read. */
  #filling = false;
  /** Whether this context gave the reserve up and has not seen it since. */
  #reserveSpent = false;
  /** When it was last seen, on the clock of `performance.now()`: others may give it up too. */
  #reserveSeenAt = -Infinity;
  /** The last transaction that wrote a version which is not the last and means nothing. @type {WriteTransaction | undefined} */
  #fenced;
  #cache = new SegmentCache();
  #writeLeases = new WriteLeases();
  /** The opening of the database that the cache and the write leases are of. */
  #opening = 0;
  #unavailable = new UnavailableValues();
  /** @type {Promise<void> | undefined} */
  #lookingAgain;
  /** Whether a transaction that failed in part is being undone. */
  #undoing = false;
  /** How often the site's data had been cleared when these were found. */
  #wipes = 0;
  #connection;
  #announce;
  #serve;

  /**
   * @param {import("../storage/database.js").Connection} connection @param {(commit: WriteTransaction) => void} announce called after each commit
   * @param {(commit: WriteTransaction) => void} serve has calls that wait claim in a transaction what it leaves
   */
  constructor(connection, announce, serve) {
    this.#connection = connection;
    this.#announce = announce;
    this.#serve = serve;
  }

  /**
   * Runs an operation in a readwrite transaction.
   * @template T @param {import("./types.js").Operation<T>} operation @returns {Promise<T>} its result, once committed
   */
  submit(operation) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operation, resolve, reject });
      if (!this.#running) this.#run();
    });
  }

  /**
   * Reads in a transaction of its own, at one moment.
   * @template T @param {(reading: ReadTransaction) => Promise<T>} read @param {string[]} [stores] @returns {Promise<T>}
   */
  async read(read, stores) {
    for (let attempt = 1; ; attempt++) {
      const { transaction, opening } = await this.#connection.begin("readonly", "default", stores);
      try {
        // numbers begin anew in a database that was cleared: what is kept of the one before stands for other messages
        const cache = opening === this.#opening ? this.#cache : new SegmentCache();
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
   * As `read`, where all that is needed can be asked for at once: the transaction then ends without this context, which may
   * compute for long. Where that was not enough, it is read again, the other way.
   * @template T @param {(reading: ReadTransaction) => Promise<T>} read @param {string[]} [stores] @returns {Promise<T>}
   */
  async readAtOnce(read, stores) {
    const transaction = this.#connection.openings === this.#opening ? this.#connection.beginNow("readonly", "default", stores) : undefined;
    if (transaction !== undefined) {
      try {
        const reading = read(new ReadTransaction(() => transaction, this.#cache, this.#unavailableNow()));
        transaction.commit();
        return await reading;
      } catch (error) {
        if (error instanceof MailboxError) throw error;
        // whoever reads again meets the error itself, if it is one
      }
    }
    return this.read(read, stores);
  }

  /** Whether it is time to try again what could not be read. */
  get isToLookAgain() {
    return this.#lookingAgain !== undefined || this.#unavailableNow().isDue;
  }

  /** Tries again what could not be read. */
  async lookAgain() {
    const look = async () => {
      try {
        const { transaction } = await this.#connection.begin("readonly", "default");
        await this.#unavailable.tryAgain((name) => transaction.objectStore(name));
      } catch {
        // it is the connection, and who needs it meets the error itself
      }
      this.#lookingAgain = undefined;
    };
    await (this.#lookingAgain ??= look());
  }

  /** The state of a mailbox that this context may write without reading it, as it will be when what is under way is committed. @param {string} mailbox */
  stateInMemory(mailbox) {
    return this.#filling || this.#connection.openings !== this.#opening ? undefined : this.#writeLeases.get(mailbox);
  }

  /** Whether that is the latest state; it is looked up beside what goes on. @param {string} mailbox */
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

  /** Has every mailbox read before it is written: this context may be away for long, and lose what its rights rest on. */
  suspendRights() {
    this.#writeLeases.suspend();
  }

  /** Lets this context have rights again. */
  renewRights() {
    this.#writeLeases.renew();
  }

  async #run() {
    this.#running = true;
    // calls that are made together share a transaction
    await undefined;
    let conflicts = 0;
    while (this.#waiting.length > 0) {
      let round = this.#round();
      let now = this.#commitNow(round);
      if (now === undefined && conflicts < CONFLICTS) {
        const states = await this.#readState();
        round = this.#round();
        now = states && this.#commitNow(round, states);
        if (now === undefined) round = this.#round();
      }
      const { durability, notes, sharing, joining } = round;
      let failure = await (now ?? this.#commit(durability, notes, joining));
      if (now !== undefined && failure?.error instanceof FencedError) {
        conflicts += 1;
        this.#waiting.unshift(...sharing);
        continue;
      }
      conflicts = 0;
      if (failure?.error instanceof FencedError || failure?.error instanceof ReadAgain) {
        const again = [...sharing];
        failure = await this.#commit(durability, notes, () => again.shift() ?? joining(), true);
      }
      if (failure === undefined) continue;
      if (sharing.length === 0) for (const { reject } of this.#waiting.splice(0)) reject(failure.error);
      for (const apart of sharing) {
        const wasAlone = sharing.length === 1 && !failure.served;
        if (!apart.refused) await this.#commitApart(apart, durability, failure, wasAlone);
      }
    }
    this.#running = false;
  }

  /** What the next transaction is to be like. */
  #round() {
    /** @type {IDBTransactionDurability} */
    const durability = this.#waiting.some(({ operation }) => operation.durability === "strict") ? "strict" : "relaxed";
    const notes = this.#waiting.some(({ operation }) => operation.needsNotes());
    /** @type {Submitted[]} */
    const sharing = [];
    const joining = () => {
      const next = this.#waiting[0];
      if (next === undefined || sharing.length === SHARERS) return undefined;
      if (next.operation.durability === "strict" && durability === "relaxed") return undefined;
      if (next.operation.needsNotes() && !notes) return undefined;
      sharing.push(next);
      return this.#waiting.shift();
    };
    return { durability, notes, sharing, joining };
  }

  /**
   * Reads the state that the waiting operations need, all the same one, in a transaction that ends without this context.
   * @returns {Promise<ReadonlyMap<string, import("../model/state.js").MailboxState> | undefined>} by mailbox; undefined where that
   * is not enough
   */
  async #readState() {
    const [mailbox = "", another] = new Set(this.#waiting.map(({ operation }) => operation.mailbox));
    if (another !== undefined || !this.#mayBeAtHand() || !isNumberKnown(mailbox) || this.#writeLeases.get(mailbox)) return undefined;
    const transaction = this.#connection.beginNow("readonly", "default");
    if (transaction === undefined) return undefined;
    const began = moment();
    try {
      const reading = readState(mailbox, (name) => transaction.objectStore(name));
      transaction.commit();
      const state = await reading;
      // what tells of a deleted mailbox stays long, but not for ever
      if (!isTrusted(began)) return undefined;
      // where another's right ends there is more to write
      if (state === undefined || state === "unreadable" || this.#writeLeases.isAnothers(state)) return undefined;
      return new Map([[mailbox, state]]);
    } catch {
      return undefined; // more has to be read; whoever does meets the error itself, if it is one
    }
  }

  /** Whether what stores messages has to look whether the reserve is there. */
  get #looksForReserve() {
    return this.#reserveSpent || performance.now() - this.#reserveSeenAt > RESERVE_INTERVAL;
  }

  /** Whether all that the waiting operations need may be at hand. */
  #mayBeAtHand() {
    if (this.#connection.openings !== this.#opening) return false;
    return this.#waiting.every(
      ({ operation }) => operation.atHand !== undefined && !operation.needsNotes() && !(operation.stores && this.#looksForReserve),
    );
  }

  /**
   * Tries an operation alone after a transaction that it was in has failed.
   * @param {Submitted} apart @param {IDBTransactionDurability} durability @param {Failure} first why
   * @param {boolean} wasAlone whether it was the only one in it
   */
  async #commitApart(apart, durability, first, wasAlone) {
    const mayPass = (/** @type {Error} */ error) =>
      error instanceof FencedError ||
      error instanceof ReadAgain ||
      error.name === "ConnectionLostError" ||
      (error.name === "StorageFullError" && !apart.operation.stores);
    /** @type {Failure | undefined} */
    let failure = first;
    for (let attempt = 0; failure?.undone; attempt++) {
      const isFull = failure.error.name === "StorageFullError" && !apart.operation.stores;
      if (attempt >= (isFull ? TIDYINGS : RECONNECTIONS)) break;
      if (!mayPass(failure.error) && (wasAlone || attempt > 0)) break;
      if (isFull) await this.#makeRoom(attempt);
      const only = [apart];
      failure = await this.#commit(durability, apart.operation.needsNotes(), () => only.pop(), true);
    }
    if (failure !== undefined) apart.reject(failure.error);
  }

  /** What is kept in memory may be what was never committed, or of a database that is no more. */
  #forget() {
    this.#cache.clear();
    this.#writeLeases.forget();
  }

  /** What cannot be read of the database that is open: in another one the same keys are other records. */
  #unavailableNow() {
    if (this.#wipes !== this.#connection.wipes) this.#unavailable = new UnavailableValues();
    this.#wipes = this.#connection.wipes;
    return this.#unavailable;
  }

  /** On a full storage a transaction of deletes alone still commits. @param {number} attempt how often this was not enough */
  async #makeRoom(attempt) {
    if (this.#reserveSpent) {
      await tidyUp();
      // the browser counts what is in use a little later
      await new Promise((resolve) => setTimeout(resolve, attempt * TIDYING_TIME));
      return;
    }
    this.#reserveSpent = true;
    try {
      const { transaction } = await this.#connection.begin("readwrite", "relaxed");
      const ending = new Ending(transaction);
      transaction.objectStore("meta").delete("reserve");
      transaction.commit();
      await ending.completion;
    } catch {
      // what needed it is tried again all the same, and meets the error itself
    }
  }

  /**
   * One transaction.
   * @param {IDBTransactionDurability} durability @param {boolean} notes whether the notes of departure are part of it
   * @param {() => Submitted | undefined} joining gives the next to share it
   * @param {boolean} [readFirst] whether no state may come from memory
   * @returns {Promise<Failure | undefined>} why it failed; then no promise has been resolved
   */
  async #commit(durability, notes, joining, readFirst = false) {
    /** @type {WriteTransaction | undefined} */
    let commit;
    let finished = false;
    /** @type {[Submitted, unknown][]} */
    const results = [];
    try {
      const begun = await this.#connection.begin("readwrite", durability, notes ? STORES : undefined);
      const { transaction, opening } = begun;
      const ending = new Ending(transaction);
      if (opening !== this.#opening) this.#forget();
      this.#opening = opening;
      commit = new WriteTransaction(() => transaction, this.#cache, this.#unavailableNow(), this.#writeLeases, readFirst);
      this.#filling = true;
      try {
        for (let next = joining(); next !== undefined; next = joining()) {
          if (next.operation.stores) commit.willStore(this.#looksForReserve);
          results.push([next, await runIn(commit, next)]);
        }
        if (commit.failedToRead !== undefined) throw new ReadAgain(commit.failedToRead);
        const fenced = this.#fenced;
        this.#fenced = undefined;
        if (fenced !== undefined) await commit.deleteHeadOf(fenced);
        // what is tried again is not to fail once more because of others
        if (!readFirst) this.#serveIn(commit);
        await commit.finish();
        finished = true;
      } catch (error) {
        abort(transaction);
        ending.completion.catch(() => {});
        throw error instanceof DOMException ? (ending.reason ?? error) : error;
      } finally {
        this.#filling = false;
      }
      await ending.completion;
    } catch (cause) {
      const failure = await this.#failureOf(cause, commit, finished, results);
      if (failure !== undefined || commit === undefined) return failure;
    }
    this.#conclude(commit, results);
    return undefined;
  }

  /**
   * As `#commit`, for operations all of which are at hand: the transaction is begun, filled and ended before this returns.
   * @param {{durability: IDBTransactionDurability, joining: () => Submitted | undefined}} round
   * @param {ReadonlyMap<string, import("../model/state.js").MailboxState>} [states] that were read for it
   * @returns {Promise<Failure | undefined> | undefined} undefined if it cannot be done so; then nothing has joined
   */
  #commitNow({ durability, joining }, states) {
    if (!this.#mayBeAtHand()) return undefined;
    /** @type {Ending | undefined} */
    let ending;
    const begin = () => {
      const transaction = this.#connection.beginNow("readwrite", durability);
      if (transaction === undefined) throw new Error("the connection is closing");
      ending = new Ending(transaction);
      return transaction;
    };
    const commit = new WriteTransaction(begin, this.#cache, this.#unavailableNow(), this.#writeLeases, false);
    if (states !== undefined) commit.give(states);
    /** @type {[Submitted, unknown][]} */
    const results = [];
    try {
      for (let next = this.#waiting[0]; next !== undefined && results.length < SHARERS; next = this.#waiting[0]) {
        if (states?.has(next.operation.mailbox ?? "") === false) break;
        const value = next.operation.atHand?.(commit);
        if (value === undefined) break;
        joining();
        results.push([next, value]);
      }
      if (results.length === 0) return undefined;
      this.#serveIn(commit);
      commit.finishAtHand();
      return this.#endOf(commit, /** @type {Ending} */ (/** @type {unknown} */ (ending)), results);
    } catch (error) {
      // they are done the other way, on what is read anew, and meet the error there if it is still one
      if (error instanceof NotHeadOnly && ending === undefined) {
        this.#waiting.unshift(...results.map(([submitted]) => submitted));
        for (const { forgotten } of commit.served) forgotten();
        return undefined;
      }
      for (const { failed } of commit.served) failed(true);
      this.#forget();
      if (!(error instanceof DOMException)) console.error(error);
      if (ending !== undefined) {
        abort(commit.transaction);
        /** @type {Ending} */ (ending).completion.catch(() => {});
      }
      return Promise.resolve({ error: new FencedError(), undone: true });
    }
  }

  /** Has calls that wait claim what a transaction leaves, where nothing has to be read for that. @param {WriteTransaction} commit */
  #serveIn(commit) {
    try {
      this.#serve(commit);
    } catch (error) {
      // a record that cannot be read: whoever looks for it sees to that
      if (!(error instanceof Unreadable)) throw error;
    }
  }

  /** @param {WriteTransaction} commit that is asked to commit @param {Ending} ending @param {[Submitted, unknown][]} results @returns {Promise<Failure | undefined>} */
  async #endOf(commit, ending, results) {
    try {
      await ending.completion;
      if (!commit.isLast) {
        this.#fenced = commit;
        throw new FencedError();
      }
    } catch (cause) {
      const failure = await this.#failureOf(cause, commit, true, results);
      if (failure !== undefined) return failure;
    }
    this.#conclude(commit, results);
    return undefined;
  }

  /**
   * Why a transaction failed; undefined if it has not, after all.
   * @param {unknown} cause @param {WriteTransaction | undefined} commit @param {boolean} finished whether it was asked to commit
   * @param {[Submitted, unknown][]} results @returns {Promise<Failure | undefined>}
   */
  async #failureOf(cause, commit, finished, results) {
    const failure = await this.#examine(cause, commit, finished);
    if (failure === undefined || commit === undefined) return failure;
    if (!failure.undone) for (const [{ operation }, value] of results) operation.onDoubt?.(value);
    for (const { failed } of commit.served) failed(failure.undone);
    return { ...failure, served: commit.served.length > 0 };
  }

  /** @param {unknown} cause @param {WriteTransaction | undefined} commit @param {boolean} finished @returns {Promise<Failure | undefined>} */
  async #examine(cause, commit, finished) {
    this.#forget();
    if (cause instanceof HalfDone && commit !== undefined) {
      if (commit.failedWhole) return { error: isFenced(cause.reason) ? new FencedError() : translate(cause.reason), undone: true };
      await this.#undo(commit);
      return { error: translate(cause.reason), undone: false };
    }
    if (isFenced(cause)) return { error: new FencedError(), undone: true };
    const error = translate(cause);
    if (commit === undefined || error.name !== "ConnectionLostError") return { error, undone: true };
    this.#connection.drop(commit.transaction.db);
    const committed = finished ? await this.#wasCommitted(commit) : false;
    return committed === true ? undefined : { error, undone: committed === false };
  }

  /** Tells what a transaction came to that is complete. @param {WriteTransaction} commit @param {[Submitted, unknown][]} results */
  #conclude(commit, results) {
    // what a listener throws is its own affair: what was committed stays so, and the next calls come
    attempt(() => commit.completed());
    if (commit.keptReserve) {
      this.#reserveSpent = false;
      this.#reserveSeenAt = performance.now();
    }
    for (const [{ operation, resolve }, value] of results) {
      attempt(() => operation.onCommit?.(value));
      resolve(value);
    }
    for (const { committed } of commit.served) attempt(committed);
    attempt(() => this.#announce(commit));
  }

  /** Undoes a transaction that is complete although one of its requests failed. @param {WriteTransaction} broken */
  async #undo(broken) {
    if (this.#undoing) return;
    this.#undoing = true;
    const run = (/** @type {WriteTransaction} */ commit) => commit.undo(broken);
    const operation = { durability: /** @type {const} */ ("strict"), stores: false, needsNotes: () => false, run };
    const only = [{ operation, resolve: () => {}, reject: () => {} }];
    // if that fails too, what is not whole becomes a dead letter when it is read
    await this.#commit("strict", false, () => only.pop(), true);
    this.#undoing = false;
  }

  /** Whether a transaction whose connection was lost with it was committed; undefined if nothing tells. @param {WriteTransaction} commit */
  async #wasCommitted(commit) {
    try {
      return await this.read((reading) => commit.isIn(reading));
    } catch {
      return undefined;
    }
  }
}

/** Runs an operation; one that refuses fails at once, and is not tried again. @param {WriteTransaction} commit @param {Submitted} submitted */
async function runIn(commit, submitted) {
  try {
    return await submitted.operation.run(commit);
  } catch (error) {
    if (error instanceof MailboxError && error.name !== "ConnectionLostError") {
      submitted.refused = true;
      submitted.reject(error);
    }
    throw error;
  }
}

/** How a transaction ends. */
class Ending {
  /**
   * Why it failed, once that is known: the error of the request that failed first; never an AbortError, which only says that
   * it failed. @type {DOMException | undefined}
   */
  reason;

  /** @param {IDBTransaction} transaction */
  constructor(transaction) {
    transaction.onerror = ({ target }) => {
      this.#note(/** @type {IDBRequest} */ (target).error);
      abort(transaction);
    };
    /** @type {Promise<void>} */
    this.completion = new Promise((resolve, reject) => {
      transaction.oncomplete = () => (this.reason === undefined ? resolve() : reject(new HalfDone(this.reason)));
      transaction.onabort = () => {
        this.#note(transaction.error);
        reject(this.reason ?? new DOMException("The transaction was aborted.", "AbortError"));
      };
    });
  }

  /** @param {DOMException | null} error */
  #note(error) {
    if (error !== null && error.name !== "AbortError") this.reason ??= error;
  }
}

/** Why a transaction failed that is complete all the same, without the request that failed. */
class HalfDone extends Error {
  /** @param {DOMException} reason */
  constructor(reason) {
    super("a transaction is complete although one of its requests failed");
    this.reason = reason;
  }
}

/** A blind write of a version that somebody else has written meets a key that is taken. @param {unknown} error */
const isFenced = (error) => error instanceof FencedError || (error instanceof DOMException && error.name === "ConstraintError");

/** Calls what may throw, which is written to the console. @param {() => void} call */
function attempt(call) {
  try {
    call();
  } catch (error) {
    console.error(error);
  }
}

/** @param {IDBTransaction} transaction */
function abort(transaction) {
  try {
    transaction.abort();
  } catch {
    // it is over already
  }
}
