/**
 * One readwrite transaction, as the operations that share it see it.
 *
 * Operations run one after the other, each on what the ones before it left, and may await this class's methods but
 * nothing else. What they did is true once the transaction is complete.
 */

import { STORES_BY_MAILBOX, commit, newReserve, result } from "./database.js";
import { MailboxError } from "./errors.js";
import { INFLIGHT, frameAt, idIn, named, viewOf } from "./frames.js";
import { deliveries, failures, isNamed } from "./history.js";
import { ID_BYTES, writeId } from "./ids.js";
import { Reading, Unreadable, laneRange } from "./reading.js";
import { DEAD, delayedIn, isLetter, numberOfLetter, placeIn, salvagedLetter } from "./rows.js";
import { SEGMENT_MESSAGES, Segment, SegmentWriter } from "./segments.js";
import { MailboxState, isCount } from "./state.js";
import { Stale } from "./tenures.js";

/** @typedef {import("./types.js").LaneRun} LaneRun */
/** @typedef {import("./types.js").Place} Place */
/** @typedef {import("./types.js").Frame} Frame */
/** @typedef {import("./coordination/notifier.js").Listener} Listener */

/** Delayed messages that one commit lets fall due; the rest follows with the next. */
const FALLING_DUE = 1000;

/**
 * Bytes of a value from which on it is waited for before the transaction is asked to commit. Chromium refuses what is above
 * 127 MiB in the page; the database never hears of such a request, and would commit all the others.
 */
const LARGE_VALUE = 16 * 1024 * 1024;

export class Commit extends Reading {
  /** What is to be heard once it is committed, by mailbox. @type {Map<string, {depth: number | undefined, informed: Listener[], count: number}>} */
  news = new Map();

  /** What is to be done after it, by handles that gave back in it what they owed. @type {Map<object, () => void>} */
  returned = new Map();

  /** @type {Map<string, MailboxState>} */
  #states = new Map();
  /** Mailboxes whose state is to be written. @type {Set<string>} */
  #changed = new Set();
  /** Mailboxes whose state came from memory. @type {Set<string>} */
  #blind = new Set();
  #tenures;
  #readFirst;
  /** @type {Map<MailboxState, SegmentWriter[]>} */
  #writers = new Map();
  /** @type {[number, number, Segment][]} */
  #written = [];
  /** Marks the states that this transaction writes. */
  #mark = Math.random();
  /** Their marks before. @type {Map<string, number>} */
  #marksBefore = new Map();
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
   * @param {IDBTransaction} transaction @param {import("./segments.js").SegmentCache} cache
   * @param {import("./losses.js").Losses} losses @param {import("./tenures.js").Tenures} tenures
   * @param {boolean} readFirst whether no state may come from memory
   */
  constructor(transaction, cache, losses, tenures, readFirst) {
    super(transaction, cache, losses);
    this.#tenures = tenures;
    this.#readFirst = readFirst;
  }

