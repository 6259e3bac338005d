/**
 * One readwrite transaction, as the operations that share it see it.
 *
 * Operations run one after the other, each on what the ones before it left, and may await this class's methods but
 * nothing else. What they did is true once the transaction is complete.
 */

import { ROWS_BY_MAILBOX, STORES_BY_MAILBOX, commit, newReserve, result } from "../storage/database.js";
import { MailboxError } from "../model/errors.js";
import { INFLIGHT, frameAt, idIn, named, viewOf } from "../model/frames.js";
import { ID_BYTES, writeId } from "../model/ids.js";
import { failures, handOuts, hasCustomId } from "../model/delivery.js";
import { isCount } from "../model/bytes.js";
import { MailboxState } from "../model/state.js";
import { ReadTransaction, Unreadable, laneRange } from "./read-transaction.js";
import { DEAD, isLetter, numberOfLetter, placeIn, salvagedLetter } from "../storage/rows.js";
import { SEGMENT_MESSAGES, Segment, SegmentWriter } from "../model/segments.js";
import { isLastVersion, lastVersion, versionsOf, writeHead, writeRows } from "../storage/stored-state.js";
import { FencedError, moment } from "./write-lease.js";
import { ValueUnavailable } from "./unavailable-values.js";

/** @typedef {import("../model/types.js").Place} Place */
/** @typedef {import("../model/types.js").Frame} Frame */
/** @typedef {import("../coordination/notifier.js").Listener} Listener */
/** @typedef {import("../coordination/waiters.js").Served} Served */

/** Ids up to which each is deleted by itself. */
const FEW_IDS = 100;

/**
 * Bytes of a value from which on it is waited for before the transaction is asked to commit. Chromium refuses what is above
 * 127 MiB in the page; the database never hears of such a request, and would commit all the others.
 */
const LARGE_VALUE = 16 * 1024 * 1024;

/** A segment of at most so many bytes travels in the head, so that it needs no request of its own. */
const CARRIED_SEGMENT = 2048;

/** Bytes of segments in the head from which on they are written, neighbours as one. */
const CARRIED = 4096;

export class WriteTransaction extends ReadTransaction {
  /** What is to be heard once it is committed, by mailbox. @type {Map<string, {depth: number | undefined, informed: Listener[], count: number}>} */
  news = new Map();

  /** Calls that were parked, and have claimed in it. @type {Served[]} */
  served = [];

  /** What is to be done after it, by handles that gave back in it what they owed. @type {Map<object, () => void>} */
  returned = new Map();

  /** @type {Map<string, MailboxState>} */
  #states = new Map();
  /** Mailboxes whose state is to be written. @type {Set<string>} */
  #changed = new Set();
  /** Mailboxes whose state came from memory. @type {Set<string>} */
  #blind = new Set();
  #writeLeases;
  #readFirst;
  /** @type {Map<MailboxState, SegmentWriter[]>} */
  #writers = new Map();
  /** Segments that were put into the store. @type {[number, number, Segment][]} */
  #written = [];
  /** Segments of messages that are new. @type {[number, number, Segment][]} */
  #appended = [];
  /** States that were read in a transaction before. @type {ReadonlyMap<string, MailboxState>} */
  #given = new Map();
  /**
   * Where nothing but a head was written: its key, the request for it, and for the last key just after it.
   * @type {{key: [number: number, version: number], added: IDBRequest, last: IDBRequest<IDBCursor | null>} | undefined}
   */
  #head;
  /** How often a store was asked for: no fewer than the requests were. */
  #asked = 0;
  /** Of this transaction, in the states that it writes. */
  #commitId = Math.random();
  #began = moment();
  /** The mailbox that it deletes. @type {string | undefined} */
  #deleted;
  /** What was in them before. @type {Map<string, number>} */
  #commitIdsBefore = new Map();
  /** The rows of states that were written and deleted, by mailbox. @type {Map<string, import("../model/blocks.js").RowChange[]>} */
  #rows = new Map();
  #stores = false;
  /** Mailboxes that are not there; they are made if they are changed. @type {Set<string>} */
  #absent = new Set();
  /** The number that the next mailbox to be made gets, once it is known. @type {number | undefined} */
  #nextNumber;
  /** @type {Promise<void> | undefined} */
  #reserve;
  /** The last request that is to succeed before the transaction is asked to commit. @type {IDBRequest | undefined} */
  #awaited;
  /** Whether messages are moved: they must be in their new place before it is certain that they leave the old one. */
  #moves = false;
  /** What was handed out. @type {{from: MailboxState, holder: string, places: Place[]}[]} */
  #handedOut = [];

  /**
   * @param {() => IDBTransaction} begin begins the transaction, when it is first needed
   * @param {import("../model/segments.js").SegmentCache} cache
   * @param {import("./unavailable-values.js").UnavailableValues} unavailable @param {import("./write-lease.js").WriteLeases} writeLeases
   * @param {boolean} readFirst whether no state may come from memory
   */
  constructor(begin, cache, unavailable, writeLeases, readFirst) {
    super(begin, cache, unavailable);
    this.#writeLeases = writeLeases;
    this.#readFirst = readFirst;
  }

