/** The holders of a mailbox: their terms, how many messages they have, and in which pages. */

import { HOLDERS, blockIn } from "./blocks.js";
import { ByteReader, ByteWriter } from "./bytes.js";
import { ID_BYTES } from "./ids.js";
import { LONGEST_LEASE, MOST_DELIVERIES } from "./limits.js";

/** @typedef {import("./types.js").HolderTerms} HolderTerms */

/** Holders of neighbouring slots whose records are written together. */
const SLOTS_OF_BLOCK = 64;

/** Bytes of a holder's name. */
const LONGEST_HOLDER_NAME = 200;
const RANDOM_NAME = /^[0-9a-f]{32}$/;

const writer = new ByteWriter();
const blockWriter = new ByteWriter();

/** The name that was encoded last: the same holder comes and goes with each message. */
const named = { name: "", bytes: new Uint8Array() };

/** A name as it is stored: a random one without a length, as the bytes that it spells. @param {string} name */
function bytesOfName(name) {
  if (name === named.name) return named.bytes;
  writer.clear();
  if (RANDOM_NAME.test(name)) {
    writer.number(0);
    for (let i = 0; i < ID_BYTES; i++) writer.uint8(Number.parseInt(name.slice(2 * i, 2 * i + 2), 16));
  } else {
    writer.sized(new TextEncoder().encode(name));
  }
  named.name = name;
  named.bytes = writer.toBytes();
  return named.bytes;
}

/** One holder. @implements {HolderTerms} */
export class Claims {
  /** How many messages it holds. */
  count = 0;
  /** Counts up while a holder without a Web Lock lives. */
  beat = 0;
  /**
   * The pages that its messages are in, by priority, as from, to, from, …; until they are requested. @type {number[][]}
   */
  #runs = [];
  #lanes;
  /** @type {Set<number>[] | undefined} */
  #pages;
  /** As it was last encoded, until it changes. @type {Uint8Array | undefined} */
  bytes;

  /**
   * @param {string} holder @param {number} slot by which pages know it @param {HolderTerms} terms
   * @param {number} lanes how many there are
   */
  constructor(holder, slot, { maxDeliveries, lease, locked }, lanes) {
    this.slot = slot;
    this.holder = holder;
    this.maxDeliveries = bounded(maxDeliveries, MOST_DELIVERIES);
    this.lease = bounded(lease, LONGEST_LEASE);
    this.locked = locked;
    this.#lanes = lanes;
  }

  /** The pages that its messages are in, by priority. @returns {Set<number>[]} */
  get pages() {
    if (this.#pages !== undefined) return this.#pages;
    this.#pages = [];
    for (let priority = 0; priority < this.#lanes; priority++) {
      /** @type {Set<number>} */
      const pages = new Set();
      const runs = this.#runs[priority] ?? [];
      for (let i = 0; i < runs.length; i += 2) for (let page = runs[i]; page < runs[i + 1]; page++) pages.add(page);
      this.#pages.push(pages);
    }
    return this.#pages;
  }

  encode() {
    if (this.bytes !== undefined) return this.bytes;
    const name = bytesOfName(this.holder);
    writer.clear();
    writer.raw(name);
    writer.numbers([this.maxDeliveries, this.lease, 2 * this.beat + (this.locked ? 1 : 0), this.count]);
    for (const pages of this.pages) {
      if (pages.size === 0) {
        writer.number(0);
        continue;
      }
      const runs = runsOf(pages);
      writer.number(runs.length);
      let end = 0;
      for (const [from, to] of runs) {
        writer.number(from - end);
        writer.number(to - from);
        end = to;
      }
    }
    return (this.bytes = writer.toBytes());
  }

  /**
   * @param {ByteReader} reader @param {number} slot @param {number} lanes
   * @param {number} limit the first page that does not exist @throws {RangeError}
   */
  static decode(reader, slot, lanes, limit) {
    const { position } = reader;
    const nameBytes = reader.number(LONGEST_HOLDER_NAME);
    const holder = nameBytes === 0 ? reader.hex(ID_BYTES) : new TextDecoder().decode(reader.raw(nameBytes));
    const maxDeliveries = reader.number(MOST_DELIVERIES);
    const lease = reader.number(LONGEST_LEASE);
    const beat = reader.number();
    const claims = new Claims(holder, slot, { maxDeliveries, lease, locked: beat % 2 === 1 }, lanes);
    claims.beat = Math.floor(beat / 2);
    claims.count = reader.number();
    let pages = 0;
    for (let priority = 0; priority < lanes; priority++) {
      /** @type {number[]} */
      const runs = [];
      claims.#runs.push(runs);
      let end = 0;
      for (let count = reader.number(limit); count > 0; count--) {
        const from = end + reader.number(limit);
        end = from + reader.number(limit);
        if (end > limit) throw new RangeError("a holder has pages that do not exist");
        runs.push(from, end);
        pages += end - from;
      }
    }
    if (pages > claims.count) throw new RangeError("a holder has more pages than messages");
    if (claims.count === 0) throw new RangeError("a holder holds nothing");
    claims.bytes = reader.since(position);
    return claims;
  }
}

/** All holders of a mailbox, by name and by slot. */
export class Holders {
  /** @type {Map<string, Claims>} */
  byName = new Map();
  /** By their number. @type {Map<number, import("./blocks.js").Block>} */
  blocks = new Map();
  /** @type {(Claims | undefined)[]} */
  #bySlot = [];
  /** No slot before it is free. */
  #firstFree = 0;

