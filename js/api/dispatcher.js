/**
 * How Python learns what its calls of the engine came to: through one function of its own, handed over once, and once
 * for all that a commit completes. To await a promise, Python makes functions for it, and takes three turns of the
 * event loop: that costs more than many a verb.
 *
 * Python is called plainly, so that it goes on in the turn in which a transaction is complete. Where it wants to be
 * able to be suspended (by `run_sync`), it is called in the way of Pyodide's that allows it, which first waits for a
 * turn of its own.
 */

import { joined } from "../model/bytes.js";
import { viewOf } from "../model/frames.js";

/** @typedef {import("../engine/mailbox-handle.js").MailboxHandle} MailboxHandle */

/**
 * A function of Python's that is told what calls came to. For each call: its id, its error, and its value, as one of
 * `ONE, value`, `LONG, array`, or `n, …n values` for a short array. For several calls that were made together and none
 * of which failed: the id of the first, nothing, and `EACH, bytes, array`, an equal part of the bytes and an item of
 * the array for each. It returns true if it wants to be called in the other way instead, and has done nothing.
 * @typedef
 * {((...completions: unknown[]) => boolean) & {callPromising: (...completions: unknown[]) => Promise<boolean>}}
 * OnCompletions
 */

/**
 * As `OnCompletions`, for one call that did not fail. Its value is `value` if `size` is `ONE`; else an array: as many
 * bytes, which lie in the shared memory, `value` and `more`.
 * @typedef {(callId: number, size: number, value: unknown, more?: number) => boolean} OnCompletion
 */

/**
 * Memory of Python's to which both ends write: what one of them wrote is there until the other is called, or returns.
 * @typedef {{getBuffer: (type: "u8") => {data: Uint8Array, release: () => void}}} Shared
 */

/**
 * What a call came to. With `bytes`, `value` and `more` are what comes after them; with `depths`, these are calls made
 * together.
 * @typedef
 * {{callId: number, error?: unknown, value?: unknown, bytes?: Uint8Array, more?: number, handle?: MailboxHandle,
 *   depths?: (number | undefined)[]}}
 * Completion
 */

