/**
 * Stored messages: several to a record, since a record costs more than its bytes.
 *
 * A segment is some neighbouring messages of one lane that were committed together. It is written once, never changed,
 * and deleted when the last of its messages is dead. Its value is the number of its first message (float64), how many
 * there are (uint32), and their frames. Its key ends in its last and first number: the segment of a message is then the
 * first key from the message's number on.
 */

import { quickChecksum } from "./bytes.js";
import { frameAt, viewOf } from "./frames.js";

const HEADER_BYTES = 12;

/**
 * Chromium's LevelDB store puts each value above 64 KiB into a file, three times slower; a larger message goes alone.
 */
const SEGMENT_BYTES = 48 * 1024;
export const SEGMENT_MESSAGES = 128;

/** Mailbox, priority, last and first number. */
const KEY_PARTS = 4;

/** A segment in memory. */
export class Segment {
  #view;
  #offsets;
  /** @type {number | undefined} */
  #sum;

  /**
   * @param {Uint8Array} bytes @param {DataView} view of them @param {number} first
   * @param {number[]} offsets of its frames
   */
  constructor(bytes, view, first, offsets) {
    this.bytes = bytes;
    this.first = first;
    this.last = first + offsets.length - 1;
    this.#view = view;
    this.#offsets = offsets;
  }

  /**
   * A stored value as a segment, as far as it is intact; undefined if it is not one.
   * @param {unknown} value
   */
  static from(value) {
    if (!(value instanceof Uint8Array) || value.length <= HEADER_BYTES) return undefined;
    const view = viewOf(value);
    const first = view.getFloat64(0, true);
    const count = view.getUint32(8, true);
    if (!Number.isSafeInteger(first) || first < 0 || count > SEGMENT_MESSAGES) return undefined;
    /** @type {number[]} */
    const offsets = [];
    try {
      for (let offset = HEADER_BYTES; offsets.length < count; ) {
        const { end } = frameAt(view, offset);
        offsets.push(offset);
        offset = end;
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // it was cut short or overwritten from here on
    }
    return offsets.length > 0 ? new Segment(value, view, first, offsets) : undefined;
  }

  /** Its checksum, for as long as it travels with the head. */
  get sum() {
    return (this.#sum ??= quickChecksum(this.bytes, 0));
  }

  /** @param {number} sequence from `first` to `last` */
  frameOf(sequence) {
    return frameAt(this.#view, this.#offsets[sequence - this.first], true);
  }

  /** The frame of a message. @param {number} sequence from `first` to `last` */
  bytesOf(sequence) {
    const { offset, end } = this.frameOf(sequence);
    return this.bytes.subarray(offset, end);
  }

  /** @param {number} first @param {Uint8Array[]} frames */
  static pack(first, frames) {
    const bytes = new Uint8Array(frames.reduce((size, frame) => size + frame.length, HEADER_BYTES));
    const view = viewOf(bytes);
    view.setFloat64(0, first, true);
    view.setUint32(8, frames.length, true);
    /** @type {number[]} */
    const offsets = [];
    let offset = HEADER_BYTES;
    for (const frame of frames) {
      bytes.set(frame, offset);
      offsets.push(offset);
      offset += frame.length;
    }
    return new Segment(bytes, view, first, offsets);
  }

  /**
   * The numbers that the key of a segment names; undefined if it is no segment's key.
   * @param {IDBValidKey} key
   */
  static boundsIn(key) {
    if (!Array.isArray(key) || key.length !== KEY_PARTS) return undefined;
    const [, , last, first] = /** @type {import("./types.js").SegmentKey} */ (key);
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last)) return undefined;
    return first >= 0 && last >= first && last - first < SEGMENT_MESSAGES ? { first, last } : undefined;
  }
}

/** The messages that one commit appends to one lane, cut into segments. */
export class SegmentWriter {
  /** @type {Uint8Array[]} */
  #frames = [];
  #size = 0;
  #first = 0;

  /** @param {(segment: Segment) => void} write */
  constructor(write) {
    this.#write = write;
  }

  #write;

  /** @param {number} sequence higher than any before @param {Uint8Array} frame */
  append(sequence, frame) {
    const isNext = sequence === this.#first + this.#frames.length;
    if (!isNext || this.#frames.length === SEGMENT_MESSAGES || this.#size + frame.length > SEGMENT_BYTES) this.flush();
    if (this.#frames.length === 0) this.#first = sequence;
    this.#frames.push(frame);
    this.#size += frame.length;
  }

  flush() {
    if (this.#frames.length === 0) return;
    this.#write(Segment.pack(this.#first, this.#frames));
    this.#frames = [];
    this.#size = 0;
  }
}

/** Segments at hand. They never change, so one that is here is valid as long as any of its messages lives. */
export class SegmentCache {
  /**
   * When messages were made: by mailbox and priority, the last of each lane that was looked up.
   * @type {Map<string, {sequence: number, time: number}>}
   */
  #times = new Map();
  /** By mailbox and priority, in the order of their numbers. @type {Map<string, Segment[]>} */
  #lanes = new Map();
  #size = 0;
  #limit;

  /** @param {number} limit the most bytes that it keeps */
  constructor(limit) {
    this.#limit = limit;
  }

  /** @param {number} mailbox @param {number} priority @param {number} sequence */
  find(mailbox, priority, sequence) {
    const lane = this.#lanes.get(`${mailbox}/${priority}`);
    if (lane === undefined) return undefined;
    const segment = lane[firstReaching(lane, sequence)];
    return segment !== undefined && segment.first <= sequence ? segment : undefined;
  }

  /**
   * When a message was made, if it was the last of its lane to be recorded.
   * @param {number} mailbox @param {number} priority @param {number} sequence
   */
  timeOf(mailbox, priority, sequence) {
    const noted = this.#times.get(`${mailbox}/${priority}`);
    return noted?.sequence === sequence ? noted.time : undefined;
  }

  /** @param {number} mailbox @param {number} priority @param {number} sequence @param {number} time */
  noteTime(mailbox, priority, sequence, time) {
    this.#times.set(`${mailbox}/${priority}`, { sequence, time });
  }

  /** @param {number} mailbox @param {number} priority @param {Segment} segment */
  add(mailbox, priority, segment) {
    if (this.#size + segment.bytes.length > this.#limit) this.#dropAll();
    if (segment.bytes.length > this.#limit) return;
    const key = `${mailbox}/${priority}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) this.#lanes.set(key, (lane = []));
    const i = firstReaching(lane, segment.first);
    if (lane[i]?.first === segment.first) return;
    lane.splice(i, 0, segment);
    this.#size += segment.bytes.length;
  }

  /**
   * Forgets the segments whose last number is in `from` to `to` (exclusive).
   * @param {number} mailbox @param {number} priority @param {number} from @param {number} to
   */
  drop(mailbox, priority, from, to) {
    const lane = this.#lanes.get(`${mailbox}/${priority}`);
    if (lane === undefined) return;
    const start = firstReaching(lane, from);
    let end = start;
    while (end < lane.length && lane[end].last < to) end += 1;
    for (const segment of lane.splice(start, end - start)) this.#size -= segment.bytes.length;
    if (lane.length === 0) this.#lanes.delete(`${mailbox}/${priority}`);
  }

  clear() {
    this.#times.clear();
    this.#dropAll();
  }

  #dropAll() {
    this.#lanes.clear();
    this.#size = 0;
  }
}

/** Index of the first segment that reaches a number. @param {Segment[]} lane @param {number} sequence */
function firstReaching(lane, sequence) {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane[middle].last >= sequence) high = middle;
    else low = middle + 1;
  }
  return low;
}
