// The checks of arguments that need no mailbox: what counts as bytes, how many there may be, and what happens to texts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

import * as checks from "../../js/api/validate.js";
import { unpackHeaders } from "../../js/model/headers.js";
import { LARGEST_MESSAGE, LONGEST_DELAY } from "../../js/model/limits.js";

const NONE = new Uint8Array();

/** @param {unknown} sender @param {unknown} payload */
const messageOf = (sender, payload) => checks.checkMessage(sender, payload, {});

/** A buffer that has shrunk to two bytes, with views of it that were made before. */
function shrunk() {
  /** @type {any} newer than the types */
  const buffer = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 8 }]);
  const views = {
    /** The first four bytes, of which two remain. */
    fixed: new Uint8Array(buffer, 0, 4),
    beyond: new Uint8Array(buffer, 4),
    data: new DataView(buffer, 4),
    following: new Uint8Array(buffer),
  };
  buffer.resize(2);
  return views;
}

/** @template {ArrayBufferView} View @param {View} view */
function transferred(view) {
  structuredClone(view.buffer, { transfer: [/** @type {ArrayBuffer} */ (view.buffer)] });
  return view;
}

/** An object that claims to be something else. @template {object} T @param {T} value */
const renamed = (value) => Object.defineProperty(value, Symbol.toStringTag, { value: "Renamed" });

test("bytes are copied out of any view of bytes, and of any window's buffer", () => {
  const all = Uint8Array.from([0, 1, 2, 255]);
  class Labelled extends Uint8Array {}
  for (const [value, bytes] of /** @type {[unknown, number[]][]} */ ([
    [all, [0, 1, 2, 255]],
    [all.buffer, [0, 1, 2, 255]],
    [all.subarray(1, 3), [1, 2]],
    [new DataView(all.buffer, 2), [2, 255]],
    [new Int8Array(all.buffer), [0, 1, 2, 255]],
    [new Uint8ClampedArray(all.buffer, 3), [255]],
    [Labelled.from(all), [0, 1, 2, 255]],
    [Buffer.from(all), [0, 1, 2, 255]],
    [runInNewContext("new ArrayBuffer(2)"), [0, 0]],
    [runInNewContext("Uint8Array.of(7)"), [7]],
    [renamed(Uint8Array.of(7).buffer), [7]],
    [new Uint8Array(renamed(Uint8Array.of(7).buffer)), [7]],
    [shrunk().following, [0, 0]],
    [new ArrayBuffer(0), []],
  ])) {
    const { sender, payload } = messageOf(value, value);
    assert.deepEqual([[...sender], [...payload]], [bytes, bytes]);
    assert.ok(sender.buffer !== payload.buffer && sender.buffer !== all.buffer);
  }
});

test("what is not bytes, or no longer, is a TypeError that names the argument", () => {
  const { fixed, beyond, data } = shrunk();
  for (const [value, words] of /** @type {[unknown, RegExp][]} */ ([
    ["text", /must be a Uint8Array, .* not "text"; new TextEncoder/],
    [[1, 2], /must be a Uint8Array, .* not an Array$/],
    [{ [Symbol.toStringTag]: "ArrayBuffer", length: 2 }, /must be a Uint8Array, .* not an Object$/],
    [{ [Symbol.toStringTag]: "SharedArrayBuffer" }, /must be a Uint8Array, .* not an Object$/],
    [{ [Symbol.toStringTag]: "DataView", byteLength: 2 }, /must be a Uint8Array, .* not an Object$/],
    [Object.create(ArrayBuffer.prototype), /must be a Uint8Array, .* not an ArrayBuffer$/],
    [new Uint16Array(1), /must be a view of bytes, not a Uint16Array; new Uint8Array/],
    [new Float64Array(1), /must be a view of bytes, not a Float64Array; /],
    [new BigInt64Array(1), /must be a view of bytes, not a BigInt64Array; /],
    [runInNewContext("new Uint32Array(1)"), /must be a view of bytes, not a Uint32Array; /],
    [
      Object.defineProperty(new Uint16Array(1), Symbol.toStringTag, { value: "Uint8Array" }),
      /must be a view of bytes, /,
    ],
    [new SharedArrayBuffer(1), /must not be shared with other threads; /],
    [new Uint8Array(new SharedArrayBuffer(1)), /must not be shared with other threads; /],
    [renamed(new SharedArrayBuffer(1)), /must not be shared with other threads; /],
    [new Uint8Array(renamed(new SharedArrayBuffer(1))), /must not be shared with other threads; /],
    [runInNewContext("new SharedArrayBuffer(1)"), /must not be shared with other threads; /],
    [runInNewContext("new DataView(new SharedArrayBuffer(1))"), /must not be shared with other threads; /],
    [transferred(Uint8Array.of(1)), /has no bytes any more: /],
    [transferred(Uint8Array.of(1)).buffer, /has no bytes any more: /],
    [transferred(new DataView(new ArrayBuffer(1))), /has no bytes any more: /],
    [fixed, /has no bytes any more: /],
    [beyond, /has no bytes any more: /],
    [data, /has no bytes any more: /],
  ])) {
    assert.throws(() => messageOf(value, NONE), new RegExp(`^TypeError: sender ${words.source}`));
    assert.throws(() => messageOf(NONE, value), new RegExp(`^TypeError: payload ${words.source}`));
    const second = [
      { sender: NONE, payload: NONE },
      { sender: NONE, payload: value },
    ];
    assert.throws(
      () => checks.checkMessages(second),
      new RegExp(`^TypeError: messages\\[1\\]\\.payload ${words.source}`),
    );
  }
});

