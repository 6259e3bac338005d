// Writes tests/golden.json: limits and texts, and bytes that cross between Python and JavaScript or are stored in
// IndexedDB, with their meaning. Both languages are held to it by tests/js/golden.test.js and
// tests/unit/test_golden.py. Bytes are in hexadecimal; times are milliseconds since 1970.
//
// Usage: node tools/golden.mjs

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { endLine, headLine, knownIdLine, messageLine } from "../js/api/lines.js";
import { entryOf } from "../js/engine/verbs/dead-letters.js";
import * as delivery from "../js/model/delivery.js";
import { DELAYED, INFLIGHT, QUEUED, frameAt, framesIn, packBatch, packFrames, viewOf } from "../js/model/frames.js";
import { packHeaders } from "../js/model/headers.js";
import { ID_BYTES, writeId } from "../js/model/ids.js";
import * as limits from "../js/model/limits.js";
import * as reasons from "../js/model/reasons.js";
import { Segment } from "../js/model/segments.js";
import { MailboxState } from "../js/model/state.js";
import { bytesOfId, textOfId } from "../js/model/uuids.js";
import { Rows } from "../tests/js/rows.js";

const FILE = new URL("../tests/golden.json", import.meta.url);

const MADE_BY = "node tools/golden.mjs, which `make generated` runs; nobody edits this file";

export const hex = (/** @type {Uint8Array} */ bytes) => Buffer.from(bytes).toString("hex");
export const unhex = (/** @type {string} */ text) => Uint8Array.from(Buffer.from(text, "hex"));
const utf8 = (/** @type {string} */ text) => new TextEncoder().encode(text);
const id = (/** @type {string} */ text) => /** @type {Uint8Array<ArrayBuffer>} */ (bytesOfId(text));

/** A stored value as JSON: its bytes in hexadecimal. @param {unknown} value @returns {unknown} */
export function asJson(value) {
  if (value instanceof Uint8Array) return { hex: hex(value) };
  if (Array.isArray(value)) return value.map(asJson);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, part]) => (part === undefined ? [] : [[name, asJson(part)]])),
  );
}

/** The reverse. @param {any} value @returns {any} */
export function fromJson(value) {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.hex === "string") return unhex(value.hex);
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, fromJson(part)]));
}

// -- ids --------------------------------------------------------------------------------------------------------------

const BASE = id("01234567-89ab-8def-8120-000000000000");

/** @param {number} priority @param {number} sequence */
export function ownId(priority, sequence, base = BASE) {
  const bytes = new Uint8Array(ID_BYTES);
  writeId(viewOf(bytes), 0, base, priority, sequence);
  return bytes;
}

const PLACES = [
  { priority: 0, sequence: 0 },
  { priority: 1, sequence: 0 },
  { priority: 0, sequence: 1 },
  { priority: 1, sequence: 2 ** 32 - 1 },
  { priority: 0, sequence: 2 ** 32 },
  { priority: 1, sequence: 2 ** 48 - 1 },
];

const ids = () =>
  Object.fromEntries(
    PLACES.map((place) => [
      `priority ${place.priority}, number ${place.sequence}`,
      { base: textOfId(BASE), ...place, id: textOfId(ownId(place.priority, place.sequence)) },
    ]),
  );

// -- messages that cross the border -----------------------------------------------------------------------------------

const GIVEN = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const MOMENT = 1_700_000_000_123;

/**
 * In hexadecimal, except headers.
 * @typedef
 * {{sender: string, payload: string, priority: number, id: string | null, due: number | null, headers: Header[], until:
 *   number | null}}
 * Incoming
 */

/** @param {string} sender @param {string} payload @param {Partial<Incoming>} [more] @returns {Incoming} */
const incoming = (sender, payload, more = {}) => ({
  sender: hex(utf8(sender)),
  payload: hex(utf8(payload)),
  priority: 0,
  id: null,
  due: null,
  headers: [],
  until: null,
  ...more,
});

