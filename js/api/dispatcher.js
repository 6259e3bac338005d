/**
 * How Python learns what its calls of the engine came to: through one function of its own, handed over once, and once for
 * all that a commit completes. To await a promise, Python makes functions for it, and takes three turns of the event loop:
 * that costs more than many a verb.
 *
 * Python is called plainly, so that it goes on in the turn in which a transaction is complete. Where it wants to be able to
 * be suspended (by `run_sync`), it is called in the way of Pyodide's that allows it, which first waits for a turn of its own.
 */

import { viewOf } from "../model/frames.js";

/** @typedef {import("../engine/mailbox-handle.js").MailboxHandle} MailboxHandle */

/**
 * A function of Python's that is told what calls came to. For each call: its id, its error, and its value, as one of
 * `ONE, value`, `LONG, array`, or `n, …n values` for a short array. For several calls that were made together and none of
 * which failed: the id of the first, nothing, and `EACH, bytes, array`, an equal part of the bytes and an item of the array for
 * each. It returns true if it wants to be called in the other way instead, and has done nothing.
 * @typedef {((...completions: unknown[]) => boolean) & {callPromising: (...completions: unknown[]) => Promise<boolean>}} OnCompletions
 */

/** What stands for the length of a value that is no array. */
const ONE = -1;

/** What stands for the length of an array that is handed over whole. */
const LONG = -2;

/** What stands there for the values of several calls. */
const EACH = -3;

/** The length of an array from which on it is handed over whole. */
const FEW = 8;

/** What Python calls, and how it is told what its calls came to; one for each Python. */
export class Dispatcher {
  /** Whether this browser can suspend Python at all. */
  canSuspend = "Suspending" in WebAssembly;
  /** Whether Python is called so that it can be suspended. */
  suspendable = false;

  #onCompletions;
  /** What is still to be delivered. @type {unknown[]} */
  #completions = [];
  /** Those that Python fills again for its next call. @type {WeakSet<Uint8Array>} */
  #buffers = new WeakSet();

  /** @param {OnCompletions} onCompletions */
  constructor(onCompletions) {
    this.#onCompletions = onCompletions;
  }

  /** Bytes for Python to fill, as often as it likes: each call copies them. @param {number} length */
  buffer(length) {
    const buffer = new Uint8Array(length);
    this.#buffers.add(buffer);
    return buffer;
  }

  /** Delivers what a promise comes to. @param {number} callId @param {Promise<unknown>} promise */
  follow(callId, promise) {
    promise.then(
      (value) => this.#add(callId, undefined, value),
      (error) => this.#add(callId, error, undefined),
    );
  }

  /** Calls a function that promises something. @param {number} callId @param {(...args: unknown[]) => Promise<unknown>} call @param {unknown[]} args */
  run(callId, call, ...args) {
    this.follow(callId, call(...args));
  }

  /** The verbs of a handle, for a caller that gives each call an id. @param {MailboxHandle} handle */
  verbsOf(handle) {
    /** @param {Uint8Array} bytes */
    const own = (bytes) => (this.#buffers.has(bytes) ? bytes.slice() : bytes);
    return {
      /** @param {number} callId @param {string} verb of those that promise something @param {unknown[]} args its arguments */
      call: (callId, verb, ...args) =>
        this.follow(
          callId,
          /** @type {any} */ (handle)[verb](...args.map((arg) => (arg instanceof Uint8Array ? own(arg) : arg))),
        ),

      /** @param {number} callId @param {Uint8Array} frames */
      enqueue: (callId, frames) => this.follow(callId, handle.enqueue(own(frames))),

      /**
       * As so many calls of `enqueue`, of a message each.
       * @param {number} firstId of the calls, the others follow it @param {Uint8Array} sizes 32 bits for each, little-endian
       * @param {Uint8Array} frames of all of them
       */
      enqueueEach: (firstId, sizes, frames) => {
        let at = 0;
        const calls = Array.from({ length: sizes.length / 4 }, (_, i) =>
          handle.enqueue(frames.subarray(at, (at += viewOf(sizes).getUint32(4 * i, true)))),
        );
        /** @type {{error?: unknown, value?: [Uint8Array, number | undefined]}[]} */
        const ends = [];
        let left = calls.length;
        const end = (/** @type {number} */ i, /** @type {typeof ends[number]} */ how) => {
          ends[i] = how;
          left -= 1;
          if (left > 0) return;
          // at once, before what the same commit completes of later calls
          const values = ends.flatMap(({ value }) => (value === undefined ? [] : [value]));
          if (values.length < ends.length) ends.forEach(({ error, value }, i) => this.#add(firstId + i, error, value));
          else this.#push(firstId, undefined, EACH, joined(values.map(([id]) => id)), values.map(([, depth]) => depth));
        };
        calls.forEach((call, i) => call.then((value) => end(i, { value }), (error) => end(i, { error })));
      },

      /** @param {number} callId @param {Uint8Array} ids */
      ack: (callId, ids) => this.follow(callId, handle.ack(own(ids))),

      /**
       * As the handle's `claim`. Its value is the batch, how many lives of the handle are over, and how many messages
       * were removed that it acknowledges first.
       * @param {number} callId @param {number} limit @param {number} wait
       * @param {Uint8Array} [ids] @param {boolean} [heldOnly] @param {number} [earlyId] of a call that comes to how many
       * were removed, if this one then goes on waiting
       */
      claim: (callId, limit, wait, ids, heldOnly = false, earlyId = undefined) => {
        let removed = 0;
        const onCommit = (/** @type {number} */ count, /** @type {boolean} */ waits) => {
          removed = count;
          if (waits && earlyId !== undefined) this.#add(earlyId, undefined, count);
        };
        const claim = handle.claim(limit, wait, ids && { ids: own(ids), heldOnly, onCommit });
        this.follow(callId, claim.batch.then((batch) => [batch, handle.livesOver, removed]));
        return claim;
      },
    };
  }

  /** @param {number} callId @param {unknown} error @param {unknown} value */
  #add(callId, error, value) {
    if (!Array.isArray(value)) this.#push(callId, error, ONE, value);
    else if (value.length < FEW) this.#push(callId, error, value.length, ...value);
    else this.#push(callId, error, LONG, value);
  }

  /** @param {unknown[]} completions */
  #push(...completions) {
    // what the same commit completes comes before
    if (this.#completions.length === 0) queueMicrotask(() => this.#deliver());
    this.#completions.push(...completions);
  }

  #deliver() {
    const completions = this.#completions;
    this.#completions = [];
    if (this.suspendable || this.#onCompletions(...completions)) this.#onCompletions.callPromising(...completions);
  }
}

/** @param {Uint8Array[]} parts of the same length */
function joined(parts) {
  const bytes = new Uint8Array(parts.length * parts[0].length);
  parts.forEach((part, i) => bytes.set(part, i * part.length));
  return bytes;
}
