/**
 * A mailbox's state as bytes: encodes and decodes its head and the blocks that have rows of their own.
 *
 * The head is the counts, the blocks (of holders and of page directories), the busy pages, and the places of the small
 * segments that travel with it, each with its checksum. See `blocks.js` for what travels in it.
 */

import { HOLDERS, blockIn, directoryOf, latestFirst, layOut } from "./blocks.js";
import { ByteReader, ByteWriter, quickChecksum } from "./bytes.js";
import { ID_BYTES } from "./ids.js";
import { PRIORITIES } from "./lane.js";
import { pageIn } from "./page-table.js";
import { Segment } from "./segments.js";

/** The most numbers that a page can cover, and the most bytes of pages that a head can hold. */
const LARGEST_PAGE = 2 ** 16;

/** As many as an id can distinguish. */
const MOST_NUMBERS = 2 ** 48;

/** Bytes of holders and directories in the head; far below what Chromium would put into a file. */
const REST_IN_HEAD = 4096;

/** Flags of a head: it has the counts of remembered ids and of delayed messages only if they are not 0. */
const MAY_COLLIDE = 1;
const HAS_REMEMBERED = 2;
const HAS_DELAYED = 4;
const SINCE_LAYOUT_5 = 8;
const ALL_FLAGS = 15;

const writer = new ByteWriter();

/** @typedef {import("./blocks.js").Block} Block */
/** @typedef {import("./blocks.js").RowChange} RowChange */
/** @typedef {import("./page-directory.js").PageEntry} PageEntry */
/** @typedef {import("./page-table.js").PageTable} PageTable */

/**
 * What a head holds of a state, see there.
 * @typedef {object} Headed
 * @property {number} number
 * @property {number} pagesInHead
 * @property {PageTable} pages
 * @property {Uint8Array} head as it was last packed
 * @property {number} sum its checksum
 * @property {Uint8Array[]} carried the segments that travel with it
 * @property {Uint8Array} idBase
 * @property {boolean} mayCollide
 * @property {number} deadLetters
 * @property {number} nextDeadLetter
 * @property {number} remembered
 * @property {boolean} isBeforeLayout5
 */

/**
 * Packs what has changed in a state.
 * @param {Headed} state @returns {RowChange[]} what to do in the store `pages`, in this order
 */
export function pack(state) {
  const { pages: table, pagesInHead } = state;
  const { lanes, holders } = table;
  const changes = deletionsOf(table.takeRemoved());
  /** @type {RowChange[]} */
  const outside = [];
  const pages = table.busy.size === 0 ? [] : layOutPages(table, pagesInHead, outside);
  /** @type {Block[]} */
  const blocks = [];
  for (let priority = 0; priority < PRIORITIES; priority++) {
    const { directory, blocks: ofLane } = lanes[priority];
    if (directory.changed.size > 0) {
      for (const number of directory.changed) blockIn(ofLane, directoryOf(priority), number).changed = true;
      directory.changed.clear();
    }
    if (ofLane.size > 0) encodeBlocks(table, ofLane, directory, changes, blocks);
  }
  if (holders.blocks.size > 0) encodeBlocks(table, holders.blocks, holders, changes, blocks);
  if (outside.length > 0) changes.push(...outside);
  layOut(latestFirst(blocks), REST_IN_HEAD, changes);
  state.head = packHead(state, blocks, pages);
  state.sum = quickChecksum(state.head, state.number);
  state.carried = carriedIn(table);
  return changes;
}

/**
 * Decides which of the busy pages the head holds, and encodes them.
 * @param {PageTable} table @param {number} budget bytes @param {RowChange[]} rows gets those that have to be written
 * @returns {PageEntry[]} most recently used first
 */
function layOutPages(table, budget, rows) {
  const pages = latestFirst([...table.busy]);
  for (const entry of pages) entry.bytes ??= pageIn(entry).encode(entry.first * table.pageNumbers);
  layOut(pages, budget, rows, (entry) => table.lanes[entry.priority].directory.note(entry));
  for (const entry of pages) if (!entry.inHead) table.busy.delete(entry);
  return pages;
}

/**
 * Deletions of the rows of pages that no longer exist, in order; neighbours together.
 * @param {PageEntry[]} removed @returns {RowChange[]}
 */
