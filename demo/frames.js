/** What crosses a data channel: the sixteen bytes of an id, a byte for its kind, and the message itself. */

import { bytesOfId, textOfId } from "../js/model/uuids.js";
import { numberText } from "./format.js";

/** @import { FrameKind, Frame } from "./types.js" */

const ID_BYTES = 16;

/** actor.py knows the last one. @type {Record<FrameKind, number>} */
const KINDS = { normal: 0, high: 1, answer: 2 };
const NAMES = /** @type {FrameKind[]} */ (Object.keys(KINDS));

/** Bytes of a message: what every browser takes in one piece, and some room. */
export const LONGEST_FRAME = 200_000;

/**
 * What is kept for a peer: a frame without its id, which is that of the message that it is kept in.
 * @param {FrameKind} kind
 * @param {Uint8Array} payload
 * @throws {Error} it is too long
 */
export function packed(kind, payload) {
  if (payload.length > LONGEST_FRAME) {
    const [most, length] = [LONGEST_FRAME, payload.length].map(numberText);
    throw new Error(`A message to another peer has at most ${most} bytes; this one has ${length}.`);
  }
  const bytes = new Uint8Array(1 + payload.length);
  bytes[0] = KINDS[kind];
  bytes.set(payload, 1);
  return bytes;
}

/** @param {Uint8Array} kept what `packed` made, or actor.py */
export const isAnswer = (kept) => kept[0] === KINDS.answer;

/** @param {string} id @param {Uint8Array} kept what `packed` made */
export function frameOf(id, kept) {
  const frame = new Uint8Array(ID_BYTES + kept.length);
  frame.set(/** @type {Uint8Array} */ (bytesOfId(id)));
  frame.set(kept, ID_BYTES);
  return frame;
}

/** @param {ArrayBuffer} data as it arrived @returns {Frame} */
export function parseFrame(data) {
  const bytes = new Uint8Array(data);
  // a view: the payload's bytes are those that arrived
  return { id: textOfId(bytes), kind: NAMES[bytes[ID_BYTES]] ?? "normal", payload: bytes.subarray(ID_BYTES + 1) };
}
