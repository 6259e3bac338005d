/**
 * The lines of an export, as Python writes and reads them (`pymailbox/transfer/lines.py`): a head that names the
 * format, one line a message, one for each id that stays known, and an end that counts them. Each is a JSON object, in
 * ASCII.
 */

import { EARLIEST, LARGEST_MESSAGE, LATEST } from "../model/limits.js";
import { packHeaders } from "../model/headers.js";
import { bytesOfId } from "../model/uuids.js";
import { isCount } from "../model/bytes.js";
import { checkHeaders, described, storable } from "./validate.js";

const FORMAT = "pymailbox-export";
const VERSION = 1;

const REQUIRED = ["id", "sender", "payload", "priority", "created_at", "delivery_count"];
const OPTIONAL = ["status", "headers", "due", "failures", "suspect", "error", "dead"];

const PRIORITIES = ["NORMAL", "HIGH"];
const STATUSES = ["QUEUED", "INFLIGHT"];

/** Characters of which a text is made at a time. */
const CHUNK = 0x8000;

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * A message with everything that a mailbox knows of it; times are milliseconds since 1970.
 * @typedef {object} WholeMessage
 * @property {string} id
 * @property {import("../model/headers.js").Header[]} headers
 * @property {Uint8Array} sender
 * @property {Uint8Array} payload
 * @property {number} priority
 * @property {number} createdAt
 * @property {number} deliveryCount
 * @property {number} status
 * @property {number | null} due
 * @property {number} failures
 * @property {boolean} suspect whether a holder died with it
 * @property {string | null} error
 * @property {{reason: string, diedAt: number} | null} dead if it is a dead letter
 */

/** An id that stays known. @typedef {{id: string, until: number}} KnownId */

/** What the last line counts. @typedef {{messages: number, deadLetters: number, knownIds: number}} End */

/**
 * What a line says.
 * @typedef {{kind: "message", message: WholeMessage} | {kind: "known id", known: KnownId} | {kind: "end", end: End}}
 * Line
 */

/** What is wrong with a line. */
export class LineError extends Error {}

// -- out --------------------------------------------------------------------------------------------------------------

export const headLine = () =>
  lineOf([
    ["format", FORMAT],
    ["version", VERSION],
  ]);

/** @param {WholeMessage} message */
export function messageLine(message) {
  const { headers, due, failures, suspect, error, dead } = message;
  /** @type {[string, unknown][]} */
  const fields = [
    ["id", message.id],
    ["sender", base64Of(message.sender)],
    ["payload", base64Of(message.payload)],
    ["priority", PRIORITIES[message.priority]],
    ["created_at", isoOf(message.createdAt)],
    ["status", STATUSES[message.status]],
    ["delivery_count", message.deliveryCount],
  ];
  if (headers.length > 0) fields.push(["headers", new Map(headers)]);
  if (due !== null) fields.push(["due", isoOf(due)]);
  if (failures > 0) fields.push(["failures", failures]);
  if (suspect) fields.push(["suspect", true]);
  if (error !== null) fields.push(["error", error]);
  if (dead !== null)
    fields.push(["dead", new Map(Object.entries({ reason: dead.reason, died_at: isoOf(dead.diedAt) }))]);
  return lineOf(fields);
}

/** @param {KnownId} known */
export const knownIdLine = ({ id, until }) =>
  lineOf([
    ["known_id", id],
    ["until", isoOf(until)],
  ]);

/** @param {End} end */
export const endLine = ({ messages, deadLetters, knownIds }) =>
  lineOf([
    [
      "end",
      new Map([
        ["messages", messages],
        ["dead_letters", deadLetters],
        ["known_ids", knownIds],
      ]),
    ],
  ]);

/** @param {[string, unknown][]} fields in their order, which an object would not keep */
const lineOf = (fields) => `${objectOf(fields)}\n`;

/** @param {Iterable<[string, unknown]>} fields @returns {string} */
function objectOf(fields) {
  const parts = Array.from(
    fields,
    ([name, value]) => `${asciiOf(name)}:${value instanceof Map ? objectOf(value) : asciiOf(value)}`,
  );
  return `{${parts.join(",")}}`;
}