test("a message holds at most 64 MiB, and what is too large is not copied", () => {
  const largest = new Uint8Array(LARGEST_MESSAGE);
  assert.equal(messageOf(NONE, largest).payload.length, LARGEST_MESSAGE);
  const words =
    /^RangeError: sender, payload and headers must hold at most 67108864 bytes \(64 MiB\) together, not 67108865$/;
  assert.throws(() => messageOf(Uint8Array.of(1), largest), words);
  assert.throws(() => messageOf(largest, Uint8Array.of(1)), words);
  assert.throws(() => checks.checkMessage(NONE, largest, { headers: { name: "text" } }), /64 MiB/);
  const before = process.memoryUsage().arrayBuffers;
  assert.throws(() => messageOf(largest, largest), /not 134217728$/);
  assert.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024);
});

test("lone surrogates are escaped as in Python", () => {
  const text = "no file \udcff.txt, half \ud83d, whole 🙃, \ude43 and 🙃\ud83d";
  const stored = "no file \\udcff.txt, half \\ud83d, whole 🙃, \\ude43 and 🙃\\ud83d";
  assert.equal(checks.checkText("reason", text), stored);
  assert.equal(checks.checkFailure(text), stored);
  assert.ok(checks.checkFailure(new Error(text))?.includes(stored));
});

test("numbers end where they are no longer exact, and spans of time after 100 years", () => {
  const most = Number.MAX_SAFE_INTEGER;
  assert.equal(checks.checkLimit(most, 1), most);
  assert.equal(checks.checkOffset(most), most);
  assert.equal(checks.checkMailboxOptions({ maxDeliveries: most }).maxDeliveries, most);
  assert.equal(checks.checkMailboxOptions({ lease: LONGEST_DELAY }).lease, LONGEST_DELAY);
  assert.deepEqual([checks.checkWait(LONGEST_DELAY), checks.checkWait(Infinity)], [LONGEST_DELAY, Infinity]);
  const after = LONGEST_DELAY + 1;
  for (const [call, words] of /** @type {[() => unknown, RegExp][]} */ ([
    [() => checks.checkLimit(2 ** 53, 1), /^RangeError: limit must be a whole number from 1 to 9007199254740991 /],
    [() => checks.checkLimit(1n, 1), /^TypeError: limit must be a whole number, not 1n$/],
    [() => checks.checkOffset(2 ** 53), /^RangeError: offset must be a whole number from 0 to 9007199254740991 /],
    [
      () => checks.checkMailboxOptions({ batchSize: 2 ** 53 }),
      /^RangeError: batchSize must be a whole number from 1 to /,
    ],
    [
      () => checks.checkMailboxOptions({ maxDeliveries: 2 ** 53 }),
      /^RangeError: maxDeliveries must be a whole number /,
    ],
    [
      () => checks.checkMailboxOptions({ lease: after }),
      /^RangeError: lease must be a positive number of milliseconds, /,
    ],
    [() => checks.checkWait(after), /^RangeError: wait must be between 0 and /],
    [() => checks.checkDelay(after), /^RangeError: delay must be between 0 and /],
  ])) {
    assert.throws(call, words);
  }
});

test("a plain name that means a database in memory or a file elsewhere is refused", () => {
  for (const name of [":memory:", ":Memory:", "file:app.db", "FILE::memory:"]) {
    assert.throws(() => checks.checkName(name), /^RangeError: name ".*" looks like a database in memory or a file, /);
    assert.equal(checks.checkName(`indexeddb://${encodeURIComponent(name)}`), name);
  }
  for (const name of ["memory", "a:memory:", "profile:x"]) assert.equal(checks.checkName(name), name);
});