/** Packs messages written in the form used here. @param {Incoming[]} messages @param {number} createdAt */
export const framesOf = (messages, createdAt) =>
  packFrames(
    messages.map(({ sender, payload, priority, id: given, due, headers, until }) => ({
      headers: packHeaders(headers),
      until: until ?? 0,
      sender: unhex(sender),
      payload: unhex(payload),
      priority,
      id: given === null ? undefined : id(given),
      due: due ?? 0,
    })),
    createdAt,
  );

/** @typedef {import("../js/model/headers.js").Header} Header */

/** With everything that JSON writes in a special way. @type {Header[]} */
const HEADERS = [
  ["content-type", "application/json"],
  ["", '\u0000\u001f\u007f \b\f\n\r\t "\\/ \u2028 é🙃'],
];

/** @type {Record<string, Incoming[]>} */
const MESSAGES = {
  plain: [incoming("alice", "hello")],
  "without a sender or a payload": [incoming("", "")],
  urgent: [incoming("bob", "fire!", { priority: 1 })],
  "under an id of its sender's": [incoming("é🙃", "x", { id: GIVEN })],
  delayed: [incoming("alice", "later", { due: MOMENT + 1 })],
  "delayed, under an id": [incoming("a", "b", { priority: 1, id: GIVEN, due: MOMENT + 86_400_000 })],
  "with headers": [incoming("alice", "hello", { headers: HEADERS })],
  "with an id that is to be remembered": [
    incoming("a", "b", { id: GIVEN, until: MOMENT + 60_000, due: MOMENT + 5, headers: HEADERS.slice(0, 1) }),
  ],
  several: [
    incoming("alice", "1"),
    incoming("", "2", { priority: 1, id: GIVEN }),
    incoming("carol", "3", { due: MOMENT + 5000 }),
  ],
};

const frames = () =>
  Object.fromEntries(
    Object.entries(MESSAGES).map(([name, messages]) => [
      name,
      { createdAt: MOMENT, messages, frames: hex(framesOf(messages, MOMENT)) },
    ]),
  );

/**
 * @typedef
 * {{id: string, sender: string, payload: string, priority: number, createdAt: number, deliveryCount: number, status:
 *   number, custom: boolean, due: number | null, headers: Header[], until: number | null}}
 * Outgoing
 */

/** @param {Partial<Outgoing>} more @returns {Outgoing} */
const outgoing = (more) => ({
  id: textOfId(ownId(0, 7)),
  sender: hex(utf8("alice")),
  payload: hex(utf8("hello")),
  priority: 0,
  createdAt: MOMENT,
  deliveryCount: 1,
  status: INFLIGHT,
  custom: false,
  due: null,
  headers: [],
  until: null,
  ...more,
});

/**
 * Packs messages into a batch, as the engine does: custom ids are in the frames.
 * @param {Outgoing[]} messages
 */
export const batchOf = (messages) =>
  packBatch(
    messages.map((message) => {
      const given = message.custom ? message.id : null;
      const bytes = framesOf([{ ...message, id: given }], message.createdAt);
      return {
        bytes,
        frame: frameAt(viewOf(bytes), 0),
        writeIdTo: (view, offset) => id(message.id).forEach((byte, i) => view.setUint8(offset + i, byte)),
        deliveryCount: message.deliveryCount,
        status: message.status,
        due: message.due ?? 0,
      };
    }),
  );

/** @type {Record<string, Outgoing[]>} */
const BATCHES = {
  none: [],
  one: [outgoing({})],
  "several, of both priorities and kinds of ids": [
    outgoing({ id: textOfId(ownId(1, 0)), priority: 1, sender: "", deliveryCount: 3 }),
    outgoing({ id: GIVEN, custom: true, createdAt: 0, payload: "" }),
    outgoing({ id: textOfId(ownId(0, 9)), status: QUEUED, deliveryCount: 0, createdAt: MOMENT + 1 }),
    outgoing({ id: GIVEN, custom: true, status: QUEUED, due: MOMENT + 9, deliveryCount: 2 ** 20 - 1 }),
  ],
  "with headers, of which two are delayed": [
    outgoing({ status: DELAYED, due: MOMENT + 9, deliveryCount: 0 }),
    outgoing({ headers: HEADERS }),
    outgoing({ id: GIVEN, custom: true, status: DELAYED, due: MOMENT + 2, until: MOMENT + 3, headers: HEADERS }),
  ],
  "of the first and the last moment that Python can tell": [
    outgoing({ createdAt: -62_135_596_800_000 }),
    outgoing({ createdAt: 253_402_300_799_999 }),
  ],
};

