/**
 * Values that cannot be read at present. Browsers keep a large value in a file of its own (Chromium above 64 KiB,
 * Firefox above 1 MiB), which a virus scanner, a network drive or too many open files may make unreadable for a while.
 *
 * They are remembered only in the memory of this context: nothing is written, and nothing is ever deleted because of
 * them. Each is tried again after a while, until it can be read.
 */

import { StorageUnavailableError } from "../model/errors.js";
import { PassedOver } from "../model/passed-over.js";
import { forgiven } from "../storage/requests.js";
import { DEAD } from "../storage/rows.js";
import { Segment } from "../model/segments.js";
import { nameOfMailbox } from "../storage/stored-state.js";
import { textOfId } from "../model/uuids.js";

/** At most this many that still cannot be read are tried at a time. */
const TRIES = 32;

/** After this many bytes have been read again, the others are left to the calls that need them. */
const ENOUGH_BYTES = 16 * 1024 * 1024;

/** The names of errors with which browsers report an unreadable value. A lost connection gives the same. */
const NOT_READ = ["NotReadableError", "UnknownError"];

/** Whether a request may have failed because its value cannot be read. @param {unknown} error */
export const isReadFailure = (error) => error instanceof DOMException && NOT_READ.includes(error.name);

/** Thrown where a needed value cannot be read at present. */
export class ValueUnavailable extends StorageUnavailableError {
  /** @param {IDBValidKey} key of its record @param {string} [what] it is */
  constructor(key, what = "A record of messages") {
    super(
      `${what} cannot be read at present: the browser cannot read the file that it is in. Another program may ` +
        "be using that file, or its drive may be away. Nothing was changed and nothing is lost: try again in a moment.",
      { passing: true },
    );
    this.key = key;
  }
}

/** The error for a message or dead letter. @param {ValueUnavailable} error @param {Uint8Array | undefined} id */
export const withId = (error, id) =>
  id === undefined ? error : new ValueUnavailable(error.key, `The message ${textOfId(id)}`);

/** Thrown when a transaction failed to read something and has to be repeated without it. */
export class ReadAgain extends ValueUnavailable {}

/** A value that could not be read. @typedef {{store: string, key: IDBValidKey, wait: number, retryAt: number}} Value */

export class UnavailableValues {
  /** By store and key. @type {Map<string, Value>} */
  #values = new Map();
  /** Those that were reported to the user. @type {Set<string>} */
  #reported = new Set();
  /** The earliest time at which any is tried again, on the clock of `performance.now()`. */
  #notBefore = -Infinity;
  #firstWait;
  #longestWait;

  /**
   * @param {{firstWait: number, longestWait: number}} waits milliseconds after which a value is tried again, at first
   * and at most; doubled each time
   */
  constructor({ firstWait, longestWait }) {
    this.#firstWait = firstWait;
    this.#longestWait = longestWait;
  }

  get isEmpty() {
    return this.#values.size === 0;
  }

  /** Whether it is time to try any again. */
  get isRetryDue() {
    return !this.isEmpty && this.#nextRetry(() => true) <= performance.now();
  }

  /** @param {string} store @param {IDBValidKey} key of numbers */
  has(store, key) {
    return this.#values.has(nameOf(store, key));
  }