  /** @override @param {string} name */
  store(name) {
    this.#asked += 1;
    // of a state that was read in a transaction before, which may be old, nothing but the head may be written
    if ([...this.#states].some(([mailbox, state]) => this.#given.get(mailbox) === state)) throw new NotHeadOnly();
    return super.store(name);
  }

  /** To be called before anything else: with states that were read in a transaction before. @param {ReadonlyMap<string, MailboxState>} states */
  give(states) {
    this.#given = states;
  }

  /** The state of a mailbox, if it need not be read. @param {string} mailbox */
  stateAtHand(mailbox) {
    const known = this.#states.get(mailbox);
    if (known !== undefined) return known;
    const own = this.#readFirst ? undefined : this.#writeLeases.get(mailbox);
    if (own !== undefined) this.#blind.add(mailbox);
    const state = own ?? this.#given.get(mailbox);
    if (state === undefined) return undefined;
    this.#states.set(mailbox, state);
    this.#commitIdsBefore.set(mailbox, state.commitId);
    return state;
  }

  /** The state of a mailbox; one that is not there has an empty one, and is made if that is changed. @param {string} mailbox */
  async state(mailbox) {
    const atHand = this.stateAtHand(mailbox);
    if (atHand !== undefined) return atHand;
    if (this.#stores) this.#keepReserve();
    let state = await this.stored(mailbox);
    if (state === undefined) {
      this.#nextNumber ??= await this.#readNextNumber();
      state = MailboxState.create(this.#nextNumber++);
      this.#absent.add(mailbox);
      // numbers may begin anew where something else emptied the stores
      this.cache.clear();
    }
    this.#states.set(mailbox, state);
    this.#commitIdsBefore.set(mailbox, state.commitId);
    return state;
  }

  /**
   * To be called before messages are stored: puts the reserve back if it is known to be gone, or if it costs little to look.
   * @param {boolean} spent whether it is known to be gone
   */
  willStore(spent) {
    this.#stores = true;
    if (spent) this.#keepReserve();
  }

  /** Whether the reserve is there, once the transaction is complete. */
  get keptReserve() {
    return this.#reserve !== undefined;
  }

  /** Whether the notes of departure are part of the transaction. */
  get seesNotes() {
    return this.transaction.objectStoreNames.contains("departed");
  }

  /** To be called by whoever changes a state. @param {string} mailbox */
  changed(mailbox) {
    this.#changed.add(mailbox);
  }

  /** To be called before something is deleted of which what is stored next takes the place. */
  moves() {
    this.#moves = true;
  }

  /**
   * There is something to claim.
   * @param {string} mailbox @param {number | undefined} depth the queued count if messages were stored
   * @param {Listener[]} informed who learns it otherwise @param {number} [count] how many messages
   */
  announce(mailbox, depth, informed, count = 1) {
    const before = this.news.get(mailbox);
    this.news.set(mailbox, {
      depth: depth ?? before?.depth,
      informed: before === undefined ? informed : before.informed.filter((listener) => informed.includes(listener)),
      count: (before?.count ?? 0) + count,
    });
  }

  /**
   * To be called when calls that wait have claimed: of what is announced so much less is left for others.
   * @param {string} mailbox @param {number} count how many messages
   */
  claimedByWaiting(mailbox, count) {
    const news = this.news.get(mailbox);
    if (news === undefined) return;
    const isLeft = this.#states.get(mailbox)?.isReady(Date.now());
    news.count = Math.max(news.count - count, isLeft ? 1 : 0);
  }

  /** Whether a mailbox is there, without making it. @param {string} mailbox */
  async exists(mailbox) {
    if (this.#states.has(mailbox)) return !this.#absent.has(mailbox) || this.#changed.has(mailbox);
    return (await result(this.store("mailboxes").getKey(mailbox))) !== undefined;
  }

  /** Deletes a mailbox with all that is in it. @param {string} mailbox @throws {FencedError} */
  async deleteMailbox(mailbox) {
    this.#deleted = mailbox;
    /** @type {MailboxState} */
    let state;
    try {
      state = await this.state(mailbox);
    } catch (error) {
      if (!(error instanceof MailboxError) || error.name !== "StorageCorruptError") throw error;
      // which rows are its own cannot be told; but who may write it without reading it is not to go on
      const row = await result(this.store("mailboxes").get(mailbox));
      const last = isCount(row?.number) ? await lastVersion(this.store("journal"), row.number) : undefined;
      if (last !== undefined && isCount(last.version)) this.store("journal").add(null, [row.number, last.version + 1]);
      this.store("mailboxes").delete(mailbox);
      return;
    }
    // no write follows that would fail where another context has written since
    await this.#checkStillOwn(mailbox);
    this.#writers.delete(state);
    this.#states.delete(mailbox);
    this.#changed.delete(mailbox);
    await this.#writeLeases.delete((name) => this.store(name), mailbox, state);
    for (const store of ROWS_BY_MAILBOX) this.store(store).delete(keysOf(state));
  }

  /** To be called before messages are appended that are not fresh, see `model/state.js`. @param {MailboxState} state */
  async openToAppend(state) {
    const lacking = state.pages.lackingToEnqueue();
    if (lacking.length > 0) await this.open(state, lacking);
  }

  /**
   * Appends a message to its lane.
   * @param {MailboxState} state @param {Uint8Array} bytes @param {Frame} frame in `bytes`
   * @param {number} [past] its delivery state; if left out, it was never handed out
   * @returns {number} its sequence number
   */
  append(state, bytes, frame, past) {
    const { priority, due } = frame;
    const sequence = state.enqueue(priority, frame.named, due > Date.now() ? due : 0, past);
    if (frame.named) this.store("ids").put([priority, sequence], [state.number, idIn(bytes, frame)]);
    this.#writersOf(state)[priority].append(sequence, bytes.subarray(frame.offset, frame.end));
    return sequence;
  }

  /** Passes over places whose ids are in use, given by senders. @param {MailboxState} state @param {number} priority */
  async skipGivenIds(state, priority) {
    const id = new Uint8Array(ID_BYTES);
    for (;;) {
      writeId(viewOf(id), 0, state.idBase, priority, state.lanes[priority].next);
      if ((await result(this.store("ids").getKey([state.number, id]))) === undefined) return;
      state.skip(priority);
    }
  }

  /** Makes segments of what was appended, so that it can be read. */
  flush() {
    for (const writers of this.#writers.values()) for (const writer of writers) writer.flush();
  }

  /** Keeps what a nack said. @param {MailboxState} state @param {Place} place @param {string} error */
  keepError(state, { priority, sequence }, error) {
    this.#put("errors", error, [state.number, priority, sequence], bytesOfText(error));
  }

  /** The segment of a message, if it need not be read. @override @param {MailboxState} state @param {number} priority @param {number} sequence */
  segmentAtHand(state, priority, sequence) {
    return super.segmentAtHand(state, priority, sequence) ?? this.#segmentWritten(state, priority, sequence);
  }

  /** One that this transaction has put into the store. @param {MailboxState} state @param {number} priority @param {number} sequence */
  #segmentWritten({ number }, priority, sequence) {
    const written = this.#written.find(
      ([mailbox, lane, { first, last }]) => mailbox === number && lane === priority && first <= sequence && sequence <= last,
    );
    return written?.[2];
  }

  /** To be called by whoever hands messages out. @param {MailboxState} from @param {string} holder @param {Place[]} places */
  handedOut(from, holder, places) {
    this.#handedOut.push({ from, holder, places });
  }

  /**
   * Removes a message, wherever it is, with all that is known of it but its bytes; see `deleteDead`. Its page must be open.
   * @param {MailboxState} state @param {Place} place @param {Uint8Array<ArrayBuffer>} id
   * @returns {boolean} false if there is no such message
   */
  remove(state, place, id) {
    const delivery = state.ack(place);
    if (delivery === undefined) return false;
    if (hasCustomId(delivery)) this.store("ids").delete([state.number, id]);
    if (failures(delivery) > 0) this.#forgetErrors(state, place.priority, place.sequence, place.sequence + 1);
    return true;
  }

  /** Removes all queued messages, page by page. @param {MailboxState} state @returns {Promise<number>} how many there were */
  async removeQueued(state) {
    const { customIds } = state;
    const { count, failed, kept } = await this.run(state, state.purge());
    if (count === 0) return 0;
    this.flush();
    for (const priority of state.lanes.keys()) {
      const { next } = state.lanes[priority];
      let [from, segmentsFrom] = [0, 0];
      for (const staying of [...kept.filter((numbers) => numbers.priority === priority), { from: next, to: next }]) {
        this.#deleteSegments(state, priority, segmentsFrom, staying.from);
        this.#forgetErrors(state, priority, from, staying.from);
        if (staying.from < staying.to) segmentsFrom = await this.#deleteDeadOf(state, priority, staying);
        from = staying.to;
      }
    }
    for (const { priority, from, to } of failed) this.#forgetErrors(state, priority, from, to);
    if (state.customIds < customIds) await this.#forgetDeadIds(state);
    return count;
  }

  /**
   * Moves a living message to the dead letters.
   * @param {MailboxState} state @param {Place} place @param {number} delivery @param {string} reason
   * @throws {ValueUnavailable} nothing was changed
   */
  async bury(state, place, delivery, reason) {
    const { priority, sequence } = place;
    this.flush();
    const errorKey = [state.number, priority, sequence];
    const run = { priority, from: sequence, to: sequence + 1, delivery };
    const [entry] = await this.entries(state, [run], INFLIGHT);
    const [error] = await this.values("errors", errorKey);
    const id = new Uint8Array(ID_BYTES);
    if (entry.frame.named) id.set(idIn(entry.bytes, entry.frame));
    else entry.writeIdTo(viewOf(id), 0);
    state.ack(place);
    this.store("errors").delete(errorKey);
    this.addDeadLetter(state, {
      id,
      frame: entry.bytes.slice(entry.frame.offset, entry.frame.end),
      deliveries: handOuts(delivery),
      reason,
      error: typeof error === "string" ? error : undefined,
      diedAt: Date.now(),
    });
    await this.deleteDead(state, priority, sequence, sequence + 1);
  }

  /**
   * Puts a dead letter at the end of its priority, as new.
   * @param {MailboxState} state @param {number} number @param {Uint8Array<ArrayBuffer>} id
   * @throws {Unreadable}
   * @throws {ValueUnavailable}
   */
  async redrive(state, number, id) {
    const [letter] = await this.values("dead", [state.number, number]);
    this.moves();
    if (isLetter(letter)) await this.discard(state, number, id);
    else throw new Unreadable({ priority: DEAD, sequence: number });
    const frame = named(letter.frame, id);
    await this.openToAppend(state);
    this.append(state, frame, frameAt(viewOf(frame), 0));
  }

  /**
   * Deletes a dead letter.
   * @param {MailboxState} state @param {number} number @param {Uint8Array<ArrayBuffer>} id
   * @returns {Promise<boolean>} false if something else did
   */
  async discard(state, number, id) {
    const dead = this.store("dead");
    if ((await result(dead.getKey([state.number, number]))) === undefined) {
      await this.recountDead(state);
      return false;
    }
    state.deadLetters -= 1;
    dead.delete([state.number, number]);
    this.store("ids").delete([state.number, id]);
    return true;
  }

  /** Puts the count of dead letters right, and forgets the ids of those that something else deleted. @param {MailboxState} state */
  async recountDead(state) {
    const keys = await result(this.store("dead").getAllKeys(keysOf(state)));
    const numbers = keys.flatMap((key) => numberOfLetter(key) ?? []);
    state.deadLetters = numbers.length;
    state.nextDeadLetter = Math.max(state.nextDeadLetter, (numbers.at(-1) ?? -1) + 1);
    await this.#forgetDeadIds(state, new Set(numbers));
  }

  /**
   * Makes a dead letter of what cannot be read: of the messages of a segment from a message on, of what lies where their
   * segment should be, or of what was a dead letter. What is whole is as it was.
   * @param {MailboxState} state @param {Place} place
   * @throws {ValueUnavailable} nothing was deleted
   */
  async salvage(state, { priority, sequence }) {
    this.unload(state);
    this.cache.clear();
    if (priority === DEAD) return this.#salvageLetter(state, sequence);
    // if it is the message's page, that is seen to as it is opened
    await this.openBetween(state, priority, sequence, sequence + 1);
    if (state.deliveryOf({ priority, sequence }) === undefined) return undefined;
    const { own, others } = await this.#segmentKeysOf(state, priority, sequence);
    const segments = this.store("segments");
    if (others.length > 0) {
      // with these out of the way the message may well be there
      for (const key of others) {
        const [value] = await this.values("segments", key);
        this.#addSalvaged(state, priority, value, "0 message(s) could not be read: something else is in the store");
        segments.delete(key);
      }
      return undefined;
    }
    const { next } = state.lanes[priority];
    if (own.key !== undefined) {
      const [value] = await this.values("segments", own.key);
      const lost = await this.run(state, state.removeBetween(priority, sequence, Math.min(own.last + 1, next)));
      this.#forgetErrors(state, priority, sequence, own.last + 1);
      this.#addSalvaged(state, priority, value, `${lost} message(s) could not be read: something else wrote into the store`);
      if (!(await this.#hasLiving(state, priority, own))) segments.delete(own.key);
    } else {
      // the numbers up to the next segment are gone too
      const to = Math.min(own.first, next);
      const lost = await this.run(state, state.removeBetween(priority, sequence, to));
      this.#forgetErrors(state, priority, sequence, to);
      this.#addSalvaged(state, priority, undefined, `${lost} message(s) could not be read: something else deleted them`);
    }
    return this.#forgetDeadIds(state);
  }

  /**
   * Deletes the segments that have no living message any more, where `from` to `to` (exclusive) just died.
   * @param {MailboxState} state @param {number} priority @param {number} from @param {number} to
   * @returns {Promise<number>} up to where (exclusive) there is no such segment any more
   */
  async deleteDead(state, priority, from, to) {
    this.flush();
    const deleting = this.#deleteDead(state, priority, from, to);
    for (let step = deleting.next(); ; ) {
      if (step.done) return step.value;
      step = deleting.next(await step.value());
    }
  }

  /**
   * As `deleteDead`, where all that it has to look at is at hand.
   * @param {MailboxState} state @param {number} priority @param {number} from @param {number} to @returns {number}
   */
  deleteDeadAtHand(state, priority, from, to) {
    const step = this.#deleteDead(state, priority, from, to).next();
    if (!step.done) throw new Error("a segment or a page is not in memory");
    return step.value;
  }

  /**
   * Yields what has to be waited for.
   * @param {MailboxState} state @param {number} priority @param {number} from @param {number} to
   * @returns {Generator<() => Promise<any>, number, any>}
   */
  *#deleteDead(state, priority, from, to) {
    const boundsOf = (/** @type {number} */ sequence) =>
      this.segmentAtHand(state, priority, sequence) ?? (() => this.#readBounds(state, priority, sequence));
    const hasLiving = (/** @type {{first: number, last: number}} */ { first, last }) =>
      state.pages.lacking(priority, first, last + 1).length > 0
        ? () => this.#hasLiving(state, priority, { first, last })
        : state.pages.hasLiving(priority, first, last + 1);
    let seenTo = to;
    let found = boundsOf(from);
    /** @type {{first: number, last: number} | undefined} */
    const head = typeof found === "function" ? yield found : found;
    if (head !== undefined) {
      const lives = hasLiving(head);
      if (typeof lives === "function" ? yield lives : lives) from = head.last + 1;
    }
    if (from >= to) return from;
    found = boundsOf(to - 1);
    /** @type {{first: number, last: number} | undefined} */
    const tail = typeof found === "function" ? yield found : found;
    if (tail !== undefined) {
      const lives = hasLiving(tail);
      to = (typeof lives === "function" ? yield lives : lives) ? tail.first : tail.last + 1;
      seenTo = tail.last + 1;
    }
    if (from >= to) return seenTo;
    // by its key a single one goes at a third of the price in Chromium's LevelDB store
    const isOne = head !== undefined && head.first === from && head.last === to - 1;
    if (isOne) this.#deleteSegment(state, priority, head);
    else this.#deleteSegments(state, priority, from, to);
    return seenTo;
  }

  /** Writes what is still to be written, and lets the browser commit. @throws {FencedError} */
  async finish() {
    await this.#reserve;
    this.#unloadIfFull();
    if (this.#awaited !== undefined) await result(this.#awaited);
    if ([...this.#absent].some((mailbox) => this.#changed.has(mailbox))) this.store("meta").put(this.#nextNumber, "nextMailbox");
    for (const [mailbox, state] of this.#states) {
      const blind = this.#blind.has(mailbox);
      if (this.#changed.has(mailbox)) {
        state.commitId = this.#commitId;
        this.#rows.set(mailbox, writeRows(() => this.store("pages"), state));
        if (this.#absent.has(mailbox)) this.store("mailboxes").put({ number: state.number }, mailbox);
        if (blind) writeHead(() => this.store("journal"), state);
        else await this.#writeLeases.write((name) => this.store(name), mailbox, state);
      } else {
        // nothing is written that would fail, and what was answered may be of the past
        await this.#checkStillOwn(mailbox);
      }
    }
    commit(this.transaction);
  }

  /**
   * As `finish`, where every operation has changed its mailbox, whose state was at hand.
   *
   * Of what was read in a transaction before, only the head is written: the key of its version could be free again although
   * others have written many since. Then this version is not the last, so it means nothing, and nothing else was done.
   */
  finishAtHand() {
    this.#unloadIfFull();
    // not those that an operation looked at which then did not join
    const changed = [...this.#states].filter(([mailbox]) => this.#changed.has(mailbox));
    if (changed.length === 0) throw new Error("nothing would fail if the state is not the latest");
    if (changed.some(([mailbox]) => !this.#blind.has(mailbox))) return this.#finishHead(changed);
    for (const [mailbox, state] of changed) {
      state.commitId = this.#commitId;
      this.#rows.set(mailbox, writeRows(() => this.store("pages"), state));
      writeHead(() => this.store("journal"), state);
    }
    commit(this.transaction, this.#asked === 1);
  }

  /** @param {[string, MailboxState][]} changed */
  #finishHead(changed) {
    const [[mailbox, state], another] = changed;
    if (another !== undefined) throw new NotHeadOnly();
    state.commitId = this.#commitId;
    if (state.pack().length > 0 || this.#asked > 0) throw new NotHeadOnly();
    const added = this.#writeLeases.writeUnsealed((name) => super.store(name), mailbox, state);
    const last = super.store("journal").openKeyCursor(versionsOf(state.number), "prev");
    this.#head = { key: [state.number, state.version], added, last };
    // if the write fails, there is nothing else
    commit(this.transaction, true);
  }

  /** Whether the head that was written is the last version of its state, once the transaction is complete. */
  get isLast() {
    return this.#head === undefined || /** @type {any} */ (this.#head.last.result?.key)?.[1] === this.#head.key[1];
  }

  /** Whether nothing but a head was written, which is the last version or means nothing. */
  get isHeadOnly() {
    return this.#head !== undefined;
  }

  /** Whether that was all, and failed. */
  get failedWhole() {
    return this.#head?.added.readyState === "done" && this.#head.added.error !== null;
  }

  /**
   * Deletes the head that another transaction wrote, which is not the last version and so means nothing.
   * @param {WriteTransaction} fenced
   */
  async deleteHeadOf(fenced) {
    if (fenced.#head === undefined) return;
    const { key } = fenced.#head;
    const journal = this.store("journal");
    const [stored, last] = await Promise.all([result(journal.get(key)), lastVersion(journal, key[0])]);
    if (stored?.commitId === fenced.#commitId && last !== undefined && last.version > key[1]) journal.delete(key);
  }

  /** Makes sure that a state that came from memory is the latest. @param {string} mailbox @throws {FencedError} */
  async #checkStillOwn(mailbox) {
    if (!this.#blind.has(mailbox)) return;
    const state = /** @type {MailboxState} */ (this.#states.get(mailbox));
    if (!(await isLastVersion(this.store("journal"), state))) throw new FencedError();
  }

  /**
   * Whether what this transaction wrote is to be seen; undefined if it was overwritten, or may have been.
   * @param {ReadTransaction} reading after the transaction
   */
  async isIn(reading) {
    const [mailbox] = this.#changed;
    if (mailbox === undefined) {
      // deleted is deleted, whoever did it
      return this.#deleted !== undefined && (await result(reading.store("mailboxes").getKey(this.#deleted))) === undefined;
    }
    const { number, version } = /** @type {MailboxState} */ (this.#states.get(mailbox));
    const journal = reading.store("journal");
    const [stored, last] = await Promise.all([result(journal.get([number, version])), lastVersion(journal, number)]);
    if (stored !== undefined) {
      if (stored?.commitId !== this.#commitId) return false;
      return this.isHeadOnly && last?.version !== version ? undefined : true;
    }
    return last === undefined || last.version < version ? false : undefined;
  }

  /**
   * Undoes what another transaction did, which is complete although one of its requests failed: what it appended is not there,
   * and what it handed out goes back. A mailbox that somebody else has written to since is left as it is: what is not whole
   * there becomes a dead letter when it is read.
   * @param {WriteTransaction} broken
   */
  async undo(broken) {
    for (const mailbox of broken.#changed) {
      const then = broken.#states.get(mailbox);
      const { number = then?.number } = (await result(this.store("mailboxes").get(mailbox))) ?? {};
      const { commitId = 0 } = /** @type {any} */ ((await lastVersion(this.store("journal"), number ?? 0))?.stored) ?? {};
      const wasWritten = commitId === broken.#commitId;
      const isLast = wasWritten || commitId === broken.#commitIdsBefore.get(mailbox);
      if (then === undefined || !isLast || then.number !== number) continue;
      // any of these may be what failed, and no state can be told without them
      for (const { key, bytes, before } of broken.#rows.get(mailbox) ?? []) {
        const right = wasWritten ? bytes : before;
        if (right !== undefined) this.store("pages").put(right, [number, ...key]);
      }
      const state = await this.state(mailbox);
      if (then.number !== state.number) continue;
      // what was taken out of the head is in the store, or in the head as before
      for (const [number, priority, segment] of broken.#written) {
        if (number !== state.number) continue;
        if (wasWritten) this.#putSegment(state, priority, segment);
        else this.store("segments").delete([number, priority, segment.last, segment.first]);
      }
      for (const { from, holder, places } of broken.#handedOut) {
        if (from !== then) continue;
        this.announce(mailbox, undefined, [], places.length);
        for (const place of places) {
          await this.openBetween(state, place.priority, place.sequence, place.sequence + 1);
          state.release(holder, place);
        }
      }
      for (const [number, priority, segment] of broken.#appended) {
        if (number === state.number) await this.#removeSegment(state, priority, segment);
      }
      await this.recountDead(state);
      this.changed(mailbox);
    }
  }

  /** Removes all messages of a segment, and itself, as far as they are there. @param {MailboxState} state @param {number} priority @param {Segment} segment */
  async #removeSegment(state, priority, segment) {
    await this.openBetween(state, priority, segment.first, segment.last + 1);
    for (let sequence = segment.first; sequence <= segment.last; sequence++) {
      const frame = segment.frameOf(sequence);
      const id = idIn(segment.bytes, frame);
      this.remove(state, { priority, sequence }, id);
      if (frame.named) this.store("ids").delete([state.number, id]);
    }
    await this.deleteDead(state, priority, segment.first, segment.last + 1);
  }

  /** To be called once the transaction is complete. */
  completed() {
    for (const mailbox of this.#changed) {
      const state = /** @type {MailboxState} */ (this.#states.get(mailbox));
      state.pages.trim();
      this.#writeLeases.committed(mailbox, state, this.#began);
    }
    for (const [mailbox, priority, segment] of this.#written) this.cache.add(mailbox, priority, segment);
    for (const done of this.returned.values()) done();
  }

  #keepReserve() {
    this.#reserve ??= this.#putReserveBack();
    this.#reserve.catch(() => {
      // the transaction fails with it
    });
  }

  async #putReserveBack() {
    const meta = this.store("meta");
    if ((await result(meta.getKey("reserve"))) === undefined) meta.put(newReserve(), "reserve");
  }

  /** @returns {Promise<number>} */
  async #readNextNumber() {
    const next = await result(this.store("meta").get("nextMailbox"));
    if (isCount(next) && next > 0 && (await lastVersion(this.store("journal"), next)) === undefined) return next;
    // this is the first, or something else changed the record: then the numbers that are in use tell
    const states = await result(this.store("mailboxes").getAll());
    const used = states.flatMap((state) => (isCount(state?.number) ? [state.number] : []));
    for (const store of STORES_BY_MAILBOX) {
      const last = await result(this.store(store).openKeyCursor(IDBKeyRange.bound([0], [Infinity, []]), "prev"));
      if (last !== null) used.push(Math.ceil(/** @type {number[]} */ (last.key)[0]));
    }
    return Math.max(0, ...used) + 1;
  }

  /** Adds a dead letter, the newest. @param {MailboxState} state @param {import("../model/types.js").StoredDeadLetter & {id: Uint8Array<ArrayBuffer>}} letter */
  addDeadLetter(state, letter) {
    const number = state.nextDeadLetter++;
    state.deadLetters += 1;
    this.#putLetter(state, number, letter);
  }

  /** @param {MailboxState} state @param {number} number @param {import("../model/types.js").StoredDeadLetter & {id: Uint8Array<ArrayBuffer>}} letter */
  #putLetter(state, number, letter) {
    this.moves();
    const bytes = letter.frame.length + bytesOfText(letter.reason) + bytesOfText(letter.error ?? "");
    this.#put("dead", letter, [state.number, number], bytes);
    this.store("ids").put([DEAD, number], [state.number, letter.id]);
  }

  /** Stores what may be large. @param {string} store @param {unknown} value @param {IDBValidKey} key @param {number} bytes its size, about */
  #put(store, value, key, bytes) {
    const request = this.store(store).put(value, key);
    if (bytes >= LARGE_VALUE || this.#moves) this.#awaited = request;
  }

  /**
   * Deletes the ids of all messages that live no more and are no dead letters.
   * @param {MailboxState} state @param {Set<number>} [letters] the dead letters that there are, if that is to be looked at
   */
  async #forgetDeadIds(state, letters) {
    const ids = this.store("ids");
    if (state.customIds + state.deadLetters === 0) {
      ids.delete(keysOf(state));
      return;
    }
    const [keys, values] = await Promise.all([result(ids.getAllKeys(keysOf(state))), result(ids.getAll(keysOf(state)))]);
    const rows = values.map((value, i) => ({ key: keys[i], value, place: placeIn(value) }));
    for (const { place } of rows) {
      if (place !== undefined) await this.openBetween(state, place.priority, place.sequence, place.sequence + 1);
    }
    const isDead = (/** @type {{place: Place | undefined}} */ { place }) =>
      place === undefined ||
      (place.priority === DEAD ? letters?.has(place.sequence) === false : state.deliveryOf(place) === undefined);
    const dead = rows.filter(isDead);
    if (dead.length > FEW_IDS && dead.length > rows.length / 2) {
      // what stays is put back, which is less work than to delete the others one by one
      this.moves();
      ids.delete(keysOf(state));
      for (const { key, value } of rows.filter((row) => !isDead(row))) this.#put("ids", value, key, 0);
    } else {
      for (const { key } of dead) ids.delete(key);
    }
  }

  /** Deletes what nacks said of messages of a lane. @param {MailboxState} state @param {number} priority @param {number} from @param {number} to exclusive */
  #forgetErrors({ number }, priority, from, to) {
    if (from >= to) return;
    this.store("errors").delete(IDBKeyRange.bound([number, priority, from], [number, priority, to], false, true));
  }

  /** Makes a dead letter of what cannot be read. @param {MailboxState} state @param {number} priority @param {unknown} value @param {string} reason */
  #addSalvaged(state, priority, value, reason) {
    this.addDeadLetter(state, salvagedLetter(priority, value, reason));
  }

  /** Makes a dead letter, in its place, of what was one. @param {MailboxState} state @param {number} number */
  async #salvageLetter(state, number) {
    const key = [state.number, number];
    const dead = this.store("dead");
    const isThere = (await result(dead.getKey(key))) !== undefined;
    const [value] = await this.values("dead", key);
    dead.delete(key);
    await this.recountDead(state);
    if (!isThere) return;
    state.deadLetters += 1;
    this.#putLetter(state, number, salvagedLetter(0, value, "a dead letter that could not be read: something else wrote into the store"));
  }

  /**
   * What lies where a message's segment should be.
   * @param {MailboxState} state @param {number} priority @param {number} sequence
   * @returns {Promise<{own: {key: IDBValidKey | undefined, first: number, last: number}, others: IDBValidKey[]}>} `own`, its segment, or
   * without a key the bounds of the next one; `others`, keys before it that are in the way
   */
  async #segmentKeysOf(state, priority, sequence) {
    const keys = await result(this.store("segments").getAllKeys(laneRange(state, priority, sequence), SEGMENT_MESSAGES));
    const all = keys.map((key) => ({ key, ...(Segment.boundsIn(key) ?? { first: NaN, last: NaN }) }));
    const candidates = all.filter(({ first }) => first <= sequence);
    for (const own of candidates) {
      const others = keys.slice(0, all.indexOf(own));
      /** @type {unknown} */
      let value;
      try {
        [value] = await this.values("segments", own.key);
      } catch (error) {
        if (!(error instanceof ValueUnavailable)) throw error;
        // by all that can be told it is the one
        return { own, others };
      }
      const segment = Segment.from(value);
      if (segment !== undefined && segment.first <= sequence && segment.last >= sequence && own !== all[0]) return { own, others };
    }
    const own = candidates[0] ?? { ...(all.find(({ first }) => first > sequence) ?? { first: Infinity, last: Infinity }), key: undefined };
    return { own, others: all.filter(({ first }) => Number.isNaN(first)).map(({ key }) => key) };
  }

  /** @param {MailboxState} state */
  #writersOf(state) {
    let writers = this.#writers.get(state);
    if (writers === undefined) {
      writers = state.lanes.map(
        (_, priority) =>
          new SegmentWriter((segment) => {
            this.#appended.push([state.number, priority, segment]);
            if (segment.bytes.length <= CARRIED_SEGMENT) state.lanes[priority].carried.push(segment);
            else this.#putSegment(state, priority, segment);
          }),
      );
      this.#writers.set(state, writers);
    }
    return writers;
  }

  /** @param {MailboxState} state @param {number} priority @param {Segment} segment */
  #putSegment(state, priority, segment) {
    const lane = state.lanes[priority];
    this.#put("segments", segment.bytes, [state.number, priority, segment.last, segment.first], segment.bytes.length);
    lane.largestSegment = Math.max(lane.largestSegment, segment.bytes.length);
    this.#written.push([state.number, priority, segment]);
  }

  /** Moves the segments in the head to the store, neighbours as one. @param {MailboxState} state */
  unload(state) {
    this.flush();
    for (const [priority, segments] of state.lanes.map((lane) => lane.takeCarried()).entries()) {
      const writer = new SegmentWriter((segment) => this.#putSegment(state, priority, segment));
      for (const segment of segments) {
        for (let sequence = segment.first; sequence <= segment.last; sequence++) writer.append(sequence, segment.bytesOf(sequence));
      }
      writer.flush();
    }
  }

  #unloadIfFull() {
    this.flush();
    for (const [mailbox, state] of this.#states) if (this.#changed.has(mailbox) && state.carriedBytes > CARRIED) this.unload(state);
  }

  /**
   * Pages of a state that cannot be read, though they should be there: their messages become dead letters, and the counts
   * are put right.
   * @override @param {MailboxState} state @param {import("../model/page-directory.js").PageEntry[]} lost
   */
  async losePages(state, lost) {
    const mailbox = [...this.#states].find(([, known]) => known === state)?.[0];
    if (mailbox !== undefined) this.unload(state);
    else throw new Unreadable({ priority: lost[0].priority, sequence: state.pages.numbersOf(lost[0]).from });
    // what is in memory may be old, and then so is what it says of the pages
    await this.#checkStillOwn(mailbox);
    // another call of this transaction may be at it already
    const entries = lost.filter((entry) => state.pages.has(entry));
    if (entries.length === 0) return;
    for (const entry of entries) state.pages.remove(entry);
    await this.open(state, state.pages.allLacking());
    state.pages.recount();
    this.changed(mailbox);
    for (const entry of entries) await this.#buryAllOf(state, entry.priority, state.pages.numbersOf(entry));
  }

  /**
   * Makes dead letters of the messages of a page that cannot be read: of all that are still there, since nothing tells which
   * of them were done with.
   * @param {MailboxState} state @param {number} priority @param {{from: number, to: number}} numbers
   */
  async #buryAllOf(state, priority, { from, to }) {
    this.flush();
    const reason = "The record of where it stood could not be read: something else wrote into the store. It may have been handled before.";
    for (const { key, first, last } of await this.#segmentsOf(state, priority, from, to)) {
      if (key === undefined) continue;
      const [value] = await this.values("segments", key);
      const segment = Segment.from(value);
      const living = await this.#hasLiving(state, priority, { first, last });
      if (segment === undefined && !living) {
        this.#addSalvaged(state, priority, value, `0 message(s) could not be read: something else wrote into the store`);
      }
      for (let sequence = Math.max(from, first); segment !== undefined && sequence < to && sequence <= segment.last; sequence++) {
        const frame = segment.frameOf(sequence);
        const id = new Uint8Array(ID_BYTES);
        if (frame.named) id.set(idIn(segment.bytes, frame));
        else writeId(viewOf(id), 0, state.idBase, priority, sequence);
        const [place, error] = await Promise.all([
          result(this.store("ids").get([state.number, id])).then(placeIn),
          result(this.store("errors").get([state.number, priority, sequence])),
        ]);
        // only a message that lives has its id here if its sender gave it, and otherwise only one that is no more
        const isHere = place?.priority === priority && place.sequence === sequence;
        if (frame.priority !== priority || (frame.named ? !isHere : place !== undefined)) continue;
        this.addDeadLetter(state, {
          id,
          frame: segment.bytes.slice(frame.offset, frame.end),
          deliveries: 0,
          reason,
          error: typeof error === "string" ? error : undefined,
          diedAt: Date.now(),
        });
      }
      if (!living) this.#deleteSegment(state, priority, { key, first, last });
    }
    this.#forgetErrors(state, priority, from, to);
  }

  /** Deletes all segments of a lane whose last number is in `from` to `to` (exclusive). @param {MailboxState} state @param {number} priority @param {number} from @param {number} to */
  #deleteSegments(state, priority, from, to) {
    if (from >= to) return;
    const { number } = state;
    const first = state.lanes[priority].firstNotCarried(from);
    state.lanes[priority].dropCarried(from, to);
    if (first >= to) return;
    this.store("segments").delete(IDBKeyRange.bound([number, priority, from], [number, priority, to - 1, Infinity]));
    this.cache.drop(number, priority, from, to);
  }

  /**
   * Deletes the segments of some numbers that have no living message any more.
   * @param {MailboxState} state @param {number} priority @param {{from: number, to: number}} numbers
   * @returns {Promise<number>} the number after the last of these segments
   */
  async #deleteDeadOf(state, priority, { from, to }) {
    let end = to;
    for (const segment of await this.#segmentsOf(state, priority, from, to)) {
      end = Math.max(end, segment.last + 1);
      if (!(await this.#hasLiving(state, priority, segment))) this.#deleteSegment(state, priority, segment);
    }
    return end;
  }

  /** The segments that reach into some numbers; those in the store by their keys. @param {MailboxState} state @param {number} priority @param {number} from @param {number} to */
  async #segmentsOf({ number, lanes }, priority, from, to) {
    const range = IDBKeyRange.bound([number, priority, from], [number, priority, to - 1 + SEGMENT_MESSAGES, Infinity]);
    const keys = await result(this.store("segments").getAllKeys(range));
    const bounds = keys.map((key) => ({ key, ...(Segment.boundsIn(key) ?? { first: Infinity, last: Infinity }) }));
    const carried = lanes[priority].carried.filter(({ last }) => last >= from);
    return [...bounds, ...carried.map(({ first, last }) => ({ key: undefined, first, last }))].filter(({ first }) => first < to);
  }

  /** @param {MailboxState} state @param {number} priority @param {{key?: IDBValidKey, first: number, last: number}} segment */
  #deleteSegment(state, priority, { key, first, last }) {
    const { number } = state;
    if (key === undefined && state.lanes[priority]?.carriedSegment(last) !== undefined) {
      state.lanes[priority].dropCarried(last, last + 1);
      return;
    }
    this.store("segments").delete(key ?? [number, priority, last, first]);
    this.cache.drop(number, priority, last, last + 1);
  }

  /** Whether any message of a segment lives. @param {MailboxState} state @param {number} priority @param {{first: number, last: number}} segment */
  async #hasLiving(state, priority, { first, last }) {
    const lacking = state.pages.lacking(priority, first, last + 1);
    if (lacking.length > 0) await this.open(state, lacking);
    return state.pages.hasLiving(priority, first, last + 1);
  }

  /** First and last number of the segment in the store that holds a message, dead or alive. @param {MailboxState} state @param {number} priority @param {number} sequence */
  async #readBounds(state, priority, sequence) {
    const key = await result(this.store("segments").getKey(laneRange(state, priority, sequence)));
    if (key === undefined) return undefined;
    const { first, last } = Segment.boundsIn(key) ?? (await this.#segmentKeysOf(state, priority, sequence)).own;
    return first <= sequence ? { first, last } : undefined;
  }
}

/** Thrown where more is to be written than the head of a state that was read in a transaction before. */
export class NotHeadOnly extends Error {}

/** Bytes of a text in the database, at most. @param {string} text */
const bytesOfText = (text) => 2 * text.length;

/** All keys of a mailbox in a store whose keys begin with its number. @param {MailboxState} state */
export const keysOf = (state) => IDBKeyRange.bound([state.number], [state.number, []]);