const batches = () =>
  Object.fromEntries(
    Object.entries(BATCHES).map(([name, messages]) => [name, { messages, batch: hex(batchOf(messages)) }]),
  );

// -- dead letters -----------------------------------------------------------------------------------------------------

/** @type {import("../js/model/types.js").StoredDeadLetter[]} */
const LETTERS = [
  {
    id: ownId(0, 3),
    frame: framesOf([incoming("alice", "poison")], MOMENT),
    deliveries: 3,
    reason: "3 of at most 3 deliveries failed",
    error: "ValueError: é🙃 \"'\\",
    diedAt: MOMENT + 1000,
  },
  {
    id: id(GIVEN),
    frame: framesOf([incoming("", "", { priority: 1, id: GIVEN })], MOMENT),
    deliveries: 1,
    reason: "no",
    error: undefined,
    diedAt: MOMENT,
  },
];

/** A record of the store `dead`, and how a mailbox's dead letters cross to Python. */
function deadLetters() {
  const deaths = LETTERS.map(({ reason, error, diedAt }) => [reason, error ?? null, diedAt]);
  return { records: LETTERS.map(asJson), batch: hex(packBatch(LETTERS.map(entryOf))), deaths: JSON.stringify(deaths) };
}

// -- whole messages, for export and import ----------------------------------------------------------------------------

/**
 * @typedef
 * {Outgoing & {failures: number, suspect: boolean, error: string | null, reason: string | null, diedAt: number | null}}
 * Whole
 */

/** @param {Partial<Whole>} more @returns {Whole} */
const whole = (more) => ({
  ...outgoing({ custom: true, id: GIVEN }),
  failures: 0,
  suspect: false,
  error: null,
  reason: null,
  diedAt: null,
  ...more,
});

const LIVING = [
  whole({ custom: false, id: textOfId(ownId(0, 2)), headers: HEADERS }),
  whole({ custom: false, id: textOfId(ownId(0, 4)), status: QUEUED, deliveryCount: 0 }),
  whole({ status: QUEUED, due: MOMENT + 60_000, failures: 1, error: "TimeoutError" }),
  whole({ deliveryCount: 2, suspect: true }),
];

const DEAD = [whole({ failures: 0, error: "no", reason: "why", diedAt: MOMENT + 7 })];

/** What `readSection` gives, and what `adopt` takes. */
function archive() {
  return {
    living: {
      messages: LIVING,
      batch: hex(batchOf(LIVING)),
      details: JSON.stringify(LIVING.map(({ due, failures, suspect, error }) => [due, failures, suspect, error])),
    },
    dead: {
      messages: DEAD,
      batch: hex(batchOf(DEAD)),
      details: JSON.stringify(
        DEAD.map(({ failures, suspect, error, reason, diedAt }) => [null, failures, suspect, error, reason, diedAt]),
      ),
    },
    adopted: {
      messages: [...LIVING, ...DEAD],
      frames: [...LIVING, ...DEAD].map((message) => hex(framesOf([message], message.createdAt))).join(""),
      details: JSON.stringify(
        [...LIVING, ...DEAD].map(({ deliveryCount, failures, suspect, error, reason, diedAt }) => [
          deliveryCount,
          failures,
          suspect,
          error,
          reason,
          diedAt,
        ]),
      ),
    },
  };
}

// -- lines of an export -----------------------------------------------------------------------------------------------

/** @param {Whole} message @returns {import("../js/api/lines.js").WholeMessage} */
export const wholeMessage = ({ reason, diedAt, ...message }) => ({
  ...message,
  sender: unhex(message.sender),
  payload: unhex(message.payload),
  dead: reason === null || diedAt === null ? null : { reason, diedAt },
});