/** JSON in ASCII, so that a text with half of a surrogate pair can be written as well. @param {unknown} value */
const asciiOf = (value) =>
  JSON.stringify(value).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A time as Python writes it. @param {number} milliseconds since 1970 */
function isoOf(milliseconds) {
  const [seconds, fraction] = new Date(milliseconds).toISOString().slice(0, -1).split(".");
  return `${seconds}${fraction === "000" ? "" : `.${fraction}000`}+00:00`;
}

/** @param {Uint8Array} bytes */
function base64Of(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(text);
}

// -- in ---------------------------------------------------------------------------------------------------------------

/**
 * Makes sure that a line is the head of a file that this version can read.
 * @param {Uint8Array} line @throws {LineError}
 */
export function checkHead(line) {
  /** @type {Record<string, unknown>} */
  let data;
  try {
    data = objectIn(line);
  } catch (error) {
    throw error instanceof LineError ? new LineError(`this is not an export of a mailbox: ${error.message}`) : error;
  }
  const { format, version } = data;
  if (format !== FORMAT) {
    throw new LineError(`this is not an export of a mailbox: it does not begin with {"format": "${FORMAT}", …}`);
  }
  if (version === VERSION) return;
  if (isCount(version) && version > VERSION) {
    throw new LineError(
      `the export has version ${version}, written by a newer pymailbox; this one knows version ${VERSION}. ` +
        "Load a newer pymailbox",
    );
  }
  throw new LineError(`the export's version is ${described(version)}; this pymailbox knows version ${VERSION}`);
}

/** A line after the head. @param {Uint8Array} line @returns {Line} @throws {LineError} it is broken */
export function readLine(line) {
  const data = objectIn(line);
  if ("end" in data) return { kind: "end", end: readEnd(data) };
  if ("known_id" in data) return { kind: "known id", known: readKnownId(data) };
  return { kind: "message", message: readMessage(data) };
}

/** @param {Record<string, unknown>} data @returns {WholeMessage} */
function readMessage(data) {
  const missing = REQUIRED.filter((name) => !(name in data));
  if (missing.length > 0) throw new LineError(`${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing`);
  for (const name of Object.keys(data)) {
    if (!REQUIRED.includes(name) && !OPTIONAL.includes(name))
      throw new LineError(`${described(name)} is not a field of a message; is the file from a newer version?`);
  }
  const sender = read(data, "sender", bytesIn);
  const payload = read(data, "payload", bytesIn);
  const headers = read(data, "headers", headersIn, []);
  if (sender.length + payload.length + packHeaders(headers).length > LARGEST_MESSAGE)
    throw new LineError(`sender, payload and headers hold more than ${LARGEST_MESSAGE} bytes (64 MiB) together`);
  return {
    id: read(data, "id", idIn),
    headers,
    sender,
    payload,
    priority: read(data, "priority", choiceIn(PRIORITIES)),
    createdAt: read(data, "created_at", timeIn),
    deliveryCount: read(data, "delivery_count", countIn),
    status: read(data, "status", choiceIn(STATUSES), 0),
    due: read(data, "due", timeIn, null),
    failures: read(data, "failures", countIn, 0),
    suspect: read(data, "suspect", flagIn, false),
    error: read(data, "error", textIn, null),
    dead: data.dead === undefined || data.dead === null ? null : deathIn(data.dead),
  };
}

/** @param {Record<string, unknown>} data @returns {KnownId} */
function readKnownId(data) {
  if (Object.keys(data).sort().join() !== "known_id,until")
    throw new LineError("a known id must have known_id and until, and nothing else");
  return { id: read(data, "known_id", idIn), until: read(data, "until", timeIn) };
}

/** @param {Record<string, unknown>} data @returns {End} */
function readEnd(data) {
  const { end, ...more } = data;
  if (!isObject(end) || Object.keys(more).length > 0)
    throw new LineError("end must be an object with messages and dead_letters, and nothing else");
  return {
    messages: read(end, "messages", countIn, undefined, "end."),
    deadLetters: read(end, "dead_letters", countIn, undefined, "end."),
    knownIds: read(end, "known_ids", countIn, 0, "end."),
  };
}