test("headers are an object, a Map or pairs of texts that UTF-8 can hold, and the last one with a name counts", () => {
  const headersOf = (/** @type {unknown} */ headers) =>
    unpackHeaders(checks.checkMessage(NONE, NONE, { headers }).headers);
  const pairs = [
    ["a", "1"],
    ["é", "🙃"],
  ];
  for (const headers of [Object.fromEntries(pairs), new Map(/** @type {any} */ (pairs)), pairs, new Set(pairs)])
    assert.deepEqual(headersOf(headers), pairs);
  assert.deepEqual(headersOf([...pairs, ["a", "2"]]), [["a", "2"], pairs[1]]);
  for (const none of [{}, [], new Map(), undefined]) assert.deepEqual(headersOf(none), []);
  const most = Array.from({ length: 64 }, (_, i) => [`${i}`, ""]);
  assert.equal(headersOf(most).length, 64);
  const largest = "é".repeat(4095);
  assert.deepEqual(headersOf([["ab", largest]]), [["ab", largest]]);
  for (const [headers, words] of /** @type {[unknown, RegExp][]} */ ([
    ["a", /^TypeError: headers must be an object of texts, a Map or another iterable of pairs, not "a"$/],
    [null, /^TypeError: headers must be an object of texts, .*, not null$/],
    [["ab"], /^TypeError: headers must be pairs of a name and a text, not "ab"$/],
    [[["a"]], /^TypeError: headers must be pairs of a name and a text, not an Array$/],
    [[[1, "a"]], /^TypeError: headers must have strings as names, not 1$/],
    [{ a: undefined }, /^TypeError: headers\["a"\] must be a string, not undefined$/],
    [{ a: "\ud800" }, /^RangeError: headers\["a"\] must be a text that UTF-8 can hold: /],
    [{ "\udfff": "" }, /^RangeError: headers\[.*\] must be a text that UTF-8 can hold: /],
    [[...most, ["x", ""]], /^RangeError: headers must be at most 64, not 65$/],
    [[["abc", largest]], /^RangeError: headers must hold at most 8192 bytes of UTF-8 in all, not 8193$/],
  ]))
    assert.throws(() => headersOf(headers), words);
});

test("headers are read before bytes, which the caller's code might take away", () => {
  const payload = Uint8Array.of(1);
  const headers = {
    *[Symbol.iterator]() {
      transferred(payload);
      yield ["a", "b"];
    },
  };
  assert.throws(() => checks.checkInPlace(NONE, payload, { headers }), /^TypeError: payload has no bytes any more/);
});

test("what JSON cannot express is refused, and JSON payloads are marked as such", () => {
  const textOf = (/** @type {Uint8Array} */ bytes) => new TextDecoder().decode(bytes);
  const { sender, payload, headers } = checks.checkJson({ a: [1, "é", undefined], b: undefined }, {});
  assert.deepEqual([sender.length, textOf(payload)], [0, '{"a":[1,"é",null]}']);
  assert.deepEqual(unpackHeaders(headers), [["content-type", "application/json"]]);
  const named = checks.checkJson("\ud800", { headers: { "content-type": "x" }, sender: Uint8Array.of(1) });
  assert.deepEqual([textOf(named.payload), [...named.sender]], ['"\\ud800"', [1]]);
  assert.deepEqual(unpackHeaders(named.headers), [["content-type", "x"]]);
  const message = checks.messageOfJson(1, { priority: "high", sender: NONE });
  const [packable] = checks.checkMessages([message]);
  assert.deepEqual([packable.priority, textOf(packable.payload)], [1, "1"]);
  /** @type {unknown[]} */
  const itself = [];
  itself.push(itself);
  for (const [value, words] of /** @type {[unknown, RegExp][]} */ ([
    [undefined, /^TypeError: value cannot be written as JSON: it is undefined$/],
    [() => 1, /^TypeError: value cannot be written as JSON: it is a function$/],
    [{ deep: [NaN] }, /^RangeError: value cannot be written as JSON: JSON has no NaN$/],
    [-Infinity, /^RangeError: value cannot be written as JSON: JSON has no -Infinity$/],
    [1n, /^TypeError: value cannot be written as JSON: /],
    [itself, /^TypeError: value cannot be written as JSON: /],
    [Uint8Array.of(1), /^TypeError: value cannot be written as JSON: it holds a Uint8Array, which JSON does not have$/],
    [{ deep: [new ArrayBuffer(1)] }, /^TypeError: value .* it holds an ArrayBuffer, which JSON does not have$/],
    [[new Map([["a", 1]])], /^TypeError: value .* it holds a Map, which JSON does not have$/],
    [new Set(), /^TypeError: value .* it holds a Set, which JSON does not have$/],
  ]))
    assert.throws(() => checks.checkJson(value, {}), words);
});

test("dedupeFor needs an id", () => {
  const messageId = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
  const before = Date.now();
  const { until } = checks.checkMessage(NONE, NONE, { messageId, dedupeFor: 1000.2 });
  assert.ok(until >= before + 1001 && until <= Date.now() + 1001);
  assert.equal(checks.checkMessage(NONE, NONE, { messageId, dedupeFor: 0 }).until, 0);
  assert.throws(() => checks.checkMessage(NONE, NONE, { dedupeFor: 0 }), /^RangeError: dedupeFor needs a messageId/);
  const after = { messageId, dedupeFor: LONGEST_DELAY + 1 };
  assert.throws(
    () => checks.checkMessage(NONE, NONE, after, "messages[0]."),
    /^RangeError: messages\[0\]\.dedupeFor must/,
  );
});
