// Segments that something else has overwritten: whatever the bytes, the result is whole frames or nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { frameOf, isTime, viewOf } from "../../js/model/frames.js";
import { Segment, SegmentCache, SegmentWriter } from "../../js/model/segments.js";
import { random } from "./random.js";

/** @param {number} first @param {number} count @param {(limit: number) => number} below */
function segmentOf(first, count, below) {
  const frames = Array.from({ length: count }, (_, i) =>
    frameOf(0, new Uint8Array(16).fill(i), new Uint8Array(below(30)).fill(i), 1.7e12),
  );
  return Segment.pack(first, frames);
}

/** Everything that a segment is asked for. @param {Segment} segment */
function readAll(segment) {
  let end = 12;
  for (let sequence = segment.first; sequence <= segment.last; sequence++) {
    const frame = segment.frameOf(sequence);
    assert.equal(frame.offset, end);
    assert.ok(frame.end <= segment.bytes.length);
    assert.ok(isTime(viewOf(segment.bytes).getFloat64(frame.offset + 12, true)));
    end = frame.end;
  }
}

test("what was packed can be read", () => {
  for (const { below } of random(50)) {
    const packed = segmentOf(below(1000), 1 + below(128), below);
    const segment = Segment.from(packed.bytes);
    assert.ok(segment);
    assert.deepEqual([segment.first, segment.last], [packed.first, packed.last]);
    readAll(segment);
  }
});

test("bytes that were changed, cut or made up never yield more than they have", () => {
  for (const { below } of random(3000)) {
    const { bytes } = segmentOf(below(1000), 1 + below(20), below);
    for (let changes = below(4); changes > 0; changes--) bytes[below(bytes.length)] = below(256);
    const segment = Segment.from(bytes.slice(0, bytes.length - below(2) * below(bytes.length)));
    if (segment !== undefined) readAll(segment);
    const noise = Segment.from(Uint8Array.from({ length: below(200) }, () => below(256)));
    if (noise !== undefined) readAll(noise);
  }
});

test("the cache finds what was put there, and keeps no more than it may", () => {
  for (const { below } of random(100)) {
    const cache = new SegmentCache(8 * 1024 * 1024);
    /** @type {Segment[]} */
    const written = [];
    const writer = new SegmentWriter((segment) => written.push(segment));
    for (let sequence = 0; sequence < 300; sequence += 1 + (below(5) === 0 ? below(4) : 0)) {
      writer.append(sequence, frameOf(0, new Uint8Array(16), new Uint8Array(below(600)), 1.7e12));
      if (below(6) === 0) writer.flush();
    }
    writer.flush();
    for (const segment of [...written].sort(() => below(3) - 1)) cache.add(1, 0, segment);
    const [from, to] = [below(300), below(300)].sort((a, b) => a - b);
    cache.drop(1, 0, from, to);
    for (const segment of written) {
      const dropped = segment.last >= from && segment.last < to;
      for (const sequence of [segment.first, segment.last]) {
        assert.equal(cache.find(1, 0, sequence), dropped ? undefined : segment);
        assert.equal(cache.find(2, 0, sequence), undefined);
      }
    }
  }
});