  /** The state of a mailbox; one that is not there has an empty one, and is made if that is changed. @param {string} mailbox */
  async state(mailbox) {
    const known = this.#states.get(mailbox);
    if (known !== undefined) return known;
    const own = this.#readFirst ? undefined : this.#tenures.get(mailbox);
    if (own !== undefined) {
      this.#blind.add(mailbox);
      this.#states.set(mailbox, own);
      this.#marksBefore.set(mailbox, own.mark);
      return own;
    }
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
    this.#marksBefore.set(mailbox, state.mark);
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

  /** Whether a mailbox is there, without making it. @param {string} mailbox */
  async exists(mailbox) {
    if (this.#states.has(mailbox)) return !this.#absent.has(mailbox) || this.#changed.has(mailbox);
    return (await result(this.store("mailboxes").getKey(mailbox))) !== undefined;
  }

  /** Deletes a mailbox with all that is in it. @param {string} mailbox @throws {Stale} */
  async deleteMailbox(mailbox) {
    /** @type {MailboxState} */
    let state;
    try {
      state = await this.state(mailbox);
    } catch (error) {
      if (!(error instanceof MailboxError) || error.name !== "StorageCorruptError") throw error;
      // its number cannot be read, and with it which rows are its own
      this.store("mailboxes").delete(mailbox);
      return;
    }
    // no write follows that would fail where another context has written since
    await this.#checkStillOwn(mailbox);
    this.#writers.delete(state);
    this.#states.delete(mailbox);
    this.#changed.delete(mailbox);
    this.#tenures.delete(this.store("mailboxes"), mailbox, state);
    for (const store of STORES_BY_MAILBOX) this.store(store).delete(keysOf(state));
  }

  /**
   * Appends a message to its lane.
   * @param {MailboxState} state @param {Uint8Array} bytes @param {Frame} frame in `bytes`
   * @param {number} [past] its history; if left out, it was never handed out
   * @returns {number} its sequence number
   */
  append(state, bytes, frame, past) {
    const { priority, due } = frame;
    const delayed = due > Date.now();
    const sequence = state.append(priority, frame.named, delayed, past);
    if (frame.named) this.store("ids").put([priority, sequence], [state.number, idIn(bytes, frame)]);
    if (delayed) this.#remember(state, due, { priority, sequence });
    this.#writersOf(state)[priority].append(sequence, bytes.subarray(frame.offset, frame.end));
    return sequence;
  }

  /** Passes over places whose ids are in use, given by senders. @param {MailboxState} state @param {number} priority */
  async skipGivenIds(state, priority) {
    const lane = state.lanes[priority];
    const id = new Uint8Array(ID_BYTES);
    for (;;) {
      writeId(viewOf(id), 0, state.idBase, priority, lane.next);
      if ((await result(this.store("ids").getKey([state.number, id]))) === undefined) return;
      lane.next += 1;
    }
  }

  /** Puts a queued message off until it is due. @param {MailboxState} state @param {Place} place @param {number} due */
  delay(state, place, due) {
    state.delay(place);
    this.#remember(state, due, place);
  }

  /** Lets delayed messages fall due; true if the state was changed. @param {MailboxState} state */
  async letFallDue(state) {
    const now = Date.now();
    if (state.nextDue > now) return false;
    const delayed = this.store("delayed");
    const keys = await result(delayed.getAllKeys(keysOf(state), FALLING_DUE + 1));
    state.nextDue = Infinity;
    /** @type {Set<string>} */
    const later = new Set();
    for (const [i, key] of keys.entries()) {
      const found = delayedIn(key);
      if (found !== undefined && (found.due > now || i === FALLING_DUE)) {
        state.nextDue = Math.min(state.nextDue, found.due);
        later.add(`${found.place.priority}/${found.place.sequence}`);
        continue;
      }
      if (found !== undefined) state.fallDue(found.place);
      delayed.delete(key);
    }
    // a message whose due time something else deleted is due now
    if (keys.length <= FALLING_DUE) {
      for (const { priority, from, to } of state.delayedRuns()) {
        for (let sequence = from; sequence < to; sequence++) {
          if (!later.has(`${priority}/${sequence}`)) state.fallDue({ priority, sequence });
        }
      }
    }
    return true;
  }

  /** Writes what was appended and not yet written, so that it can be read. */
  flush() {
    for (const writers of this.#writers.values()) for (const writer of writers) writer.flush();
  }

  /** Keeps what a nack said. @param {MailboxState} state @param {Place} place @param {string} error */
  keepError(state, { priority, sequence }, error) {
    this.#put("errors", error, [state.number, priority, sequence], bytesOfText(error));
  }

  /** To be called by whoever hands messages out. @param {MailboxState} from @param {string} holder @param {Place[]} places */
  handedOut(from, holder, places) {
    this.#handedOut.push({ from, holder, places });
  }

  /**
   * Removes a message, wherever it is, with all that is known of it but its bytes; see `deleteDead`.
   * @param {MailboxState} state @param {Place} place @param {Uint8Array<ArrayBuffer>} id @param {string} [likelyHolder]
   * @returns {boolean} false if there is no such message
   */
  remove(state, place, id, likelyHolder) {
    const history = state.remove(place, likelyHolder);
    if (history === undefined) return false;
    if (isNamed(history)) this.store("ids").delete([state.number, id]);
    if (failures(history) > 0) this.#forgetErrors(state, place.priority, place.sequence, place.sequence + 1);
    return true;
  }

  /** Removes all queued messages. @param {MailboxState} state @returns {Promise<number>} how many there were */
  async removeQueued(state) {
    const dead = state.removeQueued();
    this.store("delayed").delete(keysOf(state));
    for (const { priority, from, to, history } of dead) {
      if (failures(history) > 0) this.#forgetErrors(state, priority, from, to);
      await this.deleteDead(state, priority, from, to);
    }
    if (dead.some(({ history }) => isNamed(history))) await this.#forgetDeadIds(state);
    return dead.reduce((count, { from, to }) => count + to - from, 0);
  }

  /**
   * Moves a living message to the dead letters.
   * @param {MailboxState} state @param {Place} place @param {number} history @param {string} reason
   */
  async bury(state, place, history, reason) {
    const { priority, sequence } = place;
    this.flush();
    const errorKey = [state.number, priority, sequence];
    const run = { priority, from: sequence, to: sequence + 1, history };
    const [[entry], error] = await Promise.all([
      this.entries(state, [run], INFLIGHT),
      result(this.store("errors").get(errorKey)),
    ]);
    const id = new Uint8Array(ID_BYTES);
    if (entry.frame.named) id.set(idIn(entry.bytes, entry.frame));
    else entry.writeIdTo(viewOf(id), 0);
    state.remove(place);
    this.store("errors").delete(errorKey);
    this.addDeadLetter(state, {
      id,
      frame: entry.bytes.slice(entry.frame.offset, entry.frame.end),
      deliveries: deliveries(history),
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
   */
  async redrive(state, number, id) {
    const [letter] = await this.values("dead", [state.number, number]);
    this.moves();
    if (isLetter(letter)) await this.discard(state, number, id);
    else throw new Unreadable({ priority: DEAD, sequence: number });
    const frame = named(letter.frame, id);
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
    state.dead -= 1;
    dead.delete([state.number, number]);
    this.store("ids").delete([state.number, id]);
    return true;
  }

  /** Puts the count of dead letters right, and forgets the ids of those that something else deleted. @param {MailboxState} state */
  async recountDead(state) {
    const keys = await result(this.store("dead").getAllKeys(keysOf(state)));
    const numbers = keys.flatMap((key) => numberOfLetter(key) ?? []);
    state.dead = numbers.length;
    state.nextDead = Math.max(state.nextDead, (numbers.at(-1) ?? -1) + 1);
    await this.#forgetDeadIds(state, new Set(numbers));
  }

  /**
   * Makes a dead letter of what cannot be read: of the messages of a segment from a message on, of what lies where their
   * segment should be, or of what was a dead letter. What is whole is as it was.
   * @param {MailboxState} state @param {Place} place
   */
  async salvage(state, { priority, sequence }) {
    this.flush();
    this.cache.clear();
    if (priority === DEAD) return this.#salvageLetter(state, sequence);
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
      const lost = state.removeBetween(priority, sequence, Math.min(own.last + 1, next));
      this.#forgetErrors(state, priority, sequence, own.last + 1);
      const [value] = await this.values("segments", own.key);
      const why = value === undefined ? "the browser has lost them" : "something else wrote into the store";
      this.#addSalvaged(state, priority, value, `${lost} message(s) could not be read: ${why}`);
      if (!state.hasLiving(priority, own.first, own.last + 1)) segments.delete(own.key);
    } else {
      // the numbers up to the next segment are gone too
      const to = Math.min(own.first, next);
      const lost = state.removeBetween(priority, sequence, to);
      this.#forgetErrors(state, priority, sequence, to);
      this.#addSalvaged(state, priority, undefined, `${lost} message(s) could not be read: something else deleted them`);
    }
    return this.#forgetDeadIds(state);
  }

  /**
   * Deletes the segments that have no living message any more, where `from` to `to` (exclusive) just died.
   * @param {MailboxState} state @param {number} priority @param {number} from @param {number} to
   */
  async deleteDead(state, priority, from, to) {
    this.flush();
    const head = await this.#boundsOf(state, priority, from);
    if (head !== undefined && state.hasLiving(priority, head.first, head.last + 1)) from = head.last + 1;
    if (from >= to) return;
    const tail = await this.#boundsOf(state, priority, to - 1);
    if (tail !== undefined && state.hasLiving(priority, tail.first, tail.last + 1)) to = tail.first;
    else if (tail !== undefined) to = tail.last + 1;
    if (from >= to) return;
    const { number } = state;
    // by its key a single one goes at a third of the price in Chromium's LevelDB store
    const isOne = head !== undefined && head.first === from && head.last === to - 1;
    const dead = isOne
      ? [number, priority, head.last, head.first]
      : IDBKeyRange.bound([number, priority, from], [number, priority, to - 1, Infinity]);
    this.store("segments").delete(dead);
    this.cache.drop(number, priority, from, to);
  }

  /** Writes what is still to be written, and lets the browser commit. @throws {Stale} */
  async finish() {
    await this.#reserve;
    this.flush();
    if (this.#awaited !== undefined) await result(this.#awaited);
    const mailboxes = this.store("mailboxes");
    if ([...this.#absent].some((mailbox) => this.#changed.has(mailbox))) this.store("meta").put(this.#nextNumber, "nextMailbox");
    for (const [mailbox, state] of this.#states) {
      const blind = this.#blind.has(mailbox);
      if (this.#changed.has(mailbox)) {
        state.mark = this.#mark;
        if (blind) mailboxes.put(state.toStored(), mailbox);
        else this.#tenures.write(mailboxes, mailbox, state);
      } else {
        // nothing is written that would fail, and what was answered may be of the past
        await this.#checkStillOwn(mailbox);
      }
    }
    commit(this.transaction);
  }

  /** Makes sure that a state that came from memory is the latest. @param {string} mailbox @throws {Stale} */
  async #checkStillOwn(mailbox) {
    if (!this.#blind.has(mailbox)) return;
    const stored = await result(this.store("mailboxes").get(mailbox));
    if (stored?.token !== this.#states.get(mailbox)?.token) throw new Stale();
  }

  /**
   * Whether what this transaction wrote is to be seen; undefined if it was overwritten, or may have been.
   * @param {Reading} reading after the transaction
   */
  async isIn(reading) {
    const [mailbox] = this.#changed;
    if (mailbox === undefined) return false;
    const state = await reading.stored(mailbox);
    if (state?.mark === this.#mark) return true;
    return state === undefined || state.mark === this.#marksBefore.get(mailbox) ? false : undefined;
  }

  /**
   * Undoes what another transaction did, which is complete although one of its requests failed: what it appended is not there,
   * and what it handed out goes back. A mailbox that somebody else has written to since is left as it is: what is not whole
   * there becomes a dead letter when it is read.
   * @param {Commit} broken
   */
  async undo(broken) {
    for (const mailbox of broken.#changed) {
      const then = broken.#states.get(mailbox);
      const state = await this.state(mailbox);
      const isLast = state.mark === broken.#mark || state.mark === broken.#marksBefore.get(mailbox);
      if (then === undefined || !isLast || then.number !== state.number) continue;
      for (const { from, holder, places } of broken.#handedOut) {
        if (from === then) for (const place of places) state.release(holder, place);
      }
      for (const [number, priority, segment] of broken.#written) {
        if (number === state.number) await this.#removeSegment(state, priority, segment);
      }
      await this.recountDead(state);
      this.changed(mailbox);
    }
  }

  /** Removes all messages of a segment, and itself, as far as they are there. @param {MailboxState} state @param {number} priority @param {Segment} segment */
  async #removeSegment(state, priority, segment) {
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
    for (const done of this.returned.values()) done();
    for (const mailbox of this.#changed) this.#tenures.committed(mailbox, /** @type {MailboxState} */ (this.#states.get(mailbox)));
    for (const [mailbox, priority, segment] of this.#written) this.cache.add(mailbox, priority, segment);
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
    if (isCount(next) && next > 0) return next;
    // this is the first, or something else took the record away: then the numbers that are in use tell
    const states = await result(this.store("mailboxes").getAll());
    const used = states.flatMap((state) => (isCount(state?.number) ? [state.number] : []));
    for (const store of STORES_BY_MAILBOX) {
      const last = await result(this.store(store).openKeyCursor(IDBKeyRange.bound([0], [Infinity, []]), "prev"));
      if (last !== null) used.push(Math.ceil(/** @type {number[]} */ (last.key)[0]));
    }
    return Math.max(0, ...used) + 1;
  }

  /** @param {MailboxState} state @param {number} due @param {Place} place */
  #remember(state, due, { priority, sequence }) {
    state.nextDue = Math.min(state.nextDue, due);
    this.store("delayed").put(true, [state.number, due, priority, sequence]);
  }

  /** Adds a dead letter, the newest. @param {MailboxState} state @param {import("./types.js").StoredDeadLetter & {id: Uint8Array<ArrayBuffer>}} letter */
  addDeadLetter(state, letter) {
    const number = state.nextDead++;
    state.dead += 1;
    this.#putLetter(state, number, letter);
  }

  /** @param {MailboxState} state @param {number} number @param {import("./types.js").StoredDeadLetter & {id: Uint8Array<ArrayBuffer>}} letter */
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
    const [keys, values] = await Promise.all([result(ids.getAllKeys(keysOf(state))), result(ids.getAll(keysOf(state)))]);
    values.forEach((value, i) => {
      const place = placeIn(value);
      const isDead =
        place === undefined ||
        (place.priority === DEAD ? letters?.has(place.sequence) === false : state.historyOf(place) === undefined);
      if (isDead) ids.delete(keys[i]);
    });
  }

  /** Deletes what nacks said of messages of a lane. @param {MailboxState} state @param {number} priority @param {number} from @param {number} to exclusive */
  #forgetErrors({ number }, priority, from, to) {
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
    const why = value === undefined ? "the browser has lost it" : "something else wrote into the store";
    state.dead += 1;
    this.#putLetter(state, number, salvagedLetter(0, value, `a dead letter that could not be read: ${why}`));
  }

  /**
   * What lies where a message's segment should be.
   * @param {MailboxState} state @param {number} priority @param {number} sequence
   * @returns {Promise<{own: {key: IDBValidKey | undefined, first: number, last: number}, others: IDBValidKey[]}>} `own`, its segment, or
   * without a key the bounds of the next one; `others`, keys before it that are in the way
   */
  async #segmentKeysOf(state, priority, sequence) {
    const segments = this.store("segments");
    const keys = await result(segments.getAllKeys(laneRange(state, priority, sequence), SEGMENT_MESSAGES));
    const all = keys.map((key) => ({ key, ...(Segment.boundsIn(key) ?? { first: NaN, last: NaN }) }));
    const candidates = all.filter(({ first }) => first <= sequence);
    for (const own of candidates) {
      const [value] = await this.values("segments", own.key);
      const segment = Segment.from(value);
      if (segment !== undefined && segment.first <= sequence && segment.last >= sequence && own !== all[0]) {
        return { own, others: keys.slice(0, all.indexOf(own)) };
      }
    }
    const own = candidates[0] ?? { ...(all.find(({ first }) => first > sequence) ?? { first: Infinity, last: Infinity }), key: undefined };
    return { own, others: all.filter(({ first }) => Number.isNaN(first)).map(({ key }) => key) };
  }

  /** @param {MailboxState} state */
  #writersOf(state) {
    let writers = this.#writers.get(state);
    if (writers === undefined) {
      writers = state.lanes.map(
        (lane, priority) =>
          new SegmentWriter((segment) => {
            this.#put("segments", segment.bytes, [state.number, priority, segment.last, segment.first], segment.bytes.length);
            lane.widest = Math.max(lane.widest, segment.bytes.length);
            this.#written.push([state.number, priority, segment]);
          }),
      );
      this.#writers.set(state, writers);
    }
    return writers;
  }

  /** First and last number of the segment that holds a message, dead or alive. @param {MailboxState} state @param {number} priority @param {number} sequence */
  async #boundsOf(state, priority, sequence) {
    const cached = this.cache.find(state.number, priority, sequence);
    if (cached !== undefined) return cached;
    const key = await result(this.store("segments").getKey(laneRange(state, priority, sequence)));
    if (key === undefined) return undefined;
    const { first, last } = Segment.boundsIn(key) ?? (await this.#segmentKeysOf(state, priority, sequence)).own;
    return first <= sequence ? { first, last } : undefined;
  }
}

/** Bytes of a text in the database, at most. @param {string} text */
const bytesOfText = (text) => 2 * text.length;

/** All keys of a mailbox in a store whose keys begin with its number. @param {MailboxState} state */
export const keysOf = (state) => IDBKeyRange.bound([state.number], [state.number, []]);
