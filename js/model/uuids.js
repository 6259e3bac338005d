/** Ids as text: canonical UUIDs, as `crypto.randomUUID()` writes them. */

import { ID_BYTES } from "./ids.js";

const CANONICAL = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** @param {Uint8Array} bytes @param {number} [offset] where it begins @returns {string} */
export function textOfId(bytes, offset = 0) {
  let text = "";
  for (let i = 0; i < ID_BYTES; i++)
    text += (i === 4 || i === 6 || i === 8 || i === 10 ? "-" : "") + HEX[bytes[offset + i]];
  return text;
}

/** @param {string} text in either case @returns {Uint8Array<ArrayBuffer> | undefined} undefined if it is not a UUID */
export function bytesOfId(text) {
  if (!CANONICAL.test(text)) return undefined;
  const digits = text.replaceAll("-", "");
  const bytes = new Uint8Array(ID_BYTES);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < ID_BYTES; at += 4) view.setUint32(at, Number.parseInt(digits.slice(2 * at, 2 * at + 8), 16));
  return bytes;
}
