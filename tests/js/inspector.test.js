// The inspector's pure parts: previews of bytes, ages and rates.

import assert from "node:assert/strict";
import { test } from "node:test";

import { visible } from "../../js/inspector/escape.js";
import { factsOf, headersOf } from "../../js/inspector/facts.js";
import { HEX_BYTES, TEXT_BYTES, likelyMode, line, lineOf, shown, whole } from "../../js/inspector/preview.js";
import { Samples, WINDOW } from "../../js/inspector/samples.js";
import { age, count, moment, rate, size, until } from "../../js/inspector/format.js";

/** @param {string} text */
const utf8 = (text) => new TextEncoder().encode(text);

test("bytes are shown in the mode that says most", () => {
  assert.equal(likelyMode(utf8("hello\n")), "text");
  assert.equal(likelyMode(utf8(' {"a": [1]}')), "json");
  assert.equal(likelyMode(utf8("{a: 1}")), "text");
  assert.equal(likelyMode(utf8("12")), "text");
  assert.equal(likelyMode(Uint8Array.of(0xff, 0xfe)), "hex");
  assert.equal(likelyMode(utf8("a\0b")), "hex");
  assert.equal(likelyMode(new Uint8Array()), "text");
});

test("JSON gets line breaks and keeps every token", () => {
  const json = '{"big":12345678901234567890,"twice":1,"twice":-2.50e+3,"s":"a{,:\\"]","none":[],"in":[{},[null,true]]}';
  const { text, note } = shown(utf8(json), "json");
  assert.equal(note, "");
  assert.equal(text.replace(/\n\s*/g, "").replaceAll(": ", ":"), json);
  assert.deepEqual(JSON.parse(text), JSON.parse(json));
  assert.ok(text.startsWith('{\n  "big": 12345678901234567890,\n  "twice": 1,'));
  assert.deepEqual(shown(utf8("{no"), "json"), { text: "{no", note: "This is not JSON, so it is shown as text." });
});

test("long payloads are cut, and the note says so", () => {
  const long = new Uint8Array(1_000_000).fill(0x61);
  for (const [mode, limit] of /** @type {const} */ ([
    ["text", TEXT_BYTES],
    ["json", TEXT_BYTES],
    ["hex", HEX_BYTES],
  ])) {
    const { text, note } = shown(long, mode);
    assert.ok(text.length <= TEXT_BYTES);
    assert.ok(note.endsWith(`These are the first ${limit.toLocaleString("en")} of 1,000,000 bytes.`), note);
  }
  // cut in the middle of a character, it is still text
  const cut = utf8(`a${"é".repeat(TEXT_BYTES)}`);
  assert.equal(likelyMode(cut), "text");
  assert.ok(!shown(cut, "text").text.includes("\ufffd"));
});

test("deep JSON is shown, whatever its depth", () => {
  const { text } = shown(utf8("[".repeat(5000) + "]".repeat(5000)), "json");
  assert.ok(text.length < 1_000_000);
});

test("hexadecimal has offsets and ASCII beside it", () => {
  const { text } = shown(Uint8Array.from([...utf8("<b>hello, world</b>"), 0, 255]), "hex");
  assert.equal(
    text,
    "000000  3c 62 3e 68 65 6c 6c 6f 2c 20 77 6f 72 6c 64 3c  <b>hello, world<\n" +
      "000010  2f 62 3e 00 ff                                   /b>..",
  );
});

test("characters that are invisible or turn text around are written out", () => {
  const { text } = shown(utf8("a\u202ecba\u0007\u2066\r\nb\rc"), "text");
  assert.equal(text, "a⟨U+202E⟩cba⟨U+0007⟩⟨U+2066⟩\nb\rc");
  assert.equal(line(utf8("  two\n\n lines\u200f ")), "two lines⟨U+200F⟩");
});

