/** What can be read in a transaction. Nothing but its methods may be awaited there: the transaction would end. */

import { result } from "../storage/database.js";
import { corrupt } from "../model/errors.js";
import { ID_BYTES, writeId } from "../model/ids.js";
import { handOuts, hasCustomId } from "../model/delivery.js";
import { forgiven } from "../storage/requests.js";
import { DEAD, placeIn } from "../storage/rows.js";
import { Segment } from "../model/segments.js";
import { readState, rowOf } from "../storage/stored-state.js";
import { ValueUnavailable, isReadFailure } from "./unavailable-values.js";

/** The most bytes that one request reads, unless a single message is larger. */
const READ_BYTES = 16 * 1024 * 1024;

/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../model/types.js").LaneRun} LaneRun */
/** @typedef {import("../model/types.js").Place} Place */
/** @typedef {import("../model/types.js").Entry} Entry */
/** @typedef {import("../model/passed-over.js").PassedOver} PassedOver */
/** @typedef {import("../model/page-directory.js").PageEntry} PageEntry */

/** Thrown where the record of a message, of a page of the state or of a dead letter is missing or invalid. */
export class Unreadable extends Error {
  /** @param {Place} place */
  constructor(place) {
    super("a record of messages in IndexedDB cannot be read: something else wrote into the store");
    this.place = place;
  }
}

export class ReadTransaction {
  /**
   * Where a value could not be read; Chromium then aborts the transaction instead of ending it.
   * @type {IDBValidKey | undefined}
   */
  failedToRead;

  /**
   * Pages that were requested, each with whether it can be read.
   * @type {Map<PageEntry, Promise<boolean>> | undefined}
   */
  #opening;

  #begin;
  /** @type {IDBTransaction | undefined} */
  #transaction;

  /**
   * @param {() => IDBTransaction} begin begins the transaction, when it is first needed
   * @param {import("../model/segments.js").SegmentCache} cache
   * @param {import("./unavailable-values.js").UnavailableValues} unavailable
   */
  constructor(begin, cache, unavailable) {
    this.#begin = begin;
    this.cache = cache;
    this.unavailable = unavailable;
  }

