/**
 * Checks of what callers of the API pass: each throws a `TypeError` or `RangeError` that names the argument.
 *
 * All of it runs before a verb touches the storage, so a bad argument never leaves anything half written. `undefined`
 * means "not given"; `null` does not.
 */

import { unavailable } from "../model/errors.js";
import { packHeaders } from "../model/headers.js";
import {
  LARGEST_COUNT,
  LARGEST_HEADERS,
  LARGEST_MESSAGE,
  LONGEST_DELAY,
  LONGEST_NAME,
  MOST_HEADERS,
} from "../model/limits.js";
import { bytesOfId } from "../model/uuids.js";

/** By the number that a priority has in a frame. */
export const PRIORITIES = /** @type {const} */ (["normal", "high"]);

/** By the number that a status has in a batch. */
export const STATUSES = /** @type {const} */ (["queued", "inflight"]);

const DURABILITIES = /** @type {const} */ (["strict", "relaxed"]);

/** Of an `enqueue`. */
export const MESSAGE_OPTIONS = ["priority", "messageId", "delay", "headers", "dedupeFor"];

/** Of an `enqueueJson`. */
export const JSON_OPTIONS = ["sender", ...MESSAGE_OPTIONS];

const CONTENT_TYPE = "content-type";
const JSON_TYPE = "application/json";

const NO_BYTES = new Uint8Array();

const encoder = new TextEncoder();

/** Plain names that other libraries understand as a database in memory or a file. */
const MISLEADING_NAME = /^(:memory:$|file:)/i;

/** What a typed array is, whatever else it may say of itself. @type {(value: object) => string | undefined} */
const typedArrayName = Function.prototype.call.bind(
  /** @type {() => string} */ (
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)?.get
  ),
);

/** Throws unless it is an `ArrayBuffer`, of any window; shared memory is not one. @type {(value: unknown) => number} */
const lengthOfUnshared = Function.prototype.call.bind(
  /** @type {() => number} */ (Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength")?.get),
);

/** Typed arrays whose items are single bytes. */
const BYTE_ARRAYS = ["Uint8Array", "Uint8ClampedArray", "Int8Array"];

const URL_FORM = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/(.*)$/s;

/** @typedef {import("../model/types.js").Packable} Packable */

/**
 * A mailbox's own name, from a plain name or `indexeddb://NAME`; the same as in Python's `open_mailbox`.
 * @param {unknown} name @returns {string}
 */
export function checkName(name) {
  if (typeof name !== "string") throw new TypeError(`name must be a string, not ${described(name)}`);
  const [, scheme, rest] = URL_FORM.exec(name) ?? [];
  if (scheme === undefined) {
    if (!MISLEADING_NAME.test(name)) return checkPlainName(name);
    throw new RangeError(
      `name ${described(name)} looks like a database in memory or a file, and IndexedDB has neither; ` +
        `if it really is the mailbox's name, write indexeddb://${encodeURIComponent(name)}`,
    );
  }
  if (scheme.toLowerCase() !== "indexeddb") {
    throw unavailable(
      `name ${described(name)} is not in IndexedDB, which is all that JavaScript reaches; use NAME or ` +
        `indexeddb://NAME.`,
    );
  }
  if (/[/?#]/.test(rest)) {
    throw new RangeError(
      `name ${described(name)} must look like indexeddb://NAME, with '/', '?' and '#' percent-encoded`,
    );
  }
  if (/%(?![0-9A-Fa-f]{2})/.test(rest)) {
    throw new RangeError(`name ${described(name)} has a '%' that is not a percent-encoding; write '%25' for '%'`);
  }
  try {
    return checkPlainName(decodeURIComponent(rest));
  } catch (error) {
    if (error instanceof URIError) throw new RangeError(`name ${described(name)} does not decode to UTF-8`);
    throw error;
  }
}

/** @param {string} name */
function checkPlainName(name) {
  const length = [...name].length;
  if (length < 1 || length > LONGEST_NAME)
    throw new RangeError(`name must have 1 to ${LONGEST_NAME} characters, not ${length}`);
  const refused = /[\p{Cc}\p{Cs}]/u.exec(name);
  if (refused !== null) {
    throw new RangeError(`name must not contain the control character or lone surrogate ${JSON.stringify(refused[0])}`);
  }
  return name;
}

/** @param {unknown} options @returns {Required<import("./values.js").MailboxOptions>} */
export function checkMailboxOptions(options) {
  const given = checkOptions(options, "options", ["batchSize", "maxDeliveries", "lease", "durability"]);
  const { batchSize = 32, maxDeliveries = Infinity, lease = 300_000, durability = "strict" } = given;
  return {
    batchSize: checkCount("batchSize", batchSize),
    maxDeliveries: maxDeliveries === Infinity ? Infinity : checkCount("maxDeliveries", maxDeliveries),
    lease: checkPeriod("lease", lease),
    durability: checkChoice("durability", durability, DURABILITIES),
  };
}

/** Milliseconds, more than none. @param {string} name @param {unknown} period @returns {number} */
export function checkPeriod(name, period) {
  if (typeof period !== "number")
    throw new TypeError(`${name} must be a number of milliseconds, not ${described(period)}`);
  if (period > 0 && period <= LONGEST_DELAY) return period;
  throw new RangeError(
    `${name} must be a positive number of milliseconds, at most ${LONGEST_DELAY} (100 years), not ${period}`,
  );
}

/** @param {string} name @param {unknown} value @param {number} least @param {number} most @returns {number} */
export function checkBetween(name, value, least, most) {
  if (typeof value !== "number") throw new TypeError(`${name} must be a number, not ${described(value)}`);
  if (value >= least && value <= most) return value;
  const limits = most === Number.MAX_VALUE ? `${least} or more, and finite` : `between ${least} and ${most}`;
  throw new RangeError(`${name} must be ${limits}, not ${value}`);
}

/** @param {string} name @param {unknown} value @param {boolean} otherwise where none is given */
export function checkFlag(name, value, otherwise) {
  if (value === undefined) return otherwise;
  if (typeof value === "boolean") return value;
  throw new TypeError(`${name} must be true or false, not ${described(value)}`);
}

/** @param {string} name @param {unknown} value @returns {Function} */
export function checkFunction(name, value) {
  if (typeof value === "function") return value;
  throw new TypeError(`${name} must be a function, not ${described(value)}`);
}

/**
 * The options of a call, which may only be those in `known`: a misspelt one would otherwise silently have no effect.
 * @param {unknown} options @param {string} name @param {string[]} known @returns {Record<string, unknown>}
 */
export function checkOptions(options, name, known) {
  if (options === undefined) return {};
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`${name} must be an object, not ${described(options)}`);
  }
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new TypeError(`${name} must not have ${unknown}; there are ${known.join(", ")}`);
  return /** @type {Record<string, unknown>} */ (options);
}

