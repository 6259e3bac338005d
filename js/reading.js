/**
 * What can be read in a transaction. Its methods may be awaited there, and nothing else: the transaction would be over.
 */

import { result } from "./database.js";
import { corrupt } from "./errors.js";
import { deliveries, isNamed } from "./history.js";
import { writeId } from "./ids.js";
import { placeIn } from "./rows.js";
import { Segment } from "./segments.js";
import { MailboxState, isStoredState } from "./state.js";

/** Bytes that one request reads at most, unless a single message is larger. */
const READ_BYTES = 16 * 1024 * 1024;

/** @typedef {import("./types.js").LaneRun} LaneRun */
/** @typedef {import("./types.js").Place} Place */
/** @typedef {import("./types.js").Entry} Entry */

/** Thrown where the record of a living message, or of a dead letter, is missing or is none. */
export class Unreadable extends Error {
  /** @param {Place} place */
  constructor(place) {
    super("a record of messages in IndexedDB cannot be read: something else wrote into the store");
    this.place = place;
  }
}

export class Reading {
  /** What has been asked for and not come yet; tells where to look when the transaction fails. @type {Set<import("./losses.js").Asked>} */
  asked = new Set();

  /** @param {IDBTransaction} transaction @param {import("./segments.js").SegmentCache} cache @param {import("./losses.js").Losses} losses */
  constructor(transaction, cache, losses) {
    this.transaction = transaction;
    this.cache = cache;
    this.losses = losses;
  }

  /** @param {string} name */
  store(name) {
    return this.transaction.objectStore(name);
  }

  /** @param {string} mailbox @returns {Promise<MailboxState | undefined>} */
  async stored(mailbox) {
    const stored = await result(this.store("mailboxes").get(mailbox));
    if (stored === undefined) return undefined;
    if (isStoredState(stored)) return new MailboxState(stored);
    throw corrupt(
      `The record of mailbox ${JSON.stringify(mailbox)} cannot be read: something else wrote into the store. ` +
        "Deleting the mailbox, with all that is in it, makes its name usable again.",
    );
  }

  /**
   * Large values, which the browser may have lost: those of a range, up to the first that is lost.
   * @param {string} store @param {IDBKeyRange | IDBValidKey} range @param {number} [count] how many at most
   * @returns {Promise<unknown[]>}
   */
  async values(store, range, count = 1) {
    if (!this.losses.isEmpty) {
      const keys = await result(this.store(store).getAllKeys(range, count));
      const lost = keys.findIndex((key) => this.losses.has(store, key));
      if (lost === 0) return [];
      if (lost > 0) count = lost;
    }
    const asked = { store, range, count };
    this.asked.add(asked);
    const values = await result(this.store(store).getAll(range, count));
    this.asked.delete(asked);
    return values;
  }

  /** The place of the message with an id, living or dead letter. @param {MailboxState} state @param {Uint8Array<ArrayBuffer>} id @returns {Promise<Place | undefined>} */
  async find(state, id) {
    const place = state.livingPlaceOf(id);
    if (place !== undefined || state.named + state.dead === 0) return place;
    return placeIn(await result(this.store("ids").get([state.number, id])));
  }

  /**
   * The messages of some runs, in their order, up to a number of payload bytes; one at least.
   * @param {MailboxState} state @param {LaneRun[]} runs @param {number} status @param {number} [byteLimit]
   * @returns {Promise<Entry[]>}
   * @throws {Unreadable}
   */
  async entries(state, runs, status, byteLimit = Infinity) {
    /** @type {Entry[]} */
    const entries = [];
    let payloadBytes = 0;
    for (const { priority, from, to, history } of runs) {
      /** @type {Segment[]} */
      let segments = [];
      for (let sequence = from; sequence < to; sequence++) {
        while (segments.length > 0 && segments[0].last < sequence) segments.shift();
        // the one that follows may have been deleted, and then the next begins too far on
        if (segments.length === 0 || segments[0].first > sequence) {
          segments = await this.#segmentsFrom(state, priority, sequence, to);
        }
        const frame = segments[0].frameOf(sequence);
        if (frame.priority !== priority || frame.named !== isNamed(history)) throw new Unreadable({ priority, sequence });
        payloadBytes += frame.payloadBytes;
        if (payloadBytes > byteLimit && entries.length > 0) return entries;
        entries.push({
          bytes: segments[0].bytes,
          frame,
          writeIdTo: (view, offset) => writeId(view, offset, state.idBase, priority, sequence),
          deliveryCount: deliveries(history),
          status,
        });
      }
    }
    return entries;
  }

  /**
   * The segment of a living message, and some that follow it.
   * @param {MailboxState} state @param {number} priority @param {number} sequence
   * @param {number} to how far (exclusive) more is wanted
   */
  async #segmentsFrom(state, priority, sequence, to) {
    const cached = this.cache.find(state.number, priority, sequence);
    if (cached !== undefined) return [cached];
    // how full the segments are shows only when one has been read: read one, then as many as that one suggests
    const [first] = await this.#read(state, priority, sequence, 1);
    if (first === undefined || first.first > sequence) throw new Unreadable({ priority, sequence });
    const missing = to - 1 - first.last;
    if (missing <= 0) return [first];
    const wanted = Math.ceil(missing / (first.last - first.first + 1));
    const affordable = Math.max(1, Math.floor(READ_BYTES / state.lanes[priority].widest));
    return [first, ...(await this.#read(state, priority, first.last + 1, Math.min(wanted, affordable)))];
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

/** The segments of a lane from a message's on. @param {MailboxState} state @param {number} priority @param {number} sequence */
export function laneRange(state, priority, sequence) {
  return IDBKeyRange.bound([state.number, priority, sequence], [state.number, priority, Infinity, Infinity]);
}