const EXPORTED = [
  ...LIVING,
  ...DEAD,
  whole({
    priority: 1,
    headers: [
      ["b", "first"],
      ["1", "second"],
    ],
    createdAt: -62_135_596_800_000,
    due: 253_402_300_799_999,
    error: '\u0000\u007f\u0080é🙃\ud800"\\/\n',
    suspect: true,
  }),
  whole({ createdAt: -1, sender: "00ff", payload: "fbff" }),
];

const KNOWN = [
  { id: GIVEN, until: MOMENT },
  { id: textOfId(ownId(1, 3)), until: 1_700_000_001_000 },
];

const exported = () => ({
  head: headLine(),
  messages: EXPORTED.map((message) => ({ message, line: messageLine(wholeMessage(message)) })),
  known: KNOWN.map((known) => ({ ...known, line: knownIdLine(known) })),
  end: endLine({ messages: EXPORTED.length, deadLetters: 1, knownIds: KNOWN.length }),
});

// -- segments ---------------------------------------------------------------------------------------------------------

/** Records of the store `segments`. */
const segments = () =>
  Object.fromEntries(
    Object.entries({ "of one message": [0, "plain"], "of several, far along its lane": [2 ** 40, "several"] }).map(
      ([name, [first, messages]]) => {
        const bytes = framesOf(MESSAGES[messages], MOMENT);
        const parts = [...framesIn(bytes)].map(({ offset, end }) => bytes.subarray(offset, end));
        return [name, { first, frames: parts.map(hex), segment: hex(Segment.pack(Number(first), parts).bytes) }];
      },
    ),
  );

// -- whole states -----------------------------------------------------------------------------------------------------

const HOLDER = "0123456789abcdef0123456789abcdef";

/**
 * States with golden heads and pages, by what is special about them.
 * @type {Record<string, (rows: Rows) => MailboxState>}
 */
export const STATES = {
  "of an empty mailbox": () => state(),
  "of one that only waits": () => {
    const waiting = state();
    for (let i = 0; i < 5; i++) waiting.enqueue(i % 2, false, 0);
    return waiting;
  },
  "with everything that a message can go through": lived,
  "whose pages, directories and holders have rows": (rows) => {
    const large = lived(rows, { pageNumbers: 4, pagesInHead: 0 });
    large.enqueue(0, false, MOMENT + 3);
    return large;
  },
  "with ids that are remembered": () => {
    const remembering = state();
    remembering.remembered = 300;
    remembering.enqueue(1, true, 0);
    return remembering;
  },
  "with segments that travel in it": () => {
    const carrying = state();
    for (const [i, name] of ["plain", "delayed"].entries()) {
      const first = carrying.enqueue(0, false, i * (MOMENT + 1));
      carrying.lanes[0].carried.push(Segment.pack(first, [framesOf(MESSAGES[name] ?? [], MOMENT)]));
    }
    return carrying;
  },
};

/** @param {{pageNumbers?: number, pagesInHead?: number}} [sizes] */
function state(sizes) {
  const made = MailboxState.create(3, sizes);
  made.idBase = BASE.slice();
  made.leased = true;
  made.writer = "f".repeat(32);
  made.commitId = 0x12345678;
  return made;
}

/** @param {Rows} rows @param {{pageNumbers?: number, pagesInHead?: number}} [sizes] */
function lived(rows, sizes) {
  const made = state(sizes);
  for (let i = 0; i < 12; i++) made.enqueue(i % 3 === 0 ? 1 : 0, i % 4 === 0, i === 5 ? MOMENT + 500 : 0);
  made.noteCustomId(ownId(0, 1000));
  const terms = { maxDeliveries: 3, lease: 300_000, locked: true };
  rows.run(made, made.claim(HOLDER, terms, 3, MOMENT));
  rows.run(made, made.claim("told by another name: ü", { maxDeliveries: 0, lease: 1, locked: false }, 1, MOMENT));
  rows.run(made, made.claim("dead", terms, 2, MOMENT));
  rows.run(made, made.recover("dead"));
  made.beat("told by another name: ü");
  made.nack(HOLDER, { priority: 1, sequence: 0 }, true, true);
  made.delay({ priority: 1, sequence: 0 }, MOMENT + 9000);
  made.bury({ priority: 1, sequence: 1 });
  made.ack({ priority: 0, sequence: 6 });
  made.skip(0);
  made.enqueue(0, true, 0, delivery.restored(2, 1, true, false));
  return made;
}