  get transaction() {
    return (this.#transaction ??= this.#begin());
  }

  /** Begins the transaction now. */
  begin() {
    this.#transaction ??= this.#begin();
  }

  /** @param {string} name */
  store(name) {
    return this.transaction.objectStore(name);
  }

  /** @param {string} mailbox @returns {Promise<MailboxState | undefined>} */
  async stored(mailbox) {
    const state = await readState(mailbox, (name) => this.store(name));
    if (state !== "unreadable") return state;
    throw corrupt(
      `The record of mailbox ${JSON.stringify(mailbox)} cannot be read: something else wrote into the store. ` +
        "Deleting the mailbox, with all that is in it, makes its name usable again.",
    );
  }

  /**
   * Opens pages of a state.
   * @param {MailboxState} state @param {PageEntry[]} entries
   */
  async open(state, entries) {
    const opened = await Promise.all(entries.map((entry) => this.#open(state, entry)));
    const lost = entries.filter((_, i) => !opened[i]);
    if (lost.length > 0) await this.losePages(state, lost);
  }

  /**
   * Opens the pages without which messages of a lane from `from` to `to` (exclusive) cannot be read or changed.
   * @param {MailboxState} state @param {number} priority @param {number} from @param {number} to
   */
  async openBetween(state, priority, from, to) {
    const lacking = state.pages.lacking(priority, from, to);
    if (lacking.length > 0) await this.open(state, lacking);
  }

  /**
   * Lets the state do something that may need pages, and opens those.
   * @template T @param {MailboxState} state @param {import("../model/page-table.js").Steps<T>} steps
   * @returns {Promise<T>}
   */
  async run(state, steps) {
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      await this.open(state, step.value);
    }
  }

  /**
   * Deals with pages that cannot be read.
   * @param {MailboxState} state @param {PageEntry[]} lost @returns {Promise<void>} @throws {Unreadable}
   */
  async losePages(state, [lost]) {
    throw new Unreadable({ priority: lost.priority, sequence: state.pages.numbersOf(lost).from });
  }

  /** @param {MailboxState} state @param {PageEntry} entry @returns {Promise<boolean>} whether it can be read */
  #open(state, entry) {
    const all = (this.#opening ??= new Map());
    const before = all.get(entry);
    if (before !== undefined) return before;
    const opening = rowOf(this.store("pages"), state, entry).then((row) => state.pages.open(entry, row));
    all.set(entry, opening);
    return opening;
  }

  /**
   * Large values, which the browser may be unable to read at present: those of a range, up to the first unavailable
   * one.
   * @param {string} store @param {IDBKeyRange | IDBValidKey} range @param {number} [count] how many at most
   * @returns {Promise<unknown[]>}
   * @throws {ValueUnavailable} the first value is unavailable
   */
  async values(store, range, count = 1) {
    if (!this.unavailable.isEmpty) {
      const keys = await result(this.store(store).getAllKeys(range, count));
      const unavailable = keys.findIndex((key) => this.unavailable.has(store, key));
      if (unavailable === 0) throw new ValueUnavailable(keys[0]);
      if (unavailable > 0) count = unavailable;
    }
    try {
      return await forgiven(this.store(store).getAll(range, count));
    } catch (error) {
      return this.#oneByOne(store, await this.#confirm(error, () => this.store(store).getAllKeys(range, count)));
    }
  }

  /**
   * Makes sure that it is the value that cannot be read: a lost connection gives the same error, then answers nothing.
   * @template T @param {unknown} error @param {() => IDBRequest<T>} ask @returns {Promise<T>}
   */
  async #confirm(error, ask) {
    if (!isReadFailure(error)) throw error;
    try {
      return await result(ask());
    } catch {
      throw error;
    }
  }

  /**
   * As `values`, for values that were requested together and of which one cannot be read.
   * @param {string} store @param {IDBValidKey[]} keys
   */
  async #oneByOne(store, keys) {
    this.failedToRead ??= keys[0];
    const unavailable = (/** @type {IDBValidKey} */ key) => {
      this.unavailable.add(store, key);
      return new ValueUnavailable(key);
    };
    if (keys.length === 1) throw unavailable(keys[0]);
    /** @type {unknown[]} */
    const values = [];
    for (const key of keys) {
      try {
        values.push(await forgiven(this.store(store).get(key)));
      } catch (error) {
        await this.#confirm(error, () => this.store(store).getKey(key));
        const found = unavailable(key);
        if (values.length > 0) break;
        throw found;
      }
    }
    return values;
  }

  /**
   * Ids of messages or dead letters, without reading those; undefined for each that has none.
   * @param {MailboxState} state @param {Place[]} places @returns {Promise<(Uint8Array | undefined)[]>}
   */
  async idsOf(state, places) {
    /** @type {(Uint8Array | undefined)[]} */
    const ids = [];
    for (const { priority, sequence } of places) {
      if (priority !== DEAD) await this.openBetween(state, priority, sequence, sequence + 1);
      const delivery = state.deliveryOf({ priority, sequence });
      if (delivery === undefined || hasCustomId(delivery)) ids.push(undefined);
      else {
        const id = new Uint8Array(ID_BYTES);
        writeId(new DataView(id.buffer), 0, state.idBase, priority, sequence);
        ids.push(id);
      }
    }
    if (!ids.includes(undefined)) return ids;
    const rows = IDBKeyRange.bound([state.number], [state.number, []]);
    const [keys, values] = await Promise.all([
      result(this.store("ids").getAllKeys(rows)),
      result(this.store("ids").getAll(rows)),
    ]);
    /** @type {Map<string, Uint8Array>} */
    const given = new Map();
    for (const [i, key] of keys.entries()) {
      const id = /** @type {unknown[]} */ (key)[1];
      if (id instanceof ArrayBuffer && id.byteLength === ID_BYTES) given.set(String(values[i]), new Uint8Array(id));
    }
    return ids.map((id, i) => id ?? given.get(String([places[i].priority, places[i].sequence])));
  }