function deletionsOf(removed) {
  /** @type {RowChange[]} */
  const changes = [];
  for (const { priority, first, row } of removed) {
    const last = changes.at(-1);
    const joins = row === undefined && last?.before === undefined && last?.key[0] === priority && last.to === first - 1;
    if (joins) last.to = first;
    else changes.push({ key: [priority, first], to: first, bytes: undefined, before: row });
  }
  return changes;
}

/**
 * Encodes the blocks that have changed.
 * @param {PageTable} table @param {Map<number, Block>} blocks
 * @param {{encode(number: number): Uint8Array<ArrayBuffer> | undefined}} source the blocks' owner
 * @param {RowChange[]} changes gets deletions of rows that are no longer needed
 * @param {Block[]} into gets the blocks
 */
function encodeBlocks(table, blocks, source, changes, into) {
  for (const block of blocks.values()) {
    const { number } = block;
    if (block.changed) block.bytes = source.encode(number);
    if (block.bytes !== undefined) {
      into.push(block);
      if (block.changed) block.touched = table.use();
    } else {
      if (block.hasRow) changes.push({ key: [block.kind, number], to: number, bytes: undefined, before: block.row });
      blocks.delete(number);
    }
  }
}

/**
 * @param {Headed} state @param {Block[]} blocks @param {PageEntry[]} pages most recently used first
 * @returns {Uint8Array<ArrayBuffer>}
 */
function packHead(
  { pagesInHead, pages: table, idBase, mayCollide, deadLetters, nextDeadLetter, remembered, isBeforeLayout5 },
  blocks,
  pages,
) {
  writer.clear();
  writer.numbers([table.pageNumbers, pagesInHead]);
  writer.raw(idBase);
  const hasDelayed = table.lanes.some(({ delayed }) => delayed > 0);
  const flags =
    (mayCollide ? MAY_COLLIDE : 0) +
    (remembered > 0 ? HAS_REMEMBERED : 0) +
    (hasDelayed ? HAS_DELAYED : 0) +
    (isBeforeLayout5 ? 0 : SINCE_LAYOUT_5);
  writer.numbers([flags, table.customIds, deadLetters, nextDeadLetter]);
  for (const { next, frontier, largestSegment, queued, inflight } of table.lanes)
    writer.numbers([next, frontier, largestSegment, queued, inflight]);
  if (remembered > 0) writer.number(remembered);
  if (hasDelayed) for (const { delayed } of table.lanes) writer.number(delayed);
  writer.number(blocks.length);
  for (const block of blocks) {
    writer.numbers([-block.kind, block.number, (block.inHead ? 1 : 0) + (block.hasRow ? 2 : 0)]);
    if (block.inHead) writer.sized(/** @type {Uint8Array} */ (block.bytes));
    else writer.uint32(block.sum);
  }
  for (const entry of pages) {
    if (!entry.inHead) continue;
    writer.numbers([entry.priority, entry.first]);
    writer.sized(/** @type {Uint8Array} */ (entry.bytes));
  }
  for (let priority = 0; priority < PRIORITIES; priority++) {
    for (const segment of table.lanes[priority].carried) {
      writer.numbers([PRIORITIES + priority, segment.first]);
      writer.uint32(segment.sum);
    }
  }
  return writer.toBytes();
}

/** The segments that travel with the head, in the order in which it names them. @param {PageTable} table */
function carriedIn({ lanes }) {
  /** @type {Uint8Array[]} */
  const carried = [];
  for (const lane of lanes) for (const { bytes } of lane.carried) carried.push(bytes);
  return carried;
}

/**
 * The state of a head; some of its blocks may still have to be read, see `absentIn`.
 * @template {Headed} State @param {{number: number, head: Uint8Array, sum: unknown, carried: unknown[]}} stored
 * @param {(pageNumbers: number, pagesInHead: number) => State} create makes an empty one
 * @returns {State}
 * @throws {RangeError} it is not a head
 */
