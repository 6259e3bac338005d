/** Cuts a text file into pieces of whole lines, without ever holding all of it, and those into lines. */

const PIECE = 64 * 1024;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/**
 * Pieces of about 64 KiB, more only where a single line is longer. Each but the last ends after a line feed; together
 * they are the file, without a byte order mark.
 *
 * @param {Blob} file
 * @returns {AsyncGenerator<Uint8Array<ArrayBuffer>>}
 * @throws {Error} before anything was yielded, if the file looks like anything but text
 */
export async function* pieces(file) {
  let start = await textStart(file);
  let length = PIECE;
  while (start < file.size) {
    const bytes = new Uint8Array(await file.slice(start, start + length).arrayBuffer());
    const isLast = start + length >= file.size;
    const cut = isLast ? bytes.length : bytes.lastIndexOf(NEWLINE) + 1;
    if (cut > 0) {
      yield bytes.subarray(0, cut);
      start += cut;
      length = PIECE;
    } else {
      // A long line. Doubled, so that it is read a few times and not once for every 64 KiB of it.
      length *= 2;
    }
  }
}

/**
 * @param {Blob} file
 * @returns {Promise<number>} where its text begins
 */
async function textStart(file) {
  const head = new Uint8Array(await file.slice(0, PIECE).arrayBuffer());
  if (head.includes(0)) throw new Error("There are zero bytes in it, so it is not UTF-8 text.");
  return BYTE_ORDER_MARK.every((byte, index) => head[index] === byte) ? BYTE_ORDER_MARK.length : 0;
}

/**
 * The lines of a piece, without their ends: a line feed, a carriage return, or both.
 * @param {Uint8Array} piece
 */
export function linesOf(piece) {
  const lines = [];
  let start = 0;
  for (let end = 0; end < piece.length; end++) {
    if (piece[end] !== NEWLINE && piece[end] !== RETURN) continue;
    lines.push(piece.subarray(start, end));
    if (piece[end] === RETURN && piece[end + 1] === NEWLINE) end++;
    start = end + 1;
  }
  if (start < piece.length) lines.push(piece.subarray(start));
  return lines;
}
