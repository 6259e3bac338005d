// The stored form of a state: recognised among everything else, and never large.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteReader, ByteWriter, checksum, quickChecksum } from "../../js/model/bytes.js";
import { DELAYED, HELD, Page } from "../../js/model/page.js";
import { MailboxState } from "../../js/model/state.js";
import { random } from "./random.js";
import { Rows } from "./rows.js";

const TERMS = { maxDeliveries: 0, lease: 300_000, locked: true };
const SLOTS = 3;
const isSlot = (/** @type {number} */ slot) => slot < SLOTS;

/** A page of random runs. @param {(limit: number) => number} below @param {number} first @param {number} end */
function somePage(below, first, end) {
  const page = new Page();
  for (let from = first + below(3); from < end; ) {
    const to = Math.min(end, from + 1 + below(5));
    const where = below(HELD + SLOTS);
    page.put({
      from,
      to,
      where,
      delivery: below(2) === 0 ? below(3) : below(2 ** 31),
      due: where === DELAYED ? 1e12 + below(1e9) : 0,
    });
    from = to + below(3);
  }
  return page;
}

test("numbers come back as they were, and nothing else is taken for one", () => {
  for (const { below } of random(20)) {
    const values = [0, 1, 127, 128, 2 ** 31, 2 ** 32, 2 ** 53 - 1, below(2 ** 31), below(2 ** 31) * 2 ** 20];
    const writer = new ByteWriter();
    for (const value of values) writer.number(value);
    const bytes = writer.toBytes();
    const reader = new ByteReader(bytes);
    assert.deepEqual(
      values.map(() => reader.number()),
      values,
    );
    assert.ok(reader.isAtEnd);
    assert.throws(() => reader.number(), RangeError);
    for (const value of [-1, 0.5, NaN, Infinity, 2 ** 53]) assert.throws(() => writer.number(value), RangeError);
  }
  for (const bytes of [new Uint8Array(20).fill(0xff), new Uint8Array([0x80]), new Uint8Array(12).fill(0x80)]) {
    assert.throws(() => new ByteReader(bytes).number(), RangeError);
  }
});

test("a page comes back as it was; cut short or changed, it is a page with the same promises or not one", () => {
  for (const { seed, below } of random(40)) {
    const [first, end] = [1000, 1064];
    const page = somePage(below, first, end);
    if (page.isEmpty) continue;
    const bytes = page.encode(first);
    const again = Page.decode(bytes, first, end, isSlot);
    assert.deepEqual([...again], [...page], `seed ${seed}`);
    assert.deepEqual([again.queued, again.delayed, again.due], [page.queued, page.delayed, page.due]);
    assert.deepEqual([...again.held].sort(), [...page.held].sort());
    for (let cut = 0; cut <= bytes.length; cut++) {
      const damaged = bytes.slice(0, cut);
      for (const flip of cut === bytes.length ? bytes.keys() : []) {
        const flipped = bytes.slice();
        flipped[flip] ^= 1 << below(8);
        assertPageOrNone(flipped, first, end);
        assert.notEqual(checksum(flipped, 1, 2), checksum(bytes, 1, 2));
        assert.notEqual(quickChecksum(flipped, 1), quickChecksum(bytes, 1));
      }
      if (cut < bytes.length) assertPageOrNone(damaged, first, end);
    }
    assert.notEqual(checksum(bytes, 1, 2), checksum(bytes, 1, 3), "it says whose it is");
    assert.notEqual(quickChecksum(bytes, 1), quickChecksum(bytes, 2), "it says whose it is");
  }
});

/** @param {Uint8Array} bytes @param {number} first @param {number} end */
function assertPageOrNone(bytes, first, end) {
  /** @type {Page} */
  let page;
  try {
    page = Page.decode(bytes, first, end, isSlot);
  } catch (error) {
    assert.ok(error instanceof RangeError, String(error));
    return;
  }
  let to = first;
  for (const run of page) {
    assert.ok(run.from >= to && run.to > run.from && run.to <= end);
    assert.ok(run.where < HELD + SLOTS && Number.isSafeInteger(run.delivery) && Number.isSafeInteger(run.due));
    to = run.to;
  }
}

