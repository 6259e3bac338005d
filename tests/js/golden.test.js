// The bytes in tests/golden.json: the model writes exactly these, and reads their meaning.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkHead, readLine } from "../../js/api/lines.js";
import { DELAYED, frameAt, framesIn, idIn, unpackBatch, viewOf } from "../../js/model/frames.js";
import { unpackHeaders } from "../../js/model/headers.js";
import { placeOf } from "../../js/model/ids.js";
import { Segment } from "../../js/model/segments.js";
import { bytesOfId, textOfId } from "../../js/model/uuids.js";
import { isDeadLetter } from "../../js/storage/rows.js";
import {
  batchOf,
  framesOf,
  fromJson,
  golden,
  hex,
  ownId,
  read,
  says,
  unhex,
  wholeMessage,
} from "../../tools/golden.mjs";
import { Rows } from "./rows.js";

/** @type {Record<string, any>} */
const FILE = read();

const bytesOf = (/** @type {string} */ text) => /** @type {Uint8Array} */ (bytesOfId(text));

/**
 * A message according to its frames.
 * @param {Uint8Array} bytes @param {import("../../js/model/types.js").Frame} frame
 */
function messageIn(bytes, frame) {
  const payloadAt = frame.end - frame.payloadBytes;
  const senderBytes = viewOf(bytes).getUint32(frame.offset + 4, true);
  return {
    sender: hex(bytes.subarray(payloadAt - senderBytes, payloadAt)),
    payload: hex(bytes.subarray(payloadAt, frame.end)),
    priority: frame.priority,
    id: frame.hasCustomId ? textOfId(idIn(bytes, frame)) : null,
    due: frame.due === 0 ? null : frame.due,
    headers: unpackHeaders(bytes.subarray(payloadAt - senderBytes - frame.headersBytes, payloadAt - senderBytes)),
    until: frame.until === 0 ? null : frame.until,
  };
}

test("everything except heads is written as in the file", () => {
  const { heads: _, ...now } = golden();
  const { heads: __, ...before } = FILE;
  assert.deepEqual(now, before, "the layout or the border has changed; if that is meant, run: make generated");
});

test("heads are written as in the file", () => {
  assert.deepEqual(
    golden().heads,
    FILE.heads,
    "the layout of heads has changed; if that is meant, run: make generated",
  );
});

test("ids say the places that they were made of", () => {
  for (const { base, priority, sequence, id } of Object.values(FILE.ids)) {
    assert.deepEqual(placeOf(bytesOf(id), bytesOf(base)), { priority, sequence });
    assert.equal(textOfId(ownId(priority, sequence, /** @type {any} */ (bytesOf(base)))), id);
  }
});

test("frames say the messages that they were made of", () => {
  for (const [name, { createdAt, messages, frames }] of Object.entries(FILE.frames)) {
    const bytes = unhex(frames);
    assert.equal(hex(framesOf(messages, createdAt)), frames, name);
    assert.deepEqual(
      [...framesIn(bytes)].map((frame) => messageIn(bytes, frame)),
      messages,
      name,
    );
    assert.equal(viewOf(bytes).getFloat64(12, true), createdAt, name);
  }
});

test("batches say the messages that were handed out", () => {
  const archives = { living: FILE.archive.living, dead: FILE.archive.dead };
  for (const [name, { messages, batch }] of Object.entries({ ...FILE.batches, ...archives })) {
    assert.equal(hex(batchOf(messages)), batch, name);
    const unpacked = unpackBatch(unhex(batch)).map(({ id, headers, sender, payload, ...more }) => ({
      id: textOfId(id),
      headers: unpackHeaders(headers),
      sender: hex(sender),
      payload: hex(payload),
      ...more,
    }));
    assert.deepEqual(
      unpacked,
      messages.map((/** @type {any} */ { custom, until, due, failures, suspect, error, reason, diedAt, ...shown }) => ({
        ...shown,
        due: shown.status === DELAYED ? due : 0,
      })),
      name,
    );
  }
});

test("records of dead letters are ours", () => {
  const { records, batch, deaths } = FILE["dead letters"];
  const unpacked = unpackBatch(unhex(batch));
  for (const [i, record] of records.entries()) {
    const letter = fromJson(record);
    assert.ok(isDeadLetter(letter));
    assert.equal(frameAt(viewOf(letter.frame), 0).priority, unpacked[i]?.priority);
    assert.equal(hex(letter.id), hex(unpacked[i]?.id ?? new Uint8Array()));
    assert.deepEqual(JSON.parse(deaths)[i], [letter.reason, letter.error ?? null, letter.diedAt]);
  }
});

test("lines of an export say what they were made of", () => {
  const read = (/** @type {string} */ line) => readLine(new TextEncoder().encode(line));
  const { head, messages, known, end } = FILE.exported;
  checkHead(new TextEncoder().encode(head));
  for (const { message, line } of messages) {
    const whole = wholeMessage(message);
    const { custom, until, ...told } = /** @type {any} */ (whole);
    // numbers come first in an object, and half of a surrogate pair is written as text
    told.headers.sort();
    const got = /** @type {any} */ (read(line)).message;
    got.headers.sort();
    if (told.error !== null) told.error = told.error.replace("\ud800", "\\ud800");
    assert.deepEqual(got, told);
  }
  for (const { id, until, line } of known) assert.deepEqual(read(line), { kind: "known id", known: { id, until } });
  assert.deepEqual(read(end), { kind: "end", end: { messages: messages.length, deadLetters: 1, knownIds: 2 } });
});

test("imported messages have an id in each frame, and details", () => {
  const { messages, frames, details } = FILE.archive.adopted;
  const bytes = unhex(frames);
  const found = [...framesIn(bytes)].map((frame) => messageIn(bytes, frame));
  assert.deepEqual(
    found,
    messages.map((/** @type {any} */ { sender, payload, priority, id, due, headers, until }) => ({
      sender,
      payload,
      priority,
      id,
      due,
      headers,
      until,
    })),
  );
  assert.equal(JSON.parse(details).length, messages.length);
});

test("segments say which messages they have", () => {
  for (const [name, { first, frames, segment }] of Object.entries(FILE.segments)) {
    const found = Segment.from(unhex(segment));
    assert.ok(found, name);
    assert.deepEqual([found.first, found.last], [first, first + frames.length - 1], name);
    assert.deepEqual(
      frames.map((/** @type {string} */ _, /** @type {number} */ i) => hex(found.bytesOf(first + i))),
      frames,
      name,
    );
  }
});

test("heads are read as the states that they were written from, and are the same when written again", () => {
  for (const [name, { journal, pages, says: wanted }] of Object.entries(FILE.heads)) {
    const rows = new Rows();
    rows.head = fromJson(journal);
    for (const [key, bytes] of Object.entries(pages)) rows.rows.set(key, unhex(bytes));
    assert.deepEqual(says(rows.load(), rows), wanted, name);
    const again = rows.load();
    assert.deepEqual(again.pack(), [], name);
    assert.deepEqual(again.toStored(), rows.head, name);
  }
});