  /**
   * The place of the message or dead letter with an id; a message's page is then open.
   * @param {MailboxState} state @param {Uint8Array<ArrayBuffer>} id @returns {Promise<Place | undefined>}
   */
  async find(state, id) {
    const own = state.ownPlaceOf(id);
    if (own !== undefined) {
      const { priority, sequence } = own;
      const lacking = state.pages.lacking(priority, sequence, sequence + 1);
      if (lacking.length > 0) await this.open(state, lacking);
      if (state.livesByOwnId(own)) return own;
    }
    if (state.customIds + state.deadLetters === 0) return undefined;
    const found = placeIn(await result(this.store("ids").get([state.number, id])));
    if (found !== undefined) await this.openBetween(state, found.priority, found.sequence, found.sequence + 1);
    return found;
  }

  /**
   * The messages of some runs, in order, up to a number of payload bytes; at least one.
   * @param {MailboxState} state @param {LaneRun[]} runs @param {number} status @param {number} [byteLimit]
   * @param {PassedOver} [passedOver] gets those that cannot be read at present
   * @returns {Promise<Entry[]>}
   * @throws {Unreadable}
   * @throws {ValueUnavailable} one cannot be read at present and must not be passed over
   */
  async entries(state, runs, status, byteLimit = Infinity, passedOver) {
    const collecting = new Collecting(this, state, runs, status, byteLimit);
    for (let lacking = collecting.goOn(); lacking !== undefined; ) {
      const { priority, sequence, to } = lacking;
      /** @type {Segment[]} */
      let segments = [];
      try {
        segments = await this.#segmentsFrom(state, priority, sequence, to);
      } catch (error) {
        if (passedOver === undefined || !(error instanceof ValueUnavailable)) throw error;
        passedOver.add(priority, sequence, sequence + 1);
      }
      lacking = collecting.goOn(segments);
    }
    return collecting.entries;
  }

  /**
   * As `entries`, if all of them are at hand; undefined otherwise.
   * @param {MailboxState} state @param {LaneRun[]} runs @param {number} status @param {number} byteLimit
   */
  entriesAtHand(state, runs, status, byteLimit) {
    const collecting = new Collecting(this, state, runs, status, byteLimit);
    return collecting.goOn() === undefined ? collecting.entries : undefined;
  }

  /**
   * The segment of a message, if it need not be read.
   * @param {MailboxState} state @param {number} priority @param {number} sequence
   */
  segmentAtHand(state, priority, sequence) {
    return state.lanes[priority]?.carriedSegment(sequence) ?? this.cache.find(state.number, priority, sequence);
  }

  /**
   * The segment of a message that exists, and some that follow it.
   * @param {MailboxState} state @param {number} priority @param {number} sequence
   * @param {number} to how far (exclusive) more is wanted
   */
  async #segmentsFrom(state, priority, sequence, to) {
    // only a read shows how full the segments are: read one, then as many as that one suggests
    const [first] = await this.#read(state, priority, sequence, 1).catch((error) => {
      const { first = Infinity } = (error instanceof ValueUnavailable && Segment.boundsIn(error.key)) || {};
      // the segment that cannot be read may be another's, and the message's own may be missing
      throw error instanceof ValueUnavailable && first > sequence ? new Unreadable({ priority, sequence }) : error;
    });
    if (first === undefined || first.first > sequence) throw new Unreadable({ priority, sequence });
    const missing = to - 1 - first.last;
    if (missing <= 0) return [first];
    const wanted = Math.ceil(missing / (first.last - first.first + 1));
    const affordable = Math.max(1, Math.floor(READ_BYTES / state.lanes[priority].largestSegment));
    const more = await this.#read(state, priority, first.last + 1, Math.min(wanted, affordable)).catch((error) => {
      if (error instanceof ValueUnavailable) return [];
      throw error;
    });
    return [first, ...more];
  }

  /**
   * Segments one after the other, up to the first that cannot be read.
   * @param {MailboxState} state @param {number} priority @param {number} sequence @param {number} count
   */
  async #read(state, priority, sequence, count) {
    const values = await this.values("segments", laneRange(state, priority, sequence), count);
    /** @type {Segment[]} */
    const segments = [];
    for (const value of values) {
      const segment = Segment.from(value);
      if (segment === undefined || segment.last < sequence) break;
      sequence = segment.last + 1;
      segments.push(segment);
      this.cache.add(state.number, priority, segment);
    }
    return segments;
  }
}