/** A state with something of everything, its pages small. @param {(limit: number) => number} below */
function someState(below) {
  const rows = new Rows();
  const state = MailboxState.create(3, { pageNumbers: 8, pagesInHead: 40 });
  for (let i = 0; i < 60; i++) state.enqueue(i % 2, i % 5 === 0, i % 7 === 0 ? 5000 + below(1000) : 0);
  for (const holder of ["a".repeat(32), "b".repeat(32)]) rows.run(state, state.claim(holder, TERMS, 5 + below(9), 0));
  for (let i = 0; i < 20; i++) state.ack({ priority: below(2), sequence: below(30) });
  rows.save(state);
  return { state, rows };
}

test("a head that was cut short or changed in any byte is refused", () => {
  for (const { seed, below } of random(4)) {
    const { rows } = someState(below);
    const { head } = rows.head;
    assert.ok(rows.tryToLoad() !== undefined);
    for (let i = 0; i < head.length; i++) {
      rows.head.head = head.slice(0, i);
      assert.equal(rows.tryToLoad(), undefined, `seed ${seed}, cut at ${i}`);
      for (let bit = 0; bit < 8; bit++) {
        rows.head.head = head.slice();
        rows.head.head[i] ^= 1 << bit;
        assert.equal(rows.tryToLoad(), undefined, `seed ${seed}, bit ${bit} of ${i}`);
      }
    }
    rows.head.head = head;
    rows.head.number = 4;
    assert.equal(rows.tryToLoad(), undefined, "another mailbox's");
  }
  for (const value of [
    undefined,
    null,
    5,
    "x",
    {},
    { number: 1 },
    { number: 1, head: "x" },
    { number: -1, head: new Uint8Array(9) },
    { number: 1, head: new Uint8Array() },
  ]) {
    assert.equal(MailboxState.from(value), undefined);
  }
});

test("a head with wrong numbers and a correct checksum is a state or refused, and nothing runs for ever", () => {
  for (const { below } of random(10)) {
    const { rows } = someState(below);
    const { head } = rows.head;
    for (let i = 0; i < head.length; i++) {
      const changed = head.slice();
      changed[i] = below(256);
      rows.head.head = changed;
      rows.head.sum = quickChecksum(changed, 3);
      const state = rows.tryToLoad();
      if (state === undefined) continue;
      for (const lane of state.lanes) {
        assert.ok(lane.frontier <= lane.next);
        let end = 0;
        for (const { first, last } of lane.directory.entries) {
          assert.ok(first >= end && last > first);
          end = last;
        }
      }
    }
  }
});

test("a row that was changed, swapped or lost is not a page: its messages are gone, the counts are right", () => {
  for (const { seed, below } of random(40)) {
    const { state: before, rows } = someState(below);
    const outside = before.lanes.flatMap(({ directory }) =>
      directory.entries.filter(({ hasRow, inHead }) => hasRow && !inHead),
    );
    assert.ok(outside.length > 1);
    const [lost, swapped] = [outside[below(outside.length)], outside[below(outside.length)]];
    const [name, other] = [lost, swapped].map(({ kind, number }) => `${kind},${number}`);
    const { from, to } = before.pages.numbersOf(lost);
    const bytes = /** @type {Uint8Array} */ (rows.rows.get(name));
    const ways = [() => rows.rows.delete(name), () => bytes.fill(0), () => rows.rows.set(name, bytes.slice(0, -1))];
    if (other !== name) ways.push(() => rows.rows.set(name, /** @type {Uint8Array} */ (rows.rows.get(other))));
    ways[below(ways.length)]();
    const state = rows.load();
    const taken = rows.run(state, state.claim("c".repeat(32), TERMS, 1000, 0));
    assert.ok(
      taken.taken.every((run) => run.priority !== lost.priority || run.to <= from || run.from >= to),
      `seed ${seed}`,
    );
    rows.open(state, state.pages.allLacking());
    const counted = [...state.queuedByPriority(), state.inflightCount(), state.customIds, state.claims.size];
    state.pages.recount();
    assert.deepEqual(
      [...state.queuedByPriority(), state.inflightCount(), state.customIds, state.claims.size],
      counted,
      `seed ${seed}`,
    );
    assert.ok(state.queuedCount() + state.inflightCount() < before.queuedCount() + before.inflightCount());
  }
});

