/**
 * One readwrite transaction, as the operations that share it see it: the states that it reads, keeps and writes, what
 * it did, and how it ends.
 *
 * Operations run one after the other, each on what the previous ones left, and may await this class's methods and what
 * is built on them, but nothing else. What they did takes effect when the transaction completes.
 */

import { commitEarly } from "../storage/one-at-a-time.js";
import { result } from "../storage/requests.js";
import { isLastVersion, versionsOf, writeHead, writeRows } from "../storage/stored-state.js";
import { MailboxState } from "../model/state.js";
import { putReserveBack } from "./headroom.js";
import { readNextNumber } from "./mailbox-rows.js";
import { ReadTransaction } from "./read-transaction.js";
import { salvagePages } from "./salvage.js";
import { unloadIfFull } from "./stored-segments.js";
import { FencedError, moment } from "./write-lease.js";

/** @typedef {import("../model/types.js").Place} Place */
/** @typedef {import("../model/segments.js").Segment} Segment */
/** @typedef {import("../coordination/notifier.js").Listener} Listener */
/** @typedef {import("../coordination/waiters.js").Served} Served */

/**
 * A value of this many bytes or more is awaited before the transaction is asked to commit. Chromium refuses values
 * above 127 MiB in the page itself; the database never sees such a request, and would commit all the others.
 */
const LARGE_VALUE = 16 * 1024 * 1024;

/** @type {ReadonlyMap<string, MailboxState>} */
const NO_STATES = new Map();

export class WriteTransaction extends ReadTransaction {
  /**
   * What to notify others of after the commit, by mailbox.
   * @type {Map<string, {depth: number | undefined, excluded: Listener[], count: number}>}
   */
  notifications = new Map();
  /** Parked calls that have claimed in it. @type {Served[]} */
  served = [];
  /** Whether there is no room to move messages: those that should become dead letters are queued instead. */
  lacksRoom = false;
  /** What to do after the commit. @type {(() => void)[]} */
  afterCommit = [];

  // -- what it did, for what is built on it

  /** The commit id of this transaction, in the states that it writes. */
  commitId = Math.random();
  /** How often the page had been left when it began. */
  unloadsBefore;
  /** By mailbox. @type {Map<string, MailboxState>} */
  states = new Map();
  /** The commit ids that were in them before. @type {Map<string, number>} */
  commitIdsBefore = new Map();
  /** Mailboxes whose state has to be written. @type {Set<string>} */
  changedMailboxes = new Set();
  /**
   * The rows of states that were written and deleted, by mailbox; undefined while there are none.
   * @type {Map<string, import("../model/blocks.js").RowChange[]> | undefined}
   */
  stateRows;
  /** The mailbox that it deletes. @type {string | undefined} */
  deletedMailbox;
  /**
   * Undefined while nothing was appended.
   * @type {Map<MailboxState, import("../model/segments.js").SegmentWriter[]> | undefined}
   */
  segmentWriters;
  /** Segments that were written to the store. @type {[number, number, Segment][]} */
  written = [];
  /** Segments of new messages. @type {[number, number, Segment][]} */
  appended = [];
  /** What was handed out. @type {{from: MailboxState, holder: string, places: Place[]}[]} */
  handedOut = [];
  /**
   * If only a head was written: its key, its request, and the one for the last key just after it.
   * @type {{key: [number: number, version: number], added: IDBRequest, last: IDBRequest<IDBCursor | null>} | undefined}
   */
  soleHead;
  writeLeases;

  /** Mailboxes whose state came from memory, by a write lease. @type {Set<string>} */
  #leased = new Set();
  /** Mailboxes that do not exist; they are made if they are changed. @type {Set<string>} */
  #absent = new Set();
  /** States that were read in an earlier transaction. @type {ReadonlyMap<string, MailboxState>} */
  #readBefore = NO_STATES;
  #readFirst;
  #began = moment();
  /** How often a store was requested: at least as often as there were requests. */
  #asked = 0;
  /** The number of the next new mailbox, once known. @type {number | undefined} */
  #nextNumber;
  #stores = false;
  /** @type {Promise<void> | undefined} */
  #reserve;
  /** The last request that must succeed before the transaction is asked to commit. @type {IDBRequest | undefined} */
  #awaited;
  /** Whether messages are moved: they must be in their new place before they can leave the old one for certain. */
  #moves = false;

  /**
   * @param {import("./engine.js").Engine} engine
   * @param {() => IDBTransaction} begin begins the transaction, when it is first needed
   * @param {import("../model/segments.js").SegmentCache} cache
   * @param {import("./unavailable-values.js").UnavailableValues} unavailable
   * @param {import("./write-lease.js").WriteLeases} writeLeases
   * @param {boolean} readFirst whether every state must be read, not taken from memory
   */
  constructor(engine, begin, cache, unavailable, writeLeases, readFirst) {
    super(begin, cache, unavailable);
    this.engine = engine;
    this.unloadsBefore = engine.notes.unloads;
    this.writeLeases = writeLeases;
    this.#readFirst = readFirst;
  }