  /** @param {number} slot */
  at(slot) {
    return this.#bySlot[slot];
  }

  /** @param {string} holder @param {HolderTerms} terms @param {number} lanes */
  add(holder, terms, lanes) {
    while (this.#bySlot[this.#firstFree] !== undefined) this.#firstFree += 1;
    const claims = new Claims(holder, this.#firstFree, terms, lanes);
    this.byName.set(holder, claims);
    this.#bySlot[claims.slot] = claims;
    this.note(claims);
    return claims;
  }

  /** @param {Claims} claims */
  remove(claims) {
    this.byName.delete(claims.holder);
    this.#bySlot[claims.slot] = undefined;
    this.#firstFree = Math.min(this.#firstFree, claims.slot);
    this.note(claims);
  }

  /** Gives a holder's slot to another. @param {Claims} claims @param {string} heir @param {HolderTerms} terms */
  rename(claims, heir, { maxDeliveries, lease, locked }) {
    this.byName.delete(claims.holder);
    claims.holder = heir;
    claims.maxDeliveries = bounded(maxDeliveries, MOST_DELIVERIES);
    claims.lease = bounded(lease, LONGEST_LEASE);
    claims.locked = locked;
    this.byName.set(heir, claims);
    this.note(claims);
  }

  /** Records that a holder has changed since it was written. @param {Claims} claims */
  note(claims) {
    claims.bytes = undefined;
    blockIn(this.blocks, HOLDERS, Math.floor(claims.slot / SLOTS_OF_BLOCK)).changed = true;
  }

  /** A block's holders as bytes; undefined if there are none. @param {number} block */
  encode(block) {
    const first = block * SLOTS_OF_BLOCK;
    const end = Math.min(first + SLOTS_OF_BLOCK, this.#bySlot.length);
    blockWriter.clear();
    for (let slot = first; slot < end; slot++) {
      const claims = this.#bySlot[slot];
      if (claims === undefined) continue;
      blockWriter.number(slot - first);
      blockWriter.raw(claims.encode());
    }
    return blockWriter.length > 0 ? blockWriter.toBytes() : undefined;
  }

  /**
   * Adds what `encode` wrote.
   * @param {number} block @param {ByteReader} reader @param {number} lanes @param {number} limit @throws {RangeError}
   */
  decode(block, reader, lanes, limit) {
    for (let before = -1; !reader.isAtEnd; ) {
      const slot = reader.number(SLOTS_OF_BLOCK - 1);
      if (slot <= before) throw new RangeError("holders are out of order");
      before = slot;
      const claims = Claims.decode(reader, block * SLOTS_OF_BLOCK + slot, lanes, limit);
      if (this.byName.has(claims.holder)) throw new RangeError("a holder is listed twice");
      this.byName.set(claims.holder, claims);
      this.#bySlot[claims.slot] = claims;
    }
  }
}

/**
 * Numbers as runs of neighbours.
 * @param {Iterable<number>} numbers @returns {[number, number][]} from and to (exclusive)
 */
export function runsOf(numbers) {
  /** @type {[number, number][]} */
  const runs = [];
  const sorted = [...numbers];
  if (sorted.length > 1) sorted.sort((a, b) => a - b);
  for (const number of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === number) last[1] = number + 1;
    else runs.push([number, number + 1]);
  }
  return runs;
}

/** @param {number} value @param {number} most */
const bounded = (value, most) => Math.min(most, Math.max(0, Math.ceil(value) || 0));