/** What stands for the length of a value that is not an array. */
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
  #onCompletion;
  #shared;
  #lent;
  /** What is still to be delivered. @type {Completion[]} */
  #completions = [];
  /**
   * Claims that Python has not heard of yet, by the ids of their calls.
   * @type {Map<number, {undo: () => Promise<void>}>}
   */
  #claims = new Map();

  /** @param {OnCompletions} onCompletions @param {OnCompletion} onCompletion @param {Shared} shared */
  constructor(onCompletions, onCompletion, shared) {
    this.#onCompletions = onCompletions;
    this.#onCompletion = onCompletion;
    this.#shared = shared;
    this.#lent = shared.getBuffer("u8");
  }

  /** The shared memory, which is elsewhere after Python's has grown. */
  #memory() {
    if (this.#lent.data.length === 0) {
      this.#lent.release();
      this.#lent = this.#shared.getBuffer("u8");
    }
    return this.#lent.data;
  }

  /**
   * @param {number | Uint8Array} bytes how many there are in the shared memory, or bytes of Python's that do not fit
   * there
   */
  #taken(bytes) {
    return typeof bytes === "number" ? this.#memory().slice(0, bytes) : bytes;
  }

  /** Delivers what a promise comes to. @param {number} callId @param {Promise<unknown>} promise */
  follow(callId, promise) {
    promise.then(
      (value) => this.#push({ callId, value }),
      (error) => this.#push({ callId, error }),
    );
  }

  /**
   * Undoes a claim, also one that is still on its way, of which Python has not heard.
   * @param {number} callId @param {number} claimId
   */
  undo(callId, claimId) {
    this.follow(callId, this.#claims.get(claimId)?.undo() ?? Promise.resolve());
    this.#claims.delete(claimId);
  }

  /**
   * Calls a function that promises something.
   * @param {number} callId @param {(...args: unknown[]) => Promise<unknown>} call @param {unknown[]} args
   */
  run(callId, call, ...args) {
    this.follow(callId, call(...args));
  }

  /** The verbs of a handle, for a caller that gives each call an id. @param {MailboxHandle} handle */
  verbsOf(handle) {
    return {
      /**
       * @param {number} callId @param {string} verb of those that promise something
       * @param {number | Uint8Array | undefined} bytes its first argument, if that is bytes; see `#taken`
       * @param {unknown[]} args
       */
      call: (callId, verb, bytes, ...args) => {
        if (bytes !== undefined) args.unshift(this.#taken(bytes));
        this.follow(callId, /** @type {any} */ (handle)[verb](...args));
      },

      /** @param {number} callId @param {number | Uint8Array} frames @param {Uint8Array} [sentOn] */
      enqueue: (callId, frames, sentOn) => {
        handle.enqueue(this.#taken(frames), sentOn).then(
          ([bytes, value]) => this.#push({ callId, bytes, value, more: 0 }),
          (error) => this.#push({ callId, error }),
        );
      },

      /**
       * As so many calls of `enqueue`, of a message each.
       * @param {number} firstId of the calls, the others follow it
       * @param {Uint8Array} sizes 32 bits for each, little-endian
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
          if (values.length === ends.length) {
            this.#push({
              callId: firstId,
              bytes: joined(values.map(([id]) => id)),
              depths: values.map(([, depth]) => depth),
            });
          } else
            ends.forEach(({ error, value }, i) =>
              this.#push({ callId: firstId + i, error, bytes: value?.[0], value: value?.[1], more: 0 }),
            );
        };
        calls.forEach((call, i) =>
          call.then(
            (value) => end(i, { value }),
            (error) => end(i, { error }),
          ),
        );
      },

      /** @param {number} callId @param {number | Uint8Array} ids */
      ack: (callId, ids) => this.follow(callId, handle.ack(this.#taken(ids))),

      /**
       * As the handle's `claim`. Its value is the batch, how many lives of the handle are over, and how many messages
       * were acknowledged first.
       * @param {number} callId @param {number} limit @param {number} wait
       * @param {number | Uint8Array} [ids] @param {boolean} [heldOnly]
       * @param {number} [earlyId] of a call that comes to how many were acknowledged, if this one then goes on waiting
       */
      claim: (callId, limit, wait, ids, heldOnly = false, earlyId = undefined) => {
        let acked = 0;
        const onCommit = (/** @type {number} */ count, /** @type {boolean} */ waits) => {
          acked = count;
          if (waits && earlyId !== undefined) this.#push({ callId: earlyId, value: count });
        };
        const ack = ids === undefined ? undefined : { ids: this.#taken(ids), heldOnly, onCommit };
        const claim = handle.claim(limit, wait, ack);
        this.#claims.set(callId, claim);
        claim.claimed.then(
          ({ batch }) => this.#push({ callId, bytes: batch, value: handle.livesOver, more: acked, handle }),
          (error) => this.#push({ callId, error }),
        );
      },
    };
  }

  /** @param {Completion} completion */
  #push(completion) {
    // what the same commit completes comes before
    if (this.#completions.length === 0) queueMicrotask(() => this.#deliver());
    this.#completions.push(completion);
  }

  #deliver() {
    const completions = this.#completions;
    this.#completions = [];
    if (this.suspendable || this.#isToBeSuspendable(completions)) {
      this.#onCompletions.callPromising(...completions.flatMap(flattened)).finally(() => this.#forget(completions));
    } else this.#forget(completions);
  }

  /** Python has heard of these. @param {Completion[]} completions */
  #forget(completions) {
    for (const { callId } of completions) this.#claims.delete(callId);
  }

  /** Tells Python; true if it wants to be told in the other way. @param {Completion[]} completions */
  #isToBeSuspendable(completions) {
    if (completions.length === 1) {
      const { callId, error, value, bytes, more, handle, depths } = completions[0];
      if (error === undefined && depths === undefined) {
        if (bytes === undefined) {
          if (!Array.isArray(value)) return this.#onCompletion(callId, ONE, value);
        } else {
          const memory = this.#memory();
          // what it claimed may have been given back since then, which Python is to find out
          if (bytes.length <= memory.length && (handle === undefined || handle.livesOver === value)) {
            memory.set(bytes);
            return this.#onCompletion(callId, bytes.length, value, more);
          }
        }
      }
    }
    return this.#onCompletions(...completions.flatMap(flattened));
  }
}

/** What Python is told of a call. @param {Completion} completion @returns {unknown[]} */
function flattened({ callId, error, value, bytes, more, depths }) {
  if (depths !== undefined) return [callId, undefined, EACH, bytes, depths];
  if (bytes !== undefined) return [callId, error, 3, bytes, value, more];
  if (!Array.isArray(value)) return [callId, error, ONE, value];
  return value.length < FEW ? [callId, error, value.length, ...value] : [callId, error, LONG, value];
}
