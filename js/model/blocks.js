/**
 * Blocks: the pieces of a mailbox's state that travel inside its head while they are small and busy, and otherwise have
 * rows of their own. The head keeps a checksum of each such row, to show whether it is what was written.
 */

import { checksum } from "./bytes.js";

/** Kinds of blocks, besides the pages of a lane: the first part of their rows' keys, after the mailbox's number. */
export const HOLDERS = -1;
/** @param {number} priority */
export const directoryOf = (priority) => -2 - priority;

/**
 * A change of rows: the bytes to write, or undefined to delete all rows of a kind in a range of numbers (inclusive);
 * and what was there before, if that is known and was valid.
 * @typedef
 * {{key: [kind: number, number: number], to: number, bytes: Uint8Array | undefined, before: Uint8Array | undefined}}
 * RowChange
 */

export class Block {
  /** Its bytes, if they are known and current. @type {Uint8Array<ArrayBuffer> | undefined} */
  bytes;
  /** Whether it has changed since the state was last written. */
  changed = false;
  /** Whether the last head that was written holds it. */
  inHead = false;
  /** Whether it has a row; while the head holds the block, the row is out of date. */
  hasRow = false;
  /** The checksum of its row, unless the head holds it. */
  sum = 0;
  /** The content of its row, if that is known and current. @type {Uint8Array | undefined} */
  row;
  /** When it was last used, counted in uses. */
  touched = 0;

  /** @param {number} kind a priority, `HOLDERS` or a `directoryOf` @param {number} number */
  constructor(kind, number) {
    this.kind = kind;
    this.number = number;
  }

  /** Whether bytes are those of its row. @param {Uint8Array} bytes */
  isRow(bytes) {
    return checksum(bytes, this.kind, this.number) === this.sum;
  }
}

/**
 * The block with a number, a new one if there is none.
 * @param {Map<number, Block>} blocks @param {number} kind @param {number} number
 */
export function blockIn(blocks, kind, number) {
  let block = blocks.get(number);
  if (block === undefined) blocks.set(number, (block = new Block(kind, number)));
  return block;
}

/**
 * Decides which of some blocks the head holds: as many of those last used as fit.
 * @template {Block} B
 * @param {B[]} blocks with known bytes, most recently used first; the others stay where they are
 * @param {number} budget bytes @param {RowChange[]} rows gets those that have to be written
 * @param {(block: B) => void} [moved] called with those that have moved, or whose row has another checksum
 */
export function layOut(blocks, budget, rows, moved) {
  for (const block of blocks) {
    const bytes = /** @type {Uint8Array} */ (block.bytes);
    const { inHead, hasRow, sum } = block;
    // nobody needs the old row
    if (block.inHead) block.row = undefined;
    const fits = bytes.length <= budget;
    if (fits) {
      budget -= bytes.length;
    } else if (block.changed || block.inHead || !block.hasRow) {
      block.sum = checksum(bytes, block.kind, block.number);
      block.hasRow = true;
      rows.push({ key: [block.kind, block.number], to: block.number, bytes, before: block.row });
      block.row = bytes;
    }
    block.inHead = fits;
    block.changed = false;
    const isWhereItWas = inHead === fits && hasRow === block.hasRow && (fits || sum === block.sum);
    if (!isWhereItWas) moved?.(block);
  }
}

/** Blocks, most recently used first. @template {Block} B @param {B[]} blocks */
export const latestFirst = (blocks) => (blocks.length > 1 ? [...blocks].sort((a, b) => b.touched - a.touched) : blocks);
