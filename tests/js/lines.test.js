// What is wrong with a line of an export, and how a file is cut into lines.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LineError, checkHead, headLine, messageLine, readLine } from "../../js/api/lines.js";
import { isBlank, linesIn, piecesOf } from "../../js/api/pieces.js";

const utf8 = (/** @type {string} */ text) => new TextEncoder().encode(text);
const textOf = (/** @type {Uint8Array} */ bytes) => new TextDecoder().decode(bytes);

const MESSAGE = {
  id: "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
  sender: "YQ==",
  payload: "",
  priority: "HIGH",
  created_at: "2026-01-31T12:00:00.123999+01:00",
  delivery_count: 0,
};

/** @param {Record<string, unknown>} more */
const read = (more) => /** @type {any} */ (readLine(utf8(JSON.stringify({ ...MESSAGE, ...more })))).message;

test("times are read with their offset, and rounded down to milliseconds", () => {
  const at = (/** @type {string} */ text) => read({ created_at: text }).createdAt;
  assert.equal(read({}).createdAt, Date.UTC(2026, 0, 31, 11, 0, 0, 123));
  assert.equal(at("2026-01-31T12:00:00Z"), Date.UTC(2026, 0, 31, 12));
  assert.equal(at("2026-01-31 12:00-0130"), Date.UTC(2026, 0, 31, 13, 30));
  assert.equal(at("1969-12-31T23:59:59.9999+00:00"), -1);
  assert.equal(at("0001-01-01T00:00:00+00:00"), -62_135_596_800_000);
});

test("the error for a line names the field", () => {
  /** @type {[Record<string, unknown>, RegExp][]} */
  const wrong = [
    [{ id: "x" }, /^id must be a UUID, not "x"$/],
    [{ id: undefined, payload: undefined }, /^id, payload are missing$/],
    [{ sender: "YQ=" }, /^sender must be base64, complete and with its padding, not "YQ="$/],
    [{ sender: "Y Q==" }, /^sender must be base64/],
    [{ payload: 1 }, /^payload must be a string of base64, not 1$/],
    [{ priority: "high" }, /^priority must be "NORMAL" or "HIGH", not "high"$/],
    [{ created_at: "2026-02-30T00:00:00+00:00" }, /^created_at must be a time with its offset/],
    [{ created_at: "2026-01-31T12:00:00" }, /^created_at must be a time with its offset/],
    [{ created_at: "0001-01-01T00:00:00+01:00" }, /^created_at must be a time with its offset/],
    [{ created_at: "2026-01-31T24:00:00+00:00" }, /^created_at must be a time with its offset/],
    [{ delivery_count: -1 }, /^delivery_count must be a whole number, 0 or more, not -1$/],
    [{ suspect: 1 }, /^suspect must be true or false, not 1$/],
    [{ error: 1 }, /^error must be a string, not 1$/],
    [{ headers: { a: 1 } }, /^headers: headers\["a"\] must be a string, not 1$/],
    [{ headers: [] }, /^headers must be an object of texts, not an Array$/],
    [{ dead: 1 }, /^dead must be an object with reason and died_at, not 1$/],
    [{ dead: { reason: "x" } }, /^dead.died_at is missing/],
    [{ since: 1 }, /^"since" is not a field of a message; is the file from a newer version\?$/],
  ];
  for (const [more, why] of wrong) assert.throws(() => read(more), { constructor: LineError, message: why });
  for (const [line, why] of /** @type {[string, RegExp][]} */ ([
    ["{", /^it is not JSON: /],
    ["[]", /^it is not a JSON object$/],
    ['{"end": 1}', /^end must be an object with messages and dead_letters, and nothing else$/],
    ['{"end": {"messages": 1}}', /^end.dead_letters is missing$/],
    ['{"known_id": "x"}', /^a known id must have known_id and until, and nothing else$/],
  ]))
    assert.throws(() => readLine(utf8(line)), { constructor: LineError, message: why });
  assert.throws(() => readLine(Uint8Array.of(0xff)), { message: "it is not UTF-8" });
});