  // -- states, read in ------------------------------------------------------------------------------------------------

  /** @override @param {string} name */
  store(name) {
    this.#asked += 1;
    if (this.#readBefore !== NO_STATES) this.#checkNotReadBefore();
    return super.store(name);
  }

  /** Of a state from an earlier transaction, which may be out of date, only the head may be written. */
  #checkNotReadBefore() {
    for (const [mailbox, state] of this.states) if (this.#readBefore.get(mailbox) === state) throw new NotHeadOnly();
  }

  /**
   * To be called before anything else, with states that were read in an earlier transaction.
   * @param {ReadonlyMap<string, MailboxState>} states
   */
  startFrom(states) {
    this.#readBefore = states;
  }

  /** The state of a mailbox, if it need not be read. @param {string} mailbox */
  stateAtHand(mailbox) {
    const known = this.states.get(mailbox);
    if (known !== undefined) return known;
    const own = this.#readFirst ? undefined : this.writeLeases.get(mailbox);
    if (own !== undefined) this.#leased.add(mailbox);
    const state = own ?? this.#readBefore.get(mailbox);
    if (state === undefined) return undefined;
    this.states.set(mailbox, state);
    this.commitIdsBefore.set(mailbox, state.commitId);
    return state;
  }

  /**
   * The state of a mailbox; if there is none, an empty one, and the mailbox is made if that is changed.
   * @param {string} mailbox
   */
  async state(mailbox) {
    const atHand = this.stateAtHand(mailbox);
    if (atHand !== undefined) return atHand;
    if (this.#stores) this.#keepReserve();
    let state = await this.stored(mailbox);
    if (state === undefined) {
      this.#nextNumber ??= await readNextNumber(this);
      state = MailboxState.create(this.#nextNumber++);
      this.#absent.add(mailbox);
      // numbers may start again if something else emptied the stores
      this.cache.clear();
    }
    this.states.set(mailbox, state);
    this.commitIdsBefore.set(mailbox, state.commitId);
    return state;
  }

  /** Whether a mailbox exists, without making it. @param {string} mailbox */
  async exists(mailbox) {
    if (this.states.has(mailbox)) return !this.#absent.has(mailbox) || this.changedMailboxes.has(mailbox);
    return (await result(this.store("mailboxes").getKey(mailbox))) !== undefined;
  }

  /** Makes sure that a state that came from memory is the latest. @param {string} mailbox @throws {FencedError} */
  async checkStillLatest(mailbox) {
    if (!this.#leased.has(mailbox)) return;
    const state = /** @type {MailboxState} */ (this.states.get(mailbox));
    if (!(await isLastVersion(this.store("journal"), state))) throw new FencedError();
  }

  /**
   * The segment of a message, if it need not be read.
   * @override @param {MailboxState} state @param {number} priority @param {number} sequence
   */
  segmentAtHand(state, priority, sequence) {
    return super.segmentAtHand(state, priority, sequence) ?? this.#segmentWritten(state, priority, sequence);
  }

  /**
   * A segment that this transaction has written to the store.
   * @param {MailboxState} state @param {number} priority @param {number} sequence
   */
  #segmentWritten({ number }, priority, sequence) {
    const written = this.written.find(
      ([mailbox, lane, { first, last }]) =>
        mailbox === number && lane === priority && first <= sequence && sequence <= last,
    );
    return written?.[2];
  }

  /** @override @param {MailboxState} state @param {import("../model/page-directory.js").PageEntry[]} lost */
  async losePages(state, lost) {
    await salvagePages(this, state, lost);
  }

  /** Whether the unload notes are part of the transaction. */
  get seesNotes() {
    return this.transaction.objectStoreNames.contains("notes");
  }

  // -- what operations tell it ----------------------------------------------------------------------------------------

  /** To be called by whoever changes a state. @param {string} mailbox */
  changed(mailbox) {
    this.changedMailboxes.add(mailbox);
  }

  /** To be called before deleting something that is about to be stored in a new place. */
  moves() {
    this.#moves = true;
  }

  /**
   * Stores a value that may be large.
   * @param {string} store @param {unknown} value @param {IDBValidKey} key @param {number} bytes its approximate size
   */
  put(store, value, key, bytes) {
    const request = this.store(store).put(value, key);
    if (bytes >= LARGE_VALUE || this.#moves) this.#awaited = request;
  }

  /**
   * There is something to claim.
   * @param {string} mailbox @param {number | undefined} depth the queued count if messages were stored
   * @param {Listener[]} excluded those who learn it otherwise @param {number} [count] how many messages
   */
  announce(mailbox, depth, excluded, count = 1) {
    const before = this.notifications.get(mailbox);
    this.notifications.set(mailbox, {
      depth: depth ?? before?.depth,
      excluded: before === undefined ? excluded : before.excluded.filter((listener) => excluded.includes(listener)),
      count: (before?.count ?? 0) + count,
    });
  }

  /**
   * To be called when parked calls have claimed: that much less of what is announced is left for others.
   * @param {string} mailbox @param {number} count how many messages
   */
  claimedByWaiting(mailbox, count) {
    const notification = this.notifications.get(mailbox);
    if (notification === undefined) return;
    const isLeft = this.states.get(mailbox)?.isReady(Date.now());
    notification.count = Math.max(notification.count - count, isLeft ? 1 : 0);
  }

  /**
   * To be called before messages are stored: puts the reserve back if it is known to be gone or if a check is due.
   * @param {boolean} isReserveDue whether it is known to be gone, or has not been checked for a long time
   */
  willStore(isReserveDue) {
    this.#stores = true;
    if (isReserveDue) this.#keepReserve();
  }

  #keepReserve() {
    this.#reserve ??= putReserveBack(this);
    this.#reserve.catch(() => {
      // the transaction fails with it
    });
  }

  /** Whether the reserve is there, once the transaction is complete. */
  get keptReserve() {
    return this.#reserve !== undefined;
  }

  // -- states, written out --------------------------------------------------------------------------------------------

  /** Writes what has not been written yet, and lets the browser commit. @throws {FencedError} */
  async finish() {
    await this.#reserve;
    unloadIfFull(this);
    if (this.#awaited !== undefined) await result(this.#awaited);
    if ([...this.#absent].some((mailbox) => this.changedMailboxes.has(mailbox)))
      this.store("meta").put(this.#nextNumber, "nextMailbox");
    for (const [mailbox, state] of this.states) {
      const leased = this.#leased.has(mailbox);
      if (this.changedMailboxes.has(mailbox)) {
        state.commitId = this.commitId;
        this.#writeRows(mailbox, state);
        if (this.#absent.has(mailbox)) this.store("mailboxes").put({ number: state.number }, mailbox);
        if (leased) writeHead(() => this.store("journal"), state);
        else await this.writeLeases.write((name) => this.store(name), mailbox, state);
      } else {
        // nothing is written that would fail, so the answers may be out of date
        await this.checkStillLatest(mailbox);
      }
    }
    this.engine.connection.commit(this.transaction);
  }

  /**
   * As `finish`, if every operation has changed its mailbox, whose state was at hand.
   *
   * Of a state from an earlier transaction only the head is written: the key of its version could be free again
   * although others have written many since. Then this version is not the last, so it means nothing, and nothing else
   * was done.
   */
  finishAtHand() {
    unloadIfFull(this);
    // not those that were looked at by an operation that then did not join
    const { changedMailboxes, states } = this;
    if (changedMailboxes.size === 0) throw new Error("nothing would fail if the state is not the latest");
    for (const mailbox of changedMailboxes) if (!this.#leased.has(mailbox)) return this.#finishHead();
    for (const mailbox of changedMailboxes) {
      const state = /** @type {MailboxState} */ (states.get(mailbox));
      state.commitId = this.commitId;
      this.#writeRows(mailbox, state);
      writeHead(() => this.store("journal"), state);
    }
    // if only one request can fail, and it was made outside of another's handler, every browser behaves well
    if (this.#asked === 1) commitEarly(this.transaction);
    else this.engine.connection.commit(this.transaction);
  }

  /** @param {string} mailbox @param {MailboxState} state */
  #writeRows(mailbox, state) {
    const changes = writeRows(() => this.store("pages"), state);
    if (changes.length > 0) (this.stateRows ??= new Map()).set(mailbox, changes);
  }

  #finishHead() {
    const [mailbox, another] = this.changedMailboxes;
    if (another !== undefined) throw new NotHeadOnly();
    const state = /** @type {MailboxState} */ (this.states.get(mailbox));
    state.commitId = this.commitId;
    if (state.pack().length > 0 || this.#asked > 0) throw new NotHeadOnly();
    const added = this.writeLeases.writeUnsealed((name) => super.store(name), mailbox, state);
    const last = super.store("journal").openKeyCursor(versionsOf(state.number), "prev");
    this.soleHead = { key: [state.number, state.version], added, last };
    // apart from the write it only reads: if the write fails, there is nothing else
    commitEarly(this.transaction);
  }

  /** Whether the head that was written is the last version, once the transaction is complete. */
  get isLast() {
    return (
      this.soleHead === undefined || /** @type {any} */ (this.soleHead.last.result?.key)?.[1] === this.soleHead.key[1]
    );
  }

  /** Whether only a head was written and that failed. */
  get failedWhole() {
    return this.soleHead?.added.readyState === "done" && this.soleHead.added.error !== null;
  }

  /** To be called once the transaction is complete. */
  completed() {
    for (const mailbox of this.changedMailboxes) {
      const state = /** @type {MailboxState} */ (this.states.get(mailbox));
      state.pages.trim();
      this.writeLeases.committed(mailbox, state, this.#began);
    }
    for (const [mailbox, priority, segment] of this.written) this.cache.add(mailbox, priority, segment);
    for (const done of this.afterCommit) done();
  }
}

/** Thrown if more than the head would have to be written of a state from an earlier transaction. */
export class NotHeadOnly extends Error {}