  /** @param {string} store @param {IDBValidKey} key of numbers */
  add(store, key) {
    this.#values.set(nameOf(store, key), {
      store,
      key,
      wait: this.#firstWait,
      retryAt: performance.now() + this.#firstWait,
    });
  }

  /** The messages of a mailbox that cannot be read. @param {number} mailbox */
  messagesOf(mailbox) {
    const messages = new PassedOver();
    for (const { store, key } of this.#values.values()) {
      const bounds = store === "segments" ? Segment.boundsIn(key) : undefined;
      const [number, priority] = /** @type {number[]} */ (key);
      if (bounds !== undefined && number === mailbox) messages.add(priority, bounds.first, bounds.last + 1);
    }
    return messages;
  }

  /**
   * When one of a mailbox's messages is tried next, on the clock of `performance.now()`; Infinity for none.
   * @param {number} mailbox
   */
  nextRetryOf(mailbox) {
    return this.isEmpty
      ? Infinity
      : this.#nextRetry(({ store, key }) => store === "segments" && /** @type {number[]} */ (key)[0] === mailbox);
  }

  /**
   * The keys of a mailbox in a store that were not reported yet; after this call they count as reported.
   * @param {string} store @param {number} mailbox @returns {number[][]}
   */
  takeUnreported(store, mailbox) {
    /** @type {number[][]} */
    const unreported = [];
    for (const [name, value] of this.#values) {
      const key = /** @type {number[]} */ (value.key);
      if (value.store !== store || key[0] !== mailbox || this.#reported.has(name)) continue;
      this.#reported.add(name);
      unreported.push(key);
    }
    return unreported;
  }

  /**
   * Tries some again, and if one can be read, the others too.
   * @param {(name: string) => IDBObjectStore} store of a separate transaction, which may fail because of this
   */
  async retry(store) {
    try {
      await this.#retry(store);
    } finally {
      this.#notBefore = performance.now() + this.#firstWait;
    }
  }

  /** @param {(name: string) => IDBObjectStore} store */
  async #retry(store) {
    const now = performance.now();
    let [failed, bytes, anyIsBack] = [0, 0, false];
    for (const [name, value] of [...this.#values].sort(([, a], [, b]) => a.retryAt - b.retryAt)) {
      if (!anyIsBack && (value.retryAt > now || failed === TRIES)) return;
      if (bytes < ENOUGH_BYTES) {
        try {
          const found = await forgiven(store(value.store).get(value.key));
          // one that no longer exists says nothing about the others
          anyIsBack ||= found !== undefined;
          bytes += (found?.frame ?? found)?.length ?? 0;
        } catch (error) {
          if (!isReadFailure(error)) throw error;
          failed += 1;
          value.wait = Math.min(2 * value.wait, this.#longestWait);
          value.retryAt = performance.now() + value.wait;
          continue;
        }
      }
      this.#values.delete(name);
    }
  }

  /** @param {(value: Value) => boolean} counts */
  #nextRetry(counts) {
    let next = Infinity;
    for (const value of this.#values.values()) if (counts(value)) next = Math.min(next, value.retryAt);
    return Math.max(next, this.#notBefore);
  }
}

/**
 * Tells the user, once, which messages or dead letters cannot be read at present.
 * @param {import("./read-transaction.js").ReadTransaction} reading
 * @param {import("../model/state.js").MailboxState} state @param {"segments" | "dead"} store
 */
export async function tellOfUnavailable(reading, state, store) {
  const unreported = reading.unavailable.takeUnreported(store, state.number);
  if (unreported.length === 0) return;
  const places = unreported.flatMap((key) => {
    if (store === "dead") return [{ priority: DEAD, sequence: key[1] }];
    const { first, last } = Segment.boundsIn(key) ?? { first: 0, last: -1 };
    return Array.from({ length: last + 1 - first }, (_, i) => ({ priority: key[1], sequence: first + i }));
  });
  const mailbox = JSON.stringify(nameOfMailbox(state.number) ?? "");
  const why = `in the mailbox ${mailbox} cannot be read at present, since the browser cannot read its file.`;
  for (const id of await reading.idsOf(state, places)) {
    // it was removed, though not yet its record, which has other messages
    if (id === undefined) continue;
    const text = textOfId(id);
    console.warn(
      store === "dead"
        ? `The dead letter ${text} ${why} It stays, and is tried again; discard("${text}") gives it up.`
        : `The message ${text} ${why} It stays in its place, and is tried again; ack("${text}") gives it up, and so ` +
            `does purge() while it is queued.`,
    );
  }
}

/** @param {string} store @param {IDBValidKey} key of numbers */
const nameOf = (store, key) => `${store}/${key}`;
