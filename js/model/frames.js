/**
 * Messages as bytes: how they cross between Python and JavaScript, and how the database stores them.
 *
 * A frame is one message. Frames follow one another without gaps; numbers are little-endian.
 *
 *     offset  size
 *          0     1  flags: bit 0 set if an id follows the fixed part, bit 1 if a due time follows that, bit 2 if the
 *                   time follows until which the id is to be remembered
 *          1     1  priority
 *          2     2  length of the headers
 *          4     4  length of the sender
 *          8     4  length of the payload
 *         12     8  creation time, float64, milliseconds since 1970
 *         20    16  the id its sender gave it, if flagged
 *          …     8  due time, float64, milliseconds since 1970, if flagged
 *          …     8  the time until which the id is to be remembered, as the due time, if flagged; it means something to
 *                   an enqueue only
 *          …        headers (see `headers.js`), sender, payload
 *
 * A batch is what `claim`, `peek` and `get` give: a uint32 count, as many entries of 24 bytes (id, uint32 delivery
 * count, uint32 status), as many frames, and for each entry whose status is `DELAYED` when it is due, as in a frame.
 *
 * `pymailbox/backends/indexeddb/frames.py` is the other end of this border.
 */

import { checkHeaders } from "./headers.js";
import { ID_BYTES } from "./ids.js";
import { EARLIEST, LATEST } from "./limits.js";

const FIXED_BYTES = 20;
const HAS_ID = 1;
const HAS_DUE = 2;
const HAS_UNTIL = 4;
const TIME_BYTES = 8;
const COUNT_BYTES = 4;
const ENTRY_BYTES = ID_BYTES + 8;

export const QUEUED = 0;
export const INFLIGHT = 1;
/** Queued, and its delay is still running. */
export const DELAYED = 2;

/** @typedef {import("./types.js").Frame} Frame */

/** @param {Uint8Array} bytes */
export const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * The frames in some bytes, one after the other.
 * @param {Uint8Array} bytes @param {number} [offset] where the first one begins @param {DataView} [view] of the bytes
 * @throws {RangeError} if the bytes are not frames
 */
export function framesIn(bytes, offset = 0, view = viewOf(bytes)) {
  /** @type {Frame[]} */
  const frames = [];
  while (offset < bytes.length) {
    const frame = frameAt(view, offset);
    frames.push(frame);
    offset = frame.end;
  }
  return frames;
}

/**
 * The frame that begins at a position.
 * @param {DataView} view @param {number} offset
 * @param {boolean} [isKnown] whether its headers have been checked before
 * @returns {Frame}
 * @throws {RangeError} if there is none: whatever passes is a message to the other side
 */
export function frameAt(view, offset, isKnown = false) {
  const flags = view.getUint8(offset);
  const headersBytes = view.getUint16(offset + 2, true);
  const createdAt = view.getFloat64(offset + 12, true);
  if (flags > (HAS_ID | HAS_DUE | HAS_UNTIL) || !isTime(createdAt))
    throw new RangeError("these bytes are not a message");
  const hasCustomId = (flags & HAS_ID) !== 0;
  const payloadBytes = view.getUint32(offset + 8, true);
  let at = offset + FIXED_BYTES + (hasCustomId ? ID_BYTES : 0);
  let due = 0;
  if ((flags & HAS_DUE) !== 0) {
    due = view.getFloat64(at, true);
    at += TIME_BYTES;
  }
  let until = 0;
  if ((flags & HAS_UNTIL) !== 0) {
    until = view.getFloat64(at, true);
    at += TIME_BYTES;
  }
  const end = at + headersBytes + view.getUint32(offset + 4, true) + payloadBytes;
  if (end > view.byteLength) throw new RangeError("a message ends beyond its record");
  if (headersBytes > 0 && !isKnown) checkHeaders(new Uint8Array(view.buffer, view.byteOffset + at, headersBytes));
  return { offset, end, priority: view.getUint8(offset + 1), hasCustomId, due, until, headersBytes, payloadBytes };
}