/**
 * A field of an object; its name goes before what is wrong with it.
 * @template T, D @param {Record<string, unknown>} data @param {string} name @param {(value: unknown) => T} reader
 * @param {D} [otherwise] what it is where it is not there @param {string} [where] goes before the name
 * @returns {T | Exclude<D, undefined>}
 */
function read(data, name, reader, otherwise, where = "") {
  const value = data[name];
  if (otherwise !== undefined && (value === undefined || value === null))
    return /** @type {Exclude<D, undefined>} */ (otherwise);
  if (value === undefined) throw new LineError(`${where}${name} is missing`);
  try {
    return reader(value);
  } catch (error) {
    if (error instanceof LineError) throw new LineError(`${where}${name} ${error.message}, not ${described(value)}`);
    if (error instanceof TypeError || error instanceof RangeError)
      throw new LineError(`${where}${name}: ${error.message}`);
    throw error;
  }
}

/** @param {Uint8Array} line @returns {Record<string, unknown>} */
function objectIn(line) {
  /** @type {string} */
  let text;
  try {
    text = decoder.decode(line);
  } catch {
    throw new LineError("it is not UTF-8");
  }
  /** @type {unknown} */
  let data;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new LineError(`it is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (!isObject(data)) throw new LineError("it is not a JSON object");
  return data;
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value @returns {string} in canonical form */
function idIn(value) {
  if (typeof value !== "string" || bytesOfId(value) === undefined) throw new LineError("must be a UUID");
  return value.toLowerCase();
}

/** @param {unknown} value */
function bytesIn(value) {
  if (typeof value !== "string") throw new LineError("must be a string of base64");
  if (value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value))
    throw new LineError("must be base64, complete and with its padding");
  const text = atob(value);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** @param {unknown} value */
function headersIn(value) {
  if (!isObject(value)) throw new LineError("must be an object of texts");
  return checkHeaders(value, "");
}

/** @param {string[]} choices @returns {(value: unknown) => number} */
const choiceIn = (choices) => (value) => {
  const chosen = choices.indexOf(/** @type {string} */ (value));
  if (chosen < 0) throw new LineError(`must be ${choices.map((choice) => `"${choice}"`).join(" or ")}`);
  return chosen;
};

const TIME = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?(?:Z|([+-])(\d{2}):?(\d{2}))$/;

/** @param {unknown} value @returns {number} milliseconds since 1970, rounded down */
function timeIn(value) {
  const [, date, hours, minutes, seconds = "00", fraction = "", sign = "+", offsetHours = "00", offsetMinutes = "00"] =
    TIME.exec(typeof value === "string" ? value : "") ?? [];
  const local = new Date(`${date}T${hours}:${minutes}:${seconds}.${fraction.padEnd(3, "0").slice(0, 3)}Z`);
  const offset = (sign === "-" ? -1 : 1) * (60 * Number(offsetHours) + Number(offsetMinutes)) * 60_000;
  const time = local.getTime() - offset;
  // some browsers take a 30th of February for one of March
  const isInCalendar = !Number.isNaN(time) && local.toISOString().startsWith(`${date}T${hours}`);
  if (!isInCalendar || time < EARLIEST || time > LATEST)
    throw new LineError('must be a time with its offset, such as "2026-01-31T12:00:00+00:00"');
  return time;
}

/** @param {unknown} value */
function countIn(value) {
  if (!isCount(value)) throw new LineError("must be a whole number, 0 or more");
  return value;
}

/** @param {unknown} value */
function flagIn(value) {
  if (typeof value !== "boolean") throw new LineError("must be true or false");
  return value;
}

/** @param {unknown} value */
function textIn(value) {
  if (typeof value !== "string") throw new LineError("must be a string");
  return storable(value);
}

/** @param {unknown} value */
function deathIn(value) {
  if (!isObject(value)) throw new LineError(`dead must be an object with reason and died_at, not ${described(value)}`);
  return {
    reason: read(value, "reason", textIn, undefined, "dead."),
    diedAt: read(value, "died_at", timeIn, undefined, "dead."),
  };
}