test("everything that is not drawn is written out", () => {
  const invisible = [
    ...["\0", "\x1b", "\x85", "\xad", "\u034f", "\u061c", "\u115f", "\u180e", "\u200b", "\u2028", "\u2029", "\u202a"],
    ...[
      "\u202e",
      "\u2060",
      "\u2064",
      "\u2066",
      "\u2069",
      "\u206f",
      "\u3164",
      "\ufeff",
      "\uffa0",
      "\ufff9",
      "\u{e0041}",
    ],
    ...["\u200c", "\u200d", "\ufe0f", "\ud800", "\udc00"],
  ];
  for (const character of invisible) {
    const code = character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0");
    assert.equal(visible(`a${character}b`), `a⟨U+${code}⟩b`);
    assert.equal(visible(visible(`a${character}b`)), visible(`a${character}b`));
  }
  assert.equal(visible("a\tb\nc\rd"), "a\tb\nc\rd");
});

test("characters whose effect on their neighbours can be seen stay with them", () => {
  // emoji of several parts, a keycap, a word of Persian, one of Hindi, and plain text in all directions
  for (const text of ["👩🏽‍🚀", "🏳️‍🌈", "❤️", "3️⃣", "می‌خواهم", "क्‍ष", "שלום, العربية, naïve 漢字"]) {
    assert.equal(visible(text), text);
  }
  assert.equal(visible("ab\u200dcd"), "ab⟨U+200D⟩cd");
  assert.equal(visible("👩\u200d"), "👩⟨U+200D⟩");
});

test("texts fit into a line, and very long ones are cut, but no character in half", () => {
  assert.equal(lineOf(" one\n\ttwo\u202e "), "one two⟨U+202E⟩");
  assert.equal(lineOf(""), "(empty)");
  const long = lineOf(`${"x".repeat(239)}😀${"y".repeat(1_000_000)}`);
  assert.equal(long, `${"x".repeat(239)}…`);
  assert.ok(whole("z".repeat(1_234_567)).endsWith("z\n… (1,234,567 characters)"));
  assert.equal(whole("a\nb\u2066"), "a\nb⟨U+2066⟩");
});

/** A record that was never handed out, unless given otherwise. @param {object} [more] */
const record = (more) => ({
  id: "0b1f6a1e-4d0c-8a52-9d3e-6f5a3c2b1a09",
  sender: utf8("alice"),
  payload: utf8("hello"),
  priority: /** @type {const} */ ("normal"),
  createdAt: new Date(0),
  status: /** @type {const} */ ("queued"),
  deliveryCount: 0,
  headers: {},
  json: () => assert.fail("nobody asked for it"),
  ...more,
});

test("everything known about a message is shown, and nothing that it does not have", () => {
  assert.deepEqual(factsOf({ record: record() }), [
    ["Sender", "alice"],
    ["Priority", "normal"],
    ["Status", "queued"],
    ["Enqueued", moment(new Date(0))],
    ["Handed out", "0 times"],
    ["Size", "5 bytes"],
    ["Id", "0b1f6a1e-4d0c-8a52-9d3e-6f5a3c2b1a09"],
  ]);
  const dueAt = new Date(2_000_000_000_000);
  const delayed = factsOf({ record: record({ dueAt, sender: utf8("bob\u202e"), deliveryCount: 1234 }) });
  assert.deepEqual(Object.fromEntries(delayed).Due, moment(dueAt));
  assert.deepEqual(Object.fromEntries(delayed).Sender, "bob⟨U+202E⟩");
  assert.deepEqual(Object.fromEntries(delayed)["Handed out"], "1,234 times");
  assert.equal(
    factsOf({ record: record({ dueAt: undefined }) }).some(([term]) => term === "Due"),
    false,
  );
  const diedAt = new Date(1_000_000);
  const letter = { record: record(), reason: "why", error: null, diedAt };
  const dead = Object.fromEntries(factsOf({ record: record(), letter }));
  assert.deepEqual([dead.Status, dead.Died], ["dead letter", moment(diedAt)]);
});

test("it says who holds a message", () => {
  const heldBy = (/** @type {import("../../js/inspector/facts.js").Held | undefined} */ held) =>
    Object.fromEntries(factsOf({ record: record({ status: "inflight" }), held }))["Held by"];
  assert.equal(heldBy("here"), "this tab");
  assert.equal(heldBy("elsewhere"), "another tab or worker");
  assert.equal(heldBy("gone"), "nobody: gone. It goes back to the queue as soon as a consumer looks for messages");
  assert.equal(heldBy("none"), "nobody");
  assert.equal(heldBy(undefined), undefined);
});