/** When a message was made, milliseconds since 1970. @param {Uint8Array} bytes @param {Frame} frame of `bytes` */
export const timeIn = (bytes, frame) => viewOf(bytes).getFloat64(frame.offset + 12, true);

/** Whether a number is a time that crosses the border. @param {unknown} milliseconds since 1970 */
export const isTime = (milliseconds) =>
  typeof milliseconds === "number" && milliseconds >= EARLIEST && milliseconds <= LATEST;

/**
 * The frames of messages.
 * @param {import("./types.js").Packable[]} messages @param {number} createdAt milliseconds since 1970
 */
export function packFrames(messages, createdAt) {
  let size = 0;
  for (const { id, due, until, headers, sender, payload } of messages) {
    size +=
      FIXED_BYTES +
      (id === undefined ? 0 : ID_BYTES) +
      (due > 0 ? TIME_BYTES : 0) +
      (until > 0 ? TIME_BYTES : 0) +
      headers.length +
      sender.length +
      payload.length;
  }
  const frames = new Uint8Array(size);
  const view = viewOf(frames);
  let at = 0;
  for (const { priority, id, due, until, headers, sender, payload, created = createdAt } of messages) {
    view.setUint8(at, (id === undefined ? 0 : HAS_ID) | (due > 0 ? HAS_DUE : 0) | (until > 0 ? HAS_UNTIL : 0));
    view.setUint8(at + 1, priority);
    view.setUint16(at + 2, headers.length, true);
    view.setUint32(at + 4, sender.length, true);
    view.setUint32(at + 8, payload.length, true);
    view.setFloat64(at + 12, created, true);
    at += FIXED_BYTES;
    if (id !== undefined) {
      frames.set(id, at);
      at += ID_BYTES;
    }
    if (due > 0) {
      view.setFloat64(at, due, true);
      at += TIME_BYTES;
    }
    if (until > 0) {
      view.setFloat64(at, until, true);
      at += TIME_BYTES;
    }
    if (headers.length > 0) {
      frames.set(headers, at);
      at += headers.length;
    }
    frames.set(sender, at);
    frames.set(payload, at + sender.length);
    at += sender.length + payload.length;
  }
  return frames;
}

const NO_BYTES = new Uint8Array();

/**
 * A frame for a message with nothing but a payload.
 * @param {number} priority @param {Uint8Array} id @param {Uint8Array} payload @param {number} createdAt
 */
export const frameOf = (priority, id, payload, createdAt) =>
  packFrames([{ priority, id, due: 0, until: 0, headers: NO_BYTES, sender: NO_BYTES, payload }], createdAt);

/** A frame with an id added and without times. @param {Uint8Array} frame one frame @param {Uint8Array} id */
export function withCustomId(frame, id) {
  const flags = frame[0];
  const bodyAt =
    FIXED_BYTES +
    ((flags & HAS_ID) !== 0 ? ID_BYTES : 0) +
    ((flags & HAS_DUE) !== 0 ? TIME_BYTES : 0) +
    ((flags & HAS_UNTIL) !== 0 ? TIME_BYTES : 0);
  const renamed = new Uint8Array(FIXED_BYTES + ID_BYTES + frame.length - bodyAt);
  renamed.set(frame.subarray(0, FIXED_BYTES));
  renamed[0] = HAS_ID;
  renamed.set(id, FIXED_BYTES);
  renamed.set(frame.subarray(bodyAt), FIXED_BYTES + ID_BYTES);
  return renamed;
}

/** The custom id. @param {Uint8Array} bytes @param {Frame} frame of `bytes` */
export function idIn(bytes, frame) {
  return bytes.slice(frame.offset + FIXED_BYTES, frame.offset + FIXED_BYTES + ID_BYTES);
}

/**
 * Packs a batch.
 * @param {import("./types.js").Entry[]} entries
 */