test("an untouched page costs nothing: a change writes its page and a small head", () => {
  const rows = new Rows();
  const state = MailboxState.create(1);
  for (let i = 0; i < 100_000; i++) state.enqueue(0, false, 0);
  rows.save(state);
  assert.ok(rows.head.head.length < 100, "who only waits needs no page");
  assert.equal(rows.written, 0);
  for (let sequence = 1; sequence < 100_000; sequence += 2) state.ack({ priority: 0, sequence });
  rows.save(state);
  assert.ok(rows.head.head.length < 4096);
  const loaded = rows.load();
  rows.read = 0;
  const { taken } = rows.run(loaded, loaded.claim("a".repeat(32), TERMS, 1, 0));
  assert.deepEqual([taken[0].from, rows.read], [0, 1]);
  rows.save(loaded);
  assert.ok(rows.written <= 1);
  loaded.ack({ priority: 0, sequence: 0 });
  loaded.enqueue(1, false, 0);
  rows.save(loaded);
  assert.ok(rows.written <= 1);
});

test("however much there is, a head stays far below what Chromium puts into a file, and a change writes little", () => {
  const rows = new Rows();
  const state = MailboxState.create(1);
  const HOLDERS = 2000;
  for (let i = 0; i < 1_000_000; i++)
    for (const priority of [0, 1]) state.enqueue(priority, false, i % 16 === 0 ? 1e12 + ((i * 7919) % 1e9) : 0);
  for (let sequence = 1; sequence < 1_000_000; sequence += 8)
    for (const priority of [0, 1]) state.ack({ priority, sequence });
  for (let i = 0; i < HOLDERS; i++) {
    rows.run(state, state.claim(i.toString(16).padStart(32, "0"), TERMS, 300, 0));
  }
  rows.save(state);
  assert.ok(rows.head.head.length < 16 * 1024, `${rows.head.head.length} bytes`);
  const largest = Math.max(...[...rows.rows.values()].map(({ length }) => length));
  assert.ok(largest < 16 * 1024, `${largest} bytes`);
  const loaded = rows.load();
  assert.equal(loaded.claims.size, HOLDERS);
  rows.run(loaded, loaded.claim("a".repeat(32), TERMS, 1, 0));
  rows.save(loaded);
  assert.ok(rows.written <= 5, `${rows.written} rows`);
});

test("no option of a handle makes a state that cannot be read", () => {
  for (const [maxDeliveries, lease] of [
    [2 ** 53, 1],
    [1e300, 1e300],
    [0, Infinity],
    [NaN, NaN],
    [-5, -5],
    [1.5, 0.25],
  ]) {
    const rows = new Rows();
    const state = MailboxState.create(1);
    state.enqueue(0, false, 1e300);
    state.enqueue(0, false, 0);
    rows.run(state, state.claim("a".repeat(32), { maxDeliveries, lease, locked: false }, 1, 0));
    rows.save(state);
    const claims = rows.load().claims.get("a".repeat(32));
    assert.ok(claims !== undefined && claims.maxDeliveries >= 0 && claims.lease >= 0 && !claims.locked);
  }
});

test("a holder that no longer has anything leaves its slot to the next", () => {
  const rows = new Rows();
  const state = MailboxState.create(1);
  for (let i = 0; i < 3; i++) state.enqueue(0, false, 0);
  for (let i = 0; i < 200; i++) {
    const [holder, other] = [2 * i, 2 * i + 1].map((name) => name.toString(16).padStart(32, "0"));
    for (const name of [holder, other]) rows.run(state, state.claim(name, TERMS, 1, 0));
    assert.deepEqual([...state.claims.values()].map(({ slot }) => slot).sort(), [0, 1]);
    rows.save(state);
    for (const name of [holder, other]) rows.run(state, state.releaseAll(name));
  }
  rows.save(state);
  assert.ok(rows.head.head.length < 100);
});
