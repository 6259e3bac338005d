/** The content of a file that comes in pieces, as lines. */

import { described } from "./validate.js";

const NEWLINE = 10;

const encoder = new TextEncoder();

/** @param {Uint8Array} line */
export const isBlank = (line) => line.every((byte) => byte === 32 || (byte >= 9 && byte <= 13));

/**
 * The lines of a file that comes in pieces, without their line ends.
 * @param {AsyncIterable<Uint8Array>} pieces
 */
export async function* linesIn(pieces) {
  /** @type {Uint8Array[]} */
  let begun = [];
  for await (const piece of pieces) {
    let from = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, from)) {
      const rest = piece.subarray(from, end);
      yield begun.length === 0 ? rest : concatenated([...begun, rest]);
      begun = [];
      from = end + 1;
    }
    // whoever gives the next piece may give it in the same memory
    if (from < piece.length) begun.push(piece.slice(from));
  }
  if (begun.length > 0) yield concatenated(begun);
}

/** @param {Uint8Array[]} parts */
function concatenated(parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * The pieces of a file; no more once the signal is aborted, also while one is waited for.
 * @param {unknown} source @param {AbortSignal} [signal] @returns {AsyncGenerator<Uint8Array>}
 */
export async function* piecesOf(source, signal) {
  const pieces = givenBy(source, signal);
  try {
    for (;;) {
      const next = await unlessAborted(pieces.next(), signal);
      if (next === undefined || next.done) return;
      yield next.value;
    }
  } finally {
    // what never gives its next piece never ends either
    await unlessAborted(pieces.return(undefined), signal);
  }
}

/**
 * What a promise comes to; undefined if the signal is aborted first.
 * @template T @param {Promise<T>} promise @param {AbortSignal} [signal]
 */
async function unlessAborted(promise, signal) {
  if (signal === undefined) return promise;
  let abort = () => {};
  const aborted = new Promise((/** @type {(_: undefined) => void} */ resolve) => {
    abort = () => resolve(undefined);
  });
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** @param {unknown} source @param {AbortSignal} [signal] @returns {AsyncGenerator<Uint8Array>} */
async function* givenBy(source, signal) {
  if (typeof source === "string" || source instanceof ArrayBuffer || ArrayBuffer.isView(source)) {
    yield bytesOfPiece(source);
    return;
  }
  const kind = Object.prototype.toString.call(source);
  if (kind === "[object Blob]" || kind === "[object File]")
    yield* streamed(/** @type {Blob} */ (source).stream(), signal);
  else if (kind === "[object Response]") yield* streamed(/** @type {Response} */ (source).body, signal);
  else if (kind === "[object ReadableStream]") yield* streamed(/** @type {ReadableStream} */ (source), signal);
  else if (isIterable(source)) for await (const piece of source) yield bytesOfPiece(piece);
  else {
    throw new TypeError(
      `source must be a Blob, a Response, a stream, bytes, a text or an iterable of them, not ${described(source)}`,
    );
  }
}

/** @param {unknown} source @returns {source is Iterable<unknown> | AsyncIterable<unknown>} */
const isIterable = (source) =>
  typeof source === "object" && source !== null && (Symbol.asyncIterator in source || Symbol.iterator in source);

/**
 * Not every browser can iterate over a stream.
 * @param {ReadableStream | null} stream @param {AbortSignal} [signal] cancels it
 */
async function* streamed(stream, signal) {
  if (stream === null) return;
  const reader = stream.getReader();
  const cancel = () => reader.cancel(signal?.reason).catch(() => {});
  if (signal?.aborted) cancel();
  else signal?.addEventListener("abort", cancel);
  let isAtEnd = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      isAtEnd = done;
      if (done) return;
      yield bytesOfPiece(value);
    }
  } finally {
    signal?.removeEventListener("abort", cancel);
    if (!isAtEnd) await reader.cancel().catch(() => {});
    reader.releaseLock();
  }
}

/** @param {unknown} piece */
function bytesOfPiece(piece) {
  if (typeof piece === "string") return encoder.encode(piece);
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece);
  if (ArrayBuffer.isView(piece)) return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  throw new TypeError(`a piece of source must be bytes or a text, not ${described(piece)}`);
}