export function packBatch(entries) {
  let size = COUNT_BYTES + entries.length * ENTRY_BYTES;
  for (const { frame, status } of entries) size += frame.end - frame.offset + (status === DELAYED ? TIME_BYTES : 0);
  const batch = new Uint8Array(size);
  const view = viewOf(batch);
  view.setUint32(0, entries.length, true);
  let entryAt = COUNT_BYTES;
  let frameTo = COUNT_BYTES + entries.length * ENTRY_BYTES;
  let isAnyDelayed = false;
  for (const { bytes, frame, writeIdTo, deliveryCount, status } of entries) {
    if (frame.hasCustomId) batch.set(idIn(bytes, frame), entryAt);
    else writeIdTo(view, entryAt);
    view.setUint32(entryAt + ID_BYTES, deliveryCount, true);
    view.setUint32(entryAt + ID_BYTES + 4, status, true);
    entryAt += ENTRY_BYTES;
    batch.set(bytes.subarray(frame.offset, frame.end), frameTo);
    frameTo += frame.end - frame.offset;
    if (status === DELAYED) isAnyDelayed = true;
  }
  if (!isAnyDelayed) return batch;
  for (const { due = 0, status } of entries) {
    if (status !== DELAYED) continue;
    view.setFloat64(frameTo, due, true);
    frameTo += TIME_BYTES;
  }
  return batch;
}

/** An empty batch. */
export const NO_BATCH = packBatch([]);

/** How many messages a batch has. @param {Uint8Array} batch */
export const countOfBatch = (batch) => viewOf(batch).getUint32(0, true);

/** The ids of a batch, 16 bytes each. @param {Uint8Array} batch */
export function idsOfBatch(batch) {
  const ids = new Uint8Array(countOfBatch(batch) * ID_BYTES);
  for (let i = 0; i * ID_BYTES < ids.length; i++) {
    const entryAt = COUNT_BYTES + i * ENTRY_BYTES;
    ids.set(batch.subarray(entryAt, entryAt + ID_BYTES), i * ID_BYTES);
  }
  return ids;
}

/**
 * The messages of a batch, with copies of their bytes.
 * @param {Uint8Array} batch @returns {import("./types.js").Unpacked[]}
 */
export function unpackBatch(batch) {
  const view = viewOf(batch);
  const count = view.getUint32(0, true);
  let delayed = 0;
  for (let i = 0; i < count; i++) if (statusAt(view, i) === DELAYED) delayed += 1;
  let dueAt = batch.length - delayed * TIME_BYTES;
  let at = COUNT_BYTES + count * ENTRY_BYTES;
  /** @type {import("./types.js").Unpacked[]} */
  const messages = [];
  for (let i = 0; i < count; i++) {
    const frame = frameAt(view, at, true);
    at = frame.end;
    const entryAt = COUNT_BYTES + i * ENTRY_BYTES;
    const payloadAt = frame.end - frame.payloadBytes;
    const senderAt = payloadAt - view.getUint32(frame.offset + 4, true);
    const status = statusAt(view, i);
    messages.push({
      id: batch.slice(entryAt, entryAt + ID_BYTES),
      headers: frame.headersBytes === 0 ? NO_BYTES : batch.subarray(senderAt - frame.headersBytes, senderAt),
      sender: batch.slice(senderAt, payloadAt),
      payload: batch.slice(payloadAt, frame.end),
      priority: frame.priority,
      createdAt: view.getFloat64(frame.offset + 12, true),
      deliveryCount: view.getUint32(entryAt + ID_BYTES, true),
      status,
      due: status === DELAYED ? view.getFloat64(dueAt, true) : 0,
    });
    if (status === DELAYED) dueAt += TIME_BYTES;
  }
  return messages;
}

/** @param {DataView} view of a batch @param {number} i which entry */
const statusAt = (view, i) => view.getUint32(COUNT_BYTES + i * ENTRY_BYTES + ID_BYTES + 4, true);