/** The checked copy of a message; as `checkInPlace`. @param {Parameters<typeof checkInPlace>} given */
export function checkMessage(...given) {
  const checked = checkInPlace(...given);
  checked.sender = checked.sender.slice();
  checked.payload = checked.payload.slice();
  return checked;
}

/**
 * A checked message, its bytes where the caller has them: to be copied before any code of the caller's can run.
 * @param {unknown} sender @param {unknown} payload @param {Record<string, unknown>} options
 * @param {string} [where] is put before an argument's name, as in `messages[3].`
 * @returns {Packable}
 */
export function checkInPlace(sender, payload, options, where = "") {
  const { priority = "normal", messageId, delay, headers, dedupeFor } = options;
  // first, since to walk through them may run code of the caller's
  const packed = headers === undefined ? NO_BYTES : packHeaders(checkHeaders(headers, where));
  const bytes = { sender: bytesOf(`${where}sender`, sender), payload: bytesOf(`${where}payload`, payload) };
  const size = bytes.sender.length + bytes.payload.length + packed.length;
  if (size > LARGEST_MESSAGE) {
    throw new RangeError(
      `${where}sender, payload and headers must hold at most ${LARGEST_MESSAGE} bytes (64 MiB) together, not ${size}`,
    );
  }
  if (dedupeFor !== undefined && messageId === undefined) {
    throw new RangeError(`${where}dedupeFor needs a messageId: without one, every message gets a new id`);
  }
  return {
    ...bytes,
    headers: packed,
    priority: PRIORITIES.indexOf(checkChoice(`${where}priority`, priority, PRIORITIES)),
    id: messageId === undefined ? undefined : checkId(messageId, `${where}messageId`),
    due: timeAfter(checkDelay(delay, `${where}delay`)),
    until: timeAfter(checkDelay(dedupeFor, `${where}dedupeFor`)),
  };
}

/** As `checkInPlace`, of a value as JSON. @param {unknown} value @param {Record<string, unknown>} options */
export function checkJson(value, options) {
  const { sender, payload, ...how } = messageOfJson(value, options);
  return checkInPlace(sender, payload, how);
}

