/**
 * Headers: named texts that travel with a message. They are stored as a JSON array of alternating names and texts, in
 * UTF-8, or as nothing if there are none. `pymailbox/contract/headers.py` has the same.
 */

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The rule for a header. @typedef {readonly [name: string, text: string]} Header */

/** Headers as they are stored. @param {Header[]} headers */
export const packHeaders = (headers) => encoder.encode(headers.length === 0 ? "" : JSON.stringify(headers.flat()));

/** Makes sure that bytes are stored headers. @param {Uint8Array} stored @throws {RangeError} */
export function checkHeaders(stored) {
  flatIn(stored);
}

/** Stored headers. @param {Uint8Array} stored @returns {Header[]} @throws {RangeError} these bytes are not headers */
export function unpackHeaders(stored) {
  if (stored.length === 0) return [];
  const flat = flatIn(stored);
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
}

/** @param {Uint8Array} stored @returns {string[]} names and texts alternating @throws {RangeError} */
function flatIn(stored) {
  /** @type {unknown} */
  let flat;
  try {
    flat = JSON.parse(decoder.decode(stored));
  } catch (cause) {
    throw new RangeError("these bytes are not headers", { cause });
  }
  if (!Array.isArray(flat) || flat.length % 2 !== 0 || !flat.every((text) => typeof text === "string"))
    throw new RangeError("these bytes are not headers");
  return flat;
}