test("a file of another kind, or of a newer version, is refused", () => {
  checkHead(utf8(headLine()));
  for (const [line, why] of /** @type {[string, RegExp][]} */ ([
    ["PK", /^this is not an export of a mailbox: it is not JSON/],
    ['{"format":"other"}', /^this is not an export of a mailbox: it does not begin with/],
    ['{"format":"pymailbox-export","version":2}', /written by a newer pymailbox; this one knows version 1/],
    ['{"format":"pymailbox-export","version":"1"}', /^the export's version is "1"; this pymailbox knows version 1$/],
  ]))
    assert.throws(() => checkHead(utf8(line)), { constructor: LineError, message: why });
});

test("what is written is read back, and lines are ASCII", () => {
  const message = read({ headers: { é: "🙃" }, error: "\ud800", dead: { reason: "é", died_at: MESSAGE.created_at } });
  const line = messageLine(message);
  assert.match(line, /^[\x20-\x7e]*\n$/);
  assert.deepEqual(readLine(utf8(line)), { kind: "message", message });
});

test("a file is cut into lines, whatever pieces it comes in", async () => {
  const text = 'a\n\nbé\r\n"c"\nlast';
  const lines = ["a", "", "bé\r", '"c"', "last"];
  const bytes = utf8(text);
  /** @param {any} source */
  const linesOf = async (source) => {
    const found = [];
    for await (const line of linesIn(piecesOf(source))) found.push(textOf(line));
    return found;
  };
  async function* slowly() {
    const shared = new Uint8Array(1);
    for (const byte of bytes) {
      shared[0] = byte;
      yield shared;
    }
  }
  for (const source of [
    text,
    bytes,
    bytes.buffer,
    [text.slice(0, 3), utf8(text.slice(3))],
    slowly(),
    new Blob([text]),
    new Response(text),
    new Blob([text]).stream(),
  ])
    assert.deepEqual(await linesOf(source), lines);
  assert.deepEqual(await linesOf("x\n"), ["x"]);
  assert.deepEqual(await linesOf(""), []);
  assert.deepEqual(
    [" \t\r", "", "x"].map((each) => isBlank(utf8(each))),
    [true, true, false],
  );
  await assert.rejects(linesOf(5), { name: "TypeError", message: /^source must be a Blob, .*, not 5$/ });
  await assert.rejects(linesOf([5]), {
    name: "TypeError",
    message: "a piece of source must be bytes or a text, not 5",
  });
});

test("a silent source is abandoned when the signal aborts, and a stream is cancelled", async () => {
  const forever = new Promise(() => {});
  async function* stuck() {
    yield "a\nb";
    await forever;
  }
  /** @type {unknown} */
  let cancelled;
  const stream = new ReadableStream({
    start: (controller) => controller.enqueue(utf8("a\nb")),
    cancel: (reason) => {
      cancelled = reason;
      return forever;
    },
  });
  for (const source of [stuck(), stream]) {
    const controller = new AbortController();
    const { signal } = controller;
    const listeners = listenersOf(signal);
    const pieces = piecesOf(source, signal);
    assert.equal(textOf((await pieces.next()).value), "a\nb");
    const next = pieces.next();
    await null;
    controller.abort("enough");
    assert.deepEqual(await next, { done: true, value: undefined });
    assert.equal(listeners.size, 0);
  }
  assert.equal(cancelled, "enough");
  const all = piecesOf(["a"], AbortSignal.abort());
  assert.equal((await all.next()).done, true);
});

test("neither reading to the end nor an error leaves a listener behind", async () => {
  const { signal } = new AbortController();
  const listeners = listenersOf(signal);
  async function* failing() {
    yield "a";
    throw new Error("on purpose");
  }
  for (const source of [["a", "b"], new Blob(["a"]), new Response("a")])
    for await (const piece of piecesOf(source, signal)) assert.ok(piece.length > 0);
  const failed = piecesOf(failing(), signal);
  await failed.next();
  await assert.rejects(failed.next(), /on purpose/);
  assert.equal(listeners.size, 0);
});

/** Those that listen to a signal. @param {AbortSignal} signal */
function listenersOf(signal) {
  /** @type {Set<unknown>} */
  const listeners = new Set();
  const { addEventListener: add, removeEventListener: remove } = signal;
  Object.assign(signal, {
    /** @param {[string, any]} given */
    addEventListener: (...given) => {
      listeners.add(given[1]);
      add.apply(signal, given);
    },
    /** @param {[string, any]} given */
    removeEventListener: (...given) => {
      listeners.delete(given[1]);
      remove.apply(signal, given);
    },
  });
  return listeners;
}

test("a stream that is not read to its end is cancelled", async () => {
  let reason = false;
  const stream = new ReadableStream({
    pull: (controller) => controller.enqueue(utf8("a\nb\n")),
    cancel: () => {
      reason = true;
    },
  });
  for await (const line of linesIn(piecesOf(stream))) {
    assert.equal(textOf(line), "a");
    break;
  }
  assert.ok(reason);
});
