/**
 * Blocks: the pieces of a mailbox's state that travel inside its head while they are small and busy, and lie in rows of
 * their own otherwise. The head keeps a checksum of each such row, so that one that is not what was written shows.
 */

import { checksum } from "./bytes.js";

/** Kinds of blocks, besides the pages of a lane: the first part of their rows' keys, after the mailbox's number. */
export const HOLDERS = -1;
/** @param {number} priority */
export const directoryOf = (priority) => -2 - priority;

/**
 * A change of rows: the bytes to write, or undefined to delete all rows of a kind from a number to another (inclusive);
 * and what was there before, as far as that is known and was valid.
 * @typedef
 * {{key: [kind: number, number: number], to: number, bytes: Uint8Array | undefined, before: Uint8Array | undefined}}
 * RowChange
 */

export class Block {
  /** Its bytes as far as they are known and right. @type {Uint8Array<ArrayBuffer> | undefined} */
  bytes;
  /** Whether it has changed since the state was last written. */
  changed = false;
  /** Whether the head that was last written holds it. */
  inHead = false;
  /** Whether there is a row of it; while the head holds the block, the row is out of date. */
  hasRow = false;
  /** Of its row, unless the head holds it. */
  sum = 0;
  /** What its row says, as far as that is known and right. @type {Uint8Array | undefined} */
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
 * The block of a number, a new one if there is none.
 * @param {Map<number, Block>} blocks @param {number} kind @param {number} number
 */
export function blockIn(blocks, kind, number) {
  let block = blocks.get(number);
  if (block === undefined) blocks.set(number, (block = new Block(kind, number)));
  return block;
}

/**
 * Decides which of some blocks the head holds: those last used, as many as fit.
 * @template {Block} B
 * @param {B[]} blocks their bytes known, in the order of their last use, the latest first; the others stay where they
 * are
 * @param {number} budget bytes @param {RowChange[]} rows gets those that are to be written
 * @param {(block: B) => void} [moved] told of those that are elsewhere now, or of whose row the checksum is another
 */
export function layOut(blocks, budget, rows, moved) {
  for (const block of blocks) {
    const bytes = /** @type {Uint8Array} */ (block.bytes);
    const { inHead, hasRow, sum } = block;
    // an old row is of no use to anybody
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

/** Blocks in the order of their last use, the latest first. @template {Block} B @param {B[]} blocks */
export const latestFirst = (blocks) => (blocks.length > 1 ? [...blocks].sort((a, b) => b.touched - a.touched) : blocks);