/**
 * A message whose payload is a value as JSON; its headers say so, unless they name another type.
 * @param {unknown} value @param {Record<string, unknown>} options which are not checked, headers apart
 */
export function messageOfJson(value, { sender = NO_BYTES, headers, ...options }) {
  const given = headers === undefined ? [] : checkHeaders(headers, "");
  /** @type {[string, string][]} */
  const all = given.some(([name]) => name === CONTENT_TYPE) ? given : [[CONTENT_TYPE, JSON_TYPE], ...given];
  return { ...options, sender, payload: encoder.encode(jsonOf(value)), headers: all };
}

/** @param {unknown} value @returns {string} */
function jsonOf(value) {
  /** @type {string | undefined} */
  let text;
  try {
    text = JSON.stringify(value, (_, part) => {
      if (typeof part === "number" && !Number.isFinite(part)) throw new RangeError(`JSON has no ${part}`);
      if (isLostInJson(part)) throw new TypeError(`it holds ${described(part)}, which JSON does not have`);
      return part;
    });
  } catch (cause) {
    const Kind = cause instanceof RangeError ? RangeError : TypeError;
    throw new Kind(`value cannot be written as JSON: ${messageOf(cause)}`, { cause });
  }
  if (text === undefined) throw new TypeError(`value cannot be written as JSON: it is ${described(value)}`);
  return text;
}

/** Whether a value is bytes, a Map or a Set, of which JSON would be an object that says little or nothing. */
const isLostInJson = (/** @type {unknown} */ part) =>
  typeof part === "object" &&
  (ArrayBuffer.isView(part) ||
    /^\[object ((Shared)?ArrayBuffer|Map|Set)\]$/.test(Object.prototype.toString.call(part)));

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * Headers, of which the last of a name counts.
 * @param {unknown} headers @param {string} where @returns {[string, string][]}
 */
export function checkHeaders(headers, where) {
  if (typeof headers !== "object" || headers === null) {
    throw new TypeError(
      `${where}headers must be an object of texts, a Map or another iterable of pairs, not ${described(headers)}`,
    );
  }
  const pairs = Symbol.iterator in headers ? Array.from(/** @type {Iterable<unknown>} */ (headers)) : undefined;
  /** @type {Map<string, string>} */
  const checked = new Map();
  let size = 0;
  for (const pair of pairs ?? Object.entries(headers)) {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new TypeError(`${where}headers must be pairs of a name and a text, not ${described(pair)}`);
    const [name, text] = /** @type {unknown[]} */ (pair);
    if (typeof name !== "string")
      throw new TypeError(`${where}headers must have strings as names, not ${described(name)}`);
    if (typeof text !== "string")
      throw new TypeError(`${where}headers[${described(name)}] must be a string, not ${described(text)}`);
    if ([name, text].some((part) => /\p{Surrogate}/u.test(part))) {
      throw new RangeError(
        `${where}headers[${described(name)}] must be a text that UTF-8 can hold: it has half of a surrogate pair`,
      );
    }
    checked.set(name, text);
  }
  if (checked.size > MOST_HEADERS)
    throw new RangeError(`${where}headers must be at most ${MOST_HEADERS}, not ${checked.size}`);
  for (const header of checked) for (const text of header) size += encoder.encode(text).length;
  if (size > LARGEST_HEADERS) {
    throw new RangeError(`${where}headers must hold at most ${LARGEST_HEADERS} bytes of UTF-8 in all, not ${size}`);
  }
  return [...checked];
}

/** All of an iterable, checked; if it throws, its error reaches the caller. @param {unknown} messages */
export function checkMessages(messages) {
  return Array.from(checkIterable("messages", messages, "messages"), (message, i) =>
    checkNewMessage(message, `messages[${i}]`),
  );
}

/** @param {unknown} message @param {string} where */
function checkNewMessage(message, where) {
  if (typeof message !== "object" || message === null) {
    throw new TypeError(`${where} must be an object with sender and payload, not ${described(message)}`);
  }
  const { sender, payload, ...options } = /** @type {Record<string, unknown>} */ (message);
  const checked = checkMessage(sender, payload, options, `${where}.`);
  checkOptions(options, where, MESSAGE_OPTIONS);
  return checked;
}

/**
 * Pairs of whatever was given as the mailbox, and a checked message.
 * @param {unknown} messages @returns {{target: unknown, message: Packable}[]}
 */