/** The meaning of a state's stored bytes. @param {MailboxState} read @param {Rows} rows */
export function says(read, rows) {
  rows.open(read, read.pages.allLacking());
  const { number, base, leased, writer, commitId, mayCollide, deadLetters, nextDeadLetter, remembered, customIds } =
    read;
  return {
    number,
    base,
    leased,
    writer,
    commitId,
    idBase: textOfId(read.idBase),
    mayCollide,
    deadLetters,
    nextDeadLetter,
    remembered,
    customIds,
    lanes: read.lanes.map(({ next, frontier, queued, delayed, inflight, carried, directory }) => ({
      next,
      frontier,
      queued,
      delayed,
      inflight,
      carried: carried.map(({ first, last }) => [first, last]),
      runs: directory.entries.flatMap(({ page }) =>
        [...(page ?? [])].map(({ from, to, where, delivery: past, due }) => [from, to, where, past, due]),
      ),
    })),
    holders: [...read.claims.values()].map(({ holder, slot, maxDeliveries, lease, locked, beat, count }) => ({
      holder,
      slot,
      maxDeliveries,
      lease,
      locked,
      beat,
      count,
    })),
  };
}

/** A state as it is stored. @param {MailboxState} made @param {Rows} rows that should hold it */
export function stored(made, rows) {
  rows.save(made);
  return {
    journal: asJson(rows.head),
    pages: Object.fromEntries([...rows.rows].map(([key, bytes]) => [key, hex(bytes)])),
  };
}

// -- delivery states --------------------------------------------------------------------------------------------------

/** Delivery states, by the events that led to them. */
function deliveries() {
  const { abandoned, failed, fresh, handedOut, restored, undelivered, withError } = delivery;
  /** @type {Record<string, number>} */
  const numbers = {
    fresh: fresh(false),
    custom: fresh(true),
    "handed out": handedOut(fresh(false), false),
    "handed out alone": handedOut(fresh(true), true),
    released: undelivered(handedOut(withError(fresh(false)), true)),
    failed: withError(failed(handedOut(fresh(false), true))),
    "failed twice": failed(handedOut(withError(failed(handedOut(fresh(true), false))), true)),
    abandoned: abandoned(handedOut(withError(fresh(true)), false)),
    "abandoned alone": abandoned(handedOut(fresh(false), true)),
    restored: restored(7, 3, true, true),
    "restored with the most": restored(limits.MOST_COUNTED + 5, limits.MOST_COUNTED, false, false),
  };
  return Object.fromEntries(
    Object.entries(numbers).map(([name, number]) => [
      name,
      { number, handOuts: delivery.handOuts(number), failures: delivery.failures(number) },
    ]),
  );
}

const heads = () =>
  Object.fromEntries(
    Object.entries(STATES).map(([name, make]) => {
      const rows = new Rows();
      const record = stored(make(rows), rows);
      return [name, { ...record, says: says(rows.load(), rows) }];
    }),
  );

// -- all of it --------------------------------------------------------------------------------------------------------

/** Everything; the stored form of a state is separate, since it changes most often. */
export const golden = () => ({
  "made by": MADE_BY,
  limits: { ...limits },
  reasons: {
    unreadable: [0, 1, 2].map(reasons.unreadableReason),
    failed: reasons.failedReason(2, 3),
    died: reasons.diedReason(2, 3),
  },
  ids: ids(),
  frames: frames(),
  batches: batches(),
  "dead letters": deadLetters(),
  archive: archive(),
  exported: exported(),
  segments: segments(),
  deliveries: deliveries(),
  heads: heads(),
});

/** The file's present content. */
export const read = () => JSON.parse(readFileSync(FILE, "utf-8"));

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(FILE, `${JSON.stringify(golden(), undefined, 1)}\n`);
