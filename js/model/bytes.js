/** Numbers as bytes: the smaller, the shorter. */

import { LARGEST_COUNT } from "./limits.js";

const VARINT_BITS = 7;
const MORE = 0x80;

/** @param {unknown} value @returns {value is number} */
export const isCount = (value) => Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Appends to a growing buffer. */
export class ByteWriter {
  #bytes = new Uint8Array(256);
  #length = 0;

  get length() {
    return this.#length;
  }

  /** Forgets what was written, and keeps the space. */
  clear() {
    this.#length = 0;
  }

  /** @param {number} value a safe integer, at least 0 */
  number(value) {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} cannot be written`);
    this.#makeRoom(8);
    while (value >= MORE) {
      this.#bytes[this.#length++] = (value % MORE) | MORE;
      value = Math.floor(value / MORE);
    }
    this.#bytes[this.#length++] = value;
  }

  /** @param {number[]} values safe integers, at least 0 */
  numbers(values) {
    this.#makeRoom(8 * values.length);
    for (const value of values) {
      // most are small, and need no call
      if (value < MORE && value >= 0 && Number.isInteger(value)) this.#bytes[this.#length++] = value;
      else this.number(value);
    }
  }

  /** @param {number} value of 8 bits */
  uint8(value) {
    this.#makeRoom(1);
    this.#bytes[this.#length++] = value;
  }

  /** @param {number} value of 32 bits */
  uint32(value) {
    this.#makeRoom(4);
    for (let shift = 0; shift < 32; shift += 8) this.#bytes[this.#length++] = value >>> shift;
  }

  /** @param {Uint8Array} bytes */
  raw(bytes) {
    this.#makeRoom(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Bytes preceded by their number. @param {Uint8Array} bytes */
  sized(bytes) {
    this.number(bytes.length);
    this.raw(bytes);
  }

  /** A copy of what was written. */
  toBytes() {
    return this.#bytes.slice(0, this.#length);
  }

  /** @param {number} size */
  #makeRoom(size) {
    if (this.#length + size <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + size));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

/** Reads what a `ByteWriter` wrote; throws a RangeError if these bytes cannot come from one. */
export class ByteReader {
  #bytes;
  #at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  get isAtEnd() {
    return this.#at === this.#bytes.length;
  }

  /** @param {number} [limit] the largest valid value */
  number(limit = LARGEST_COUNT) {
    const short = this.#bytes[this.#at];
    if (short < MORE && short <= limit) {
      this.#at += 1;
      return short;
    }
    let value = 0;
    for (let shift = 0; ; shift += VARINT_BITS) {
      const byte = this.#byte();
      value += (byte % MORE) * 2 ** shift;
      if (value > limit) throw new RangeError("a number is too large");
      if (byte < MORE) return value;
      if (shift > 49) throw new RangeError("a number does not end");
    }
  }

  uint32() {
    let value = 0;
    for (let shift = 0; shift < 32; shift += 8) value |= this.#byte() << shift;
    return value >>> 0;
  }

  /** @param {number} size */
  raw(size) {
    if (size > this.#bytes.length - this.#at) throw new RangeError("bytes are missing");
    this.#at += size;
    return this.#bytes.slice(this.#at - size, this.#at);
  }

  sized() {
    return this.raw(this.number());
  }

  /** The position. */
  get position() {
    return this.#at;
  }

  /** What was read since a position; not a copy. @param {number} position */
  since(position) {
    return this.#bytes.subarray(position, this.#at);
  }

  /** Bytes as a text of two digits each. @param {number} size */
  hex(size) {
    if (size > this.#bytes.length - this.#at) throw new RangeError("bytes are missing");
    let text = "";
    for (const end = this.#at + size; this.#at < end; this.#at++) text += HEX[this.#bytes[this.#at]];
    return text;
  }

  #byte() {
    if (this.#at === this.#bytes.length) throw new RangeError("bytes are missing");
    return this.#bytes[this.#at++];
  }
}

/** Parts of the same length, one after the other. @param {Uint8Array[]} parts */
export function joined(parts) {
  const length = parts[0]?.length ?? 0;
  const bytes = new Uint8Array(parts.length * length);
  for (const [i, part] of parts.entries()) bytes.set(part, i * length);
  return bytes;
}

const FNV_PRIME = 0x01000193;
const FNV_BASIS = 0x811c9dc5;

/**
 * FNV-1a of 32 bits, which shows any change of a single byte. Rows have had it since layout 2.
 * @param {Uint8Array} bytes @param {number[]} names what the bytes belong to
 */
export function checksum(bytes, ...names) {
  let sum = FNV_BASIS;
  for (const name of [...names, bytes.length]) {
    sum = Math.imul(sum ^ (name & 0xffff), FNV_PRIME);
    sum = Math.imul(sum ^ (Math.floor(name / 0x10000) & 0xffff), FNV_PRIME);
  }
  for (let i = 0; i < bytes.length; i++) sum = Math.imul(sum ^ bytes[i], FNV_PRIME);
  return sum >>> 0;
}

/**
 * As `checksum`, but four bytes at a time, since heads are written all the time. It also carries changes of the highest
 * bits down to the lowest, which multiplication alone would not.
 * @param {Uint8Array} bytes @param {number} name what the bytes belong to
 */
export function quickChecksum(bytes, name) {
  const { imul } = Math;
  const { length } = bytes;
  const { buffer, byteOffset } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const words = new Int32Array(buffer, byteOffset, length >> 2);
  const count = words.length;
  let sum = imul(imul(FNV_BASIS ^ (name | 0), FNV_PRIME) ^ length, FNV_PRIME);
  for (let i = 0; i < count; i++) {
    sum = imul(sum ^ words[i], FNV_PRIME);
    sum ^= sum >>> 15;
  }
  for (let i = 4 * count; i < length; i++) sum = imul(sum ^ bytes[i], FNV_PRIME);
  return sum >>> 0;
}