export function checkSends(messages) {
  return Array.from(checkIterable("messages", messages, "[mailbox, message] pairs"), (pair, i) => {
    if (!Array.isArray(pair) || pair.length !== 2) {
      throw new TypeError(`messages[${i}] must be a pair [mailbox, message], not ${described(pair)}`);
    }
    return { target: pair[0], message: checkNewMessage(pair[1], `messages[${i}][1]`) };
  });
}

/**
 * A message that is sent later: its bytes and headers are copied now.
 * @param {unknown} message @returns {import("./values.js").NewMessage}
 */
export function checkSend(message) {
  /** @type {any} */
  const given = typeof message === "object" && message !== null ? { ...message } : message;
  if (given?.headers !== undefined) given.headers = checkHeaders(given.headers, "message.");
  const { sender, payload } = checkNewMessage(given, "message");
  return { ...given, sender, payload };
}

/** The 16 bytes of an id. @param {unknown} id @param {string} [name] */
export function checkId(id, name = "messageId") {
  if (typeof id !== "string") throw new TypeError(`${name} must be a string, a UUID, not ${described(id)}`);
  const bytes = bytesOfId(id);
  if (bytes === undefined) {
    throw new RangeError(`${name} must be a UUID such as "0b1f6a1e-4d0c-8a52-9d3e-6f5a3c2b1a09", not ${described(id)}`);
  }
  return bytes;
}

/** The bytes of ids, 16 each, every id once. @param {unknown} ids @param {string} [name] */
export function checkIds(ids, name = "ids") {
  const checked = Array.from(checkIterable(name, ids, "UUIDs"), (id, i) => checkId(id, `${name}[${i}]`));
  return [...new Map(checked.map((bytes) => [bytes.join(), bytes])).values()];
}

/** @param {unknown} limit @param {number} otherwise where none is given */
export const checkLimit = (limit, otherwise) => (limit === undefined ? otherwise : checkCount("limit", limit));

/** How many are skipped. @param {unknown} offset */
export function checkOffset(offset) {
  if (offset === undefined) return 0;
  if (typeof offset !== "number") throw new TypeError(`offset must be a whole number, not ${described(offset)}`);
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new RangeError(`offset must be a whole number from 0 to ${LARGEST_COUNT} (2 ** 53 - 1), not ${offset}`);
  }
  return offset;
}

/** Milliseconds, `Infinity` for ever. @param {unknown} wait */
export function checkWait(wait) {
  if (wait === undefined) return 0;
  if (typeof wait !== "number") throw new TypeError(`wait must be a number of milliseconds, not ${described(wait)}`);
  if (!((wait >= 0 && wait <= LONGEST_DELAY) || wait === Infinity)) {
    throw new RangeError(
      `wait must be between 0 and ${LONGEST_DELAY} milliseconds (100 years), or Infinity, not ${wait}`,
    );
  }
  return wait;
}

/** Whole milliseconds, rounded up so that nothing is due too early. @param {unknown} delay @param {string} [name] */
export function checkDelay(delay, name = "delay") {
  if (delay === undefined) return 0;
  if (typeof delay !== "number")
    throw new TypeError(`${name} must be a number of milliseconds, not ${described(delay)}`);
  if (!(delay >= 0 && delay <= LONGEST_DELAY)) {
    throw new RangeError(`${name} must be between 0 and ${LONGEST_DELAY} milliseconds (100 years), not ${delay}`);
  }
  return Math.ceil(delay);
}

/** @param {unknown} signal @returns {AbortSignal | undefined} */
export function checkSignal(signal) {
  // a signal of another window is one, too
  if (signal === undefined || Object.prototype.toString.call(signal) === "[object AbortSignal]") {
    return /** @type {AbortSignal | undefined} */ (signal);
  }
  throw new TypeError(`signal must be an AbortSignal, not ${described(signal)}`);
}

/** The number of a status, if one is given. @param {unknown} status */
export const checkStatus = (status) =>
  status === undefined ? undefined : STATUSES.indexOf(checkChoice("status", status, STATUSES));

/** A text that can be stored. @param {string} name @param {unknown} text */
export function checkText(name, text) {
  if (typeof text !== "string") throw new TypeError(`${name} must be a string, not ${described(text)}`);
  return storable(text);
}

/**
 * The text of a failure: a text as it is, or an error with its stack.
 * @param {unknown} error @returns {string | undefined}
 */
export function checkFailure(error) {
  if (error === undefined) return undefined;
  if (typeof error === "string") return storable(error);
  if (!(error instanceof Error)) throw new TypeError(`error must be a string or an Error, not ${described(error)}`);
  const { stack = "" } = error;
  // only some browsers begin the stack with what happened
  return storable(stack.startsWith(String(error)) ? stack : `${error}\n${stack}`.trimEnd());
}