/** Collects messages from what is at hand and what is read for it. */
class Collecting {
  /** @type {Entry[]} */
  entries = [];
  #tx;
  #state;
  #runs;
  #status;
  #byteLimit;
  #payloadBytes = 0;
  /** The position in the runs. */
  #run = 0;
  #sequence;
  /** Segments from there on. @type {Segment[]} */
  #segments = [];

  /**
   * @param {ReadTransaction} tx @param {MailboxState} state @param {LaneRun[]} runs @param {number} status
   * @param {number} byteLimit
   */
  constructor(tx, state, runs, status, byteLimit) {
    this.#tx = tx;
    this.#state = state;
    this.#runs = runs;
    this.#status = status;
    this.#byteLimit = byteLimit;
    this.#sequence = runs[0]?.from ?? 0;
  }

  /**
   * Collects as much as it can.
   * @param {Segment[]} [read] from the message that it lacked onwards; empty if that must be passed over
   * @returns {{priority: number, sequence: number, to: number} | undefined} what has to be read before it can go on;
   * undefined at the end
   */
  goOn(read) {
    if (read?.length === 0) this.#sequence += 1;
    this.#segments = read ?? [];
    for (; this.#run < this.#runs.length; this.#next()) {
      const { priority, to, delivery, due } = this.#runs[this.#run];
      for (; this.#sequence < to; this.#sequence++) {
        const segment = this.#segmentOf(priority, this.#sequence);
        if (segment === undefined) return { priority, sequence: this.#sequence, to };
        if (!this.#add(segment, priority, this.#sequence, delivery, due)) return undefined;
      }
    }
    return undefined;
  }

  #next() {
    this.#run += 1;
    this.#sequence = this.#runs[this.#run]?.from ?? 0;
    this.#segments = [];
  }

  /** @param {number} priority @param {number} sequence */
  #segmentOf(priority, sequence) {
    const segments = this.#segments;
    while (segments.length > 0 && segments[0].last < sequence) segments.shift();
    // the following one may be deleted or beside the head; then the next begins too far on
    if (segments.length > 0 && segments[0].first <= sequence) return segments[0];
    const atHand = this.#tx.segmentAtHand(this.#state, priority, sequence);
    if (atHand !== undefined) this.#segments = [atHand];
    return atHand;
  }

  /**
   * @param {Segment} segment @param {number} priority @param {number} sequence @param {number} delivery
   * @param {number | undefined} due @returns {boolean} false if that would be too much
   */
  #add(segment, priority, sequence, delivery, due) {
    const frame = segment.frameOf(sequence);
    if (frame.priority !== priority || frame.hasCustomId !== hasCustomId(delivery))
      throw new Unreadable({ priority, sequence });
    this.#payloadBytes += frame.payloadBytes;
    if (this.#payloadBytes > this.#byteLimit && this.entries.length > 0) return false;
    const { idBase } = this.#state;
    this.entries.push({
      bytes: segment.bytes,
      frame,
      writeIdTo: (view, offset) => writeId(view, offset, idBase, priority, sequence),
      deliveryCount: handOuts(delivery),
      status: this.#status,
      due,
    });
    return true;
  }
}

/**
 * The segments of a lane, from a message's onwards.
 * @param {MailboxState} state @param {number} priority @param {number} sequence
 */
export function laneRange(state, priority, sequence) {
  return IDBKeyRange.bound([state.number, priority, sequence], [state.number, priority, Infinity, Infinity]);
}