export function unpackHead({ number, head, sum, carried }, create) {
  if (sum !== quickChecksum(head, number)) throw new RangeError("this is not a head");
  const reader = new ByteReader(head);
  const state = create(reader.number(LARGEST_PAGE), reader.number(LARGEST_PAGE));
  const table = state.pages;
  if (table.pageNumbers === 0) throw new RangeError("a page covers no numbers");
  state.idBase = reader.raw(ID_BYTES);
  const flags = reader.number(ALL_FLAGS);
  state.isBeforeLayout5 = (flags & SINCE_LAYOUT_5) === 0;
  state.mayCollide = (flags & MAY_COLLIDE) !== 0;
  table.customIds = reader.number();
  state.deadLetters = reader.number();
  state.nextDeadLetter = reader.number();
  for (const lane of table.lanes) {
    lane.next = reader.number(MOST_NUMBERS);
    lane.frontier = reader.number(lane.next);
    lane.largestSegment = reader.number();
    lane.queued = reader.number();
    lane.inflight = reader.number();
  }
  if ((flags & HAS_REMEMBERED) !== 0) state.remembered = reader.number();
  if ((flags & HAS_DELAYED) !== 0) for (const lane of table.lanes) lane.delayed = reader.number(lane.queued);
  for (let count = reader.number(); count > 0; count--) {
    const kind = -reader.number();
    const at = reader.number();
    const flags = reader.number(3);
    const priority = directoryOf(0) - kind;
    const block = blockIn(kind === HOLDERS ? table.holders.blocks : laneIn(table, priority).blocks, kind, at);
    block.inHead = (flags & 1) !== 0;
    block.hasRow = (flags & 2) !== 0;
    if (block.inHead) block.bytes = reader.sized();
    else block.sum = reader.uint32();
  }
  let segments = 0;
  while (!reader.isAtEnd) {
    const [priority, first] = [reader.number(), reader.number()];
    if (priority < PRIORITIES) table.unopened.push({ priority, first, bytes: reader.sized() });
    else laneIn(table, priority - PRIORITIES).carried.push(segmentIn(carried[segments++], first, reader.uint32()));
  }
  if (segments !== carried.length) throw new RangeError("a segment has no lane");
  return state;
}

/**
 * Blocks that are needed for everything and have rows of their own.
 * @param {PageTable} table @returns {Block[]}
 */
export const absentIn = (table) =>
  [...table.lanes.flatMap(({ blocks }) => [...blocks.values()]), ...table.holders.blocks.values()].filter(
    ({ bytes }) => bytes === undefined,
  );

/**
 * Takes the rows of the blocks that are absent.
 * @param {PageTable} table @param {unknown[]} rows in their order @returns {boolean} false if they are not blocks
 */
export function fill(table, rows) {
  for (const [i, block] of absentIn(table).entries()) {
    const bytes = rows[i];
    if (!(bytes instanceof Uint8Array) || !block.isRow(bytes)) return false;
    block.bytes = block.row = bytes.slice();
  }
  return complete(table);
}

/**
 * Decodes the blocks, once all are here.
 * @param {PageTable} table @returns {boolean} false if they are not blocks
 */
export function complete(table) {
  try {
    const limit = Math.max(...table.lanes.map(({ frontier }) => Math.ceil(frontier / table.pageNumbers)));
    for (const [number, { bytes }] of sorted(table.holders.blocks)) {
      table.holders.decode(number, new ByteReader(/** @type {Uint8Array} */ (bytes)), PRIORITIES, limit);
    }
    for (const { directory, blocks, frontier } of table.lanes) {
      const pages = Math.ceil(frontier / table.pageNumbers);
      for (const [number, { bytes }] of sorted(blocks))
        directory.decode(number, new ByteReader(/** @type {Uint8Array} */ (bytes)), pages);
      const last = directory.entries.at(-1);
      if (last?.isFresh && last.last * table.pageNumbers > frontier)
        throw new RangeError("what is fresh is beyond the frontier");
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return false;
  }
  return table.openAllOfHead();
}

/** @param {PageTable} table @param {number} priority @throws {RangeError} */
function laneIn({ lanes }, priority) {
  const lane = lanes[priority];
  if (lane === undefined) throw new RangeError("there is no such lane");
  return lane;
}

/**
 * @param {unknown} bytes @param {number} first @param {number} sum
 * @throws {RangeError} they are not the segment that begins with this number
 */
function segmentIn(bytes, first, sum) {
  const segment = Segment.from(bytes);
  if (segment?.first !== first || segment.sum !== sum) throw new RangeError("a segment is not what it should be");
  return segment;
}

/** @template T @param {Map<number, T>} blocks */
const sorted = (blocks) => [...blocks].sort(([a], [b]) => a - b);