test("headers are shown in their order, and cannot act", () => {
  assert.deepEqual(headersOf(record()), []);
  const headers = { "content-type": "application/json", "\u202ename": "a\nb\u2066", none: "" };
  assert.deepEqual(headersOf(record({ headers })), [
    ["content-type", "application/json"],
    ["⟨U+202E⟩name", "a\nb⟨U+2066⟩"],
    ["none", "(empty)"],
  ]);
});

test("a line says what there is if there is no text", () => {
  assert.equal(line(new Uint8Array()), "(empty)");
  assert.equal(line(utf8(" \n ")), "(blank)");
  assert.equal(line(Uint8Array.of(0, 255)), "hex 00 ff");
  assert.equal(line(new Uint8Array(100)), `hex${" 00".repeat(16)} …`);
  assert.ok(line(utf8("x".repeat(1000))).endsWith("x…"));
});

/** @param {number} queued @param {number} inflight @param {number} everQueued */
const stats = (queued, inflight, everQueued) => ({
  queuedMessages: queued,
  inflightMessages: inflight,
  everQueued,
  queuedByPriority: { normal: queued, high: 0 },
  deadLetters: 0,
  delayedMessages: 0,
  oldestQueuedAt: null,
});

test("rates show what came and went, even if the counts stay the same", () => {
  const samples = new Samples();
  for (let second = 0; second <= 10; second++) samples.add(second * 1000, stats(5, 2, 7 + 30 * second));
  const [first, ...rates] = samples.throughput();
  assert.equal(first.values, undefined);
  assert.equal(rates.length, 10);
  for (const { values } of rates) assert.deepEqual(values, [30, 30]);
});

test("there is a gap where nobody looked, and where a mailbox was recreated", () => {
  const samples = new Samples();
  samples.add(0, stats(1, 0, 1));
  samples.add(1000, stats(2, 0, 2));
  samples.add(60_000, stats(900, 0, 900));
  samples.add(61_000, stats(900, 0, 900));
  samples.add(62_000, stats(1, 0, 1));
  const known = samples.throughput().map(({ values }) => values);
  assert.deepEqual(known, [undefined, [1, 0], undefined, [0, 0], undefined]);
});

test("old samples go", () => {
  const samples = new Samples();
  for (let at = 0; at < 10 * WINDOW; at += 500) samples.add(at, stats(0, 0, at));
  assert.ok(samples.depth().length <= WINDOW / 500 + 3);
});

test("numbers are in words that fit", () => {
  const now = Date.now();
  assert.deepEqual(
    [-5000, 0, 59_999, 60_000, 3_600_000, 172_800_000].map((ago) => age(new Date(now - ago), now)),
    ["0 s", "0 s", "59 s", "1 min", "1 h", "2 d"],
  );
  assert.deepEqual([0, 5, 0.25, 9.96, 1234.5].map(rate), ["0", "5", "0.3", "10", "1,235"]);
  assert.deepEqual([999, 1000, 999_949, 999_950, 2_500_000, 1_234_500_000].map(size), [
    "999 B",
    "1.0 kB",
    "999.9 kB",
    "1.0 MB",
    "2.5 MB",
    "1,234.5 MB",
  ]);
  assert.deepEqual(
    [-1, 0, 1, 1600, 59_400, 59_999, 90_000, 3_599_000, 1e12].map((ahead) => until(new Date(now + ahead), now)),
    ["", "", "in 1 s", "in 2 s", "in 59 s", "in 1 min", "in 2 min", "in 1 h", "in 11,574 d"],
  );
  assert.equal(until(new Date(Number.NaN), now), "");
  assert.deepEqual(
    [0, 1, 2, 1_234_567].map((value) => count(value, "letter")),
    ["0 letters", "1 letter", "2 letters", "1,234,567 letters"],
  );
});