/**
 * A text with its lone surrogates, which UTF-8 cannot hold, written as `\udcff`, as Python does.
 * @param {string} text
 */
export const storable = (text) => text.replace(/\p{Surrogate}/gu, (half) => `\\u${half.charCodeAt(0).toString(16)}`);

/** @param {unknown} observer @returns {((queuedMessages: number) => void) | null} */
export function checkObserver(observer) {
  if (observer !== null && typeof observer !== "function") {
    throw new TypeError(`observer must be a function or null, not ${described(observer)}`);
  }
  return /** @type {((queuedMessages: number) => void) | null} */ (observer);
}

/** @param {number} span milliseconds @returns {number} when that is over, as frames have it */
const timeAfter = (span) => (span > 0 ? Date.now() + span : 0);

/** The caller's bytes, where they are. @param {string} name @param {unknown} value @returns {Uint8Array} */
function bytesOf(name, value) {
  const buffer = ArrayBuffer.isView(value) ? value.buffer : value;
  const isUnshared = succeeds(() => lengthOfUnshared(buffer));
  if (!isUnshared && isBuffer(buffer)) {
    throw new TypeError(
      `${name} must not be shared with other threads; new Uint8Array(…).slice() makes a copy that is not`,
    );
  }
  if (!ArrayBuffer.isView(value)) {
    if (isUnshared) return reached(name, () => new Uint8Array(/** @type {ArrayBuffer} */ (value)));
    throw new TypeError(
      `${name} must be a Uint8Array, an ArrayBuffer or another view of bytes, not ${described(value)}` +
        (typeof value === "string" ? "; new TextEncoder().encode(text) turns text into bytes" : ""),
    );
  }
  const array = typedArrayName(value);
  if (array !== undefined && !BYTE_ARRAYS.includes(array)) {
    throw new TypeError(
      `${name} must be a view of bytes, not ${described(value)}; new Uint8Array(it.buffer, it.byteOffset, ` +
        `it.byteLength) is one`,
    );
  }
  return reached(name, () => {
    // a view whose buffer was transferred or has shrunk claims to be empty; this throws
    if (array !== undefined) Uint8Array.prototype.keys.call(value);
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  });
}

/** @param {string} name @param {() => Uint8Array} take */
function reached(name, take) {
  try {
    return take();
  } catch (cause) {
    throw new TypeError(`${name} has no bytes any more: its buffer was transferred or has shrunk`, { cause });
  }
}

/**
 * Whether it is a buffer of bytes, shared or not: `SharedArrayBuffer`, which knows, is not everywhere.
 * @param {unknown} value
 */
const isBuffer = (value) => succeeds(() => new DataView(/** @type {ArrayBuffer} */ (value)));

/** @param {() => unknown} call */
function succeeds(call) {
  try {
    call();
    return true;
  } catch {
    return false;
  }
}

/** @param {string} name @param {unknown} value */
export function checkCount(name, value) {
  if (typeof value !== "number") throw new TypeError(`${name} must be a whole number, not ${described(value)}`);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new RangeError(`${name} must be a whole number from 1 to ${LARGEST_COUNT} (2 ** 53 - 1), not ${value}`);
  }
  return value;
}

/**
 * @template {string} Choice @param {string} name @param {unknown} value @param {readonly Choice[]} choices
 * @returns {Choice}
 */
function checkChoice(name, value, choices) {
  if (choices.includes(/** @type {Choice} */ (value))) return /** @type {Choice} */ (value);
  const Kind = typeof value === "string" ? RangeError : TypeError;
  throw new Kind(`${name} must be ${choices.map((choice) => `"${choice}"`).join(" or ")}, not ${described(value)}`);
}

/** @param {string} name @param {unknown} value @param {string} what @returns {Iterable<unknown>} */
function checkIterable(name, value, what) {
  // a string is one, but of characters
  if (typeof value === "object" && value !== null && Symbol.iterator in value)
    return /** @type {Iterable<unknown>} */ (value);
  throw new TypeError(`${name} must be an iterable of ${what}, not ${described(value)}`);
}

/** A value in the text of an error. @param {unknown} value */
export function described(value) {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value !== "object" || value === null) return String(value);
  const name = Object.getPrototypeOf(value)?.constructor?.name || "Object";
  return `${/^([AEIO]|U(?!int))/.test(name) ? "an" : "a"} ${name}`;
}
