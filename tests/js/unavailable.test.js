// When unreadable values are tried again, and how many at a time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UnavailableValues, ValueUnavailable, isReadFailure, withId } from "../../js/engine/unavailable-values.js";

const WAITS = { firstWait: 100, longestWait: 1000 };

/** A store whose file system is away, except for some keys; it records the requests. */
class Store {
  /** @type {string[]} */
  asked = [];
  /** @type {Map<string, Uint8Array | undefined>} */
  readable = new Map();
  error = new DOMException("away", "NotReadableError");

  /** @param {IDBValidKey} key */
  get(key) {
    const name = String(key);
    this.asked.push(name);
    const request = {
      result: this.readable.get(name),
      error: this.error,
      onsuccess() {},
      onerror(/** @type {unknown} */ _) {},
    };
    const event = { preventDefault() {}, stopPropagation() {} };
    queueMicrotask(() => (this.readable.has(name) ? request.onsuccess() : request.onerror(event)));
    return request;
  }

  /** Tries again, and returns the requests. @param {UnavailableValues} values */
  async asks(values) {
    this.asked = [];
    await values.retry(() => /** @type {any} */ (this));
    return this.asked;
  }
}

/** Runs with its own clock. @param {(clock: {time: number}) => Promise<void>} run */
async function withClock(run) {
  const { now } = performance;
  const clock = { time: 1000 };
  performance.now = () => clock.time;
  try {
    await run(clock);
  } finally {
    performance.now = now;
  }
}

/** @param {number} sequence */
const keyOf = (sequence) => [1, 0, sequence, sequence];

test("the wait for a value that stays away doubles each time, up to a second", () =>
  withClock(async (clock) => {
    const [values, store] = [new UnavailableValues(WAITS), new Store()];
    assert.equal(values.isRetryDue, false);
    values.add("segments", keyOf(5));
    const waits = [];
    for (let i = 0; i < 6; i++) {
      const next = values.nextRetryOf(1);
      waits.push(next - clock.time);
      clock.time = next - 1;
      assert.equal(values.isRetryDue, false);
      assert.deepEqual(await store.asks(values), []);
      clock.time = next + 100;
      assert.equal(values.isRetryDue, true);
      assert.deepEqual(await store.asks(values), ["1,0,5,5"]);
    }
    assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000]);
    assert.equal(values.nextRetryOf(2), Infinity);
    store.readable.set("1,0,5,5", new Uint8Array(3));
    clock.time += 1000;
    await store.asks(values);
    assert.ok(values.isEmpty);
  }));

test("if many stay away, a few are tried at a time, and all in turn", () =>
  withClock(async (clock) => {
    const [values, store] = [new UnavailableValues(WAITS), new Store()];
    for (let i = 0; i < 100; i++) values.add("segments", keyOf(i));
    clock.time += 100;
    const asked = new Set();
    for (let tries = 0; tries < 4; tries++) {
      const names = await store.asks(values);
      assert.ok(names.length <= 32, `${names.length}`);
      for (const name of names) asked.add(name);
      clock.time = values.nextRetryOf(1);
    }
    assert.equal(asked.size, 100);
  }));

test("when one is back all others are tried, up to a number of bytes", () =>
  withClock(async (clock) => {
    const [values, store] = [new UnavailableValues(WAITS), new Store()];
    for (let i = 0; i < 100; i++) values.add("segments", keyOf(i));
    for (let i = 0; i < 100; i += 2) store.readable.set(String(keyOf(i)), new Uint8Array(1));
    clock.time += 100;
    assert.equal((await store.asks(values)).length, 100);
    assert.equal(values.messagesOf(1).count, 50);
    assert.equal(values.has("segments", keyOf(0)), false);
    assert.equal(values.has("segments", keyOf(1)), true);
    for (let i = 1; i < 100; i += 2) store.readable.set(String(keyOf(i)), new Uint8Array(9 * 1024 * 1024));
    clock.time += 1000;
    assert.equal((await store.asks(values)).length, 2);
    assert.ok(values.isEmpty);
  }));

test("one that no longer exists says nothing about the others", () =>
  withClock(async (clock) => {
    const [values, store] = [new UnavailableValues(WAITS), new Store()];
    for (let i = 0; i < 100; i++) values.add("segments", keyOf(i));
    store.readable.set(String(keyOf(0)), undefined);
    clock.time += 100;
    assert.equal((await store.asks(values)).length, 33);
    assert.equal(values.messagesOf(1).count, 99);
  }));

test("a lost connection is no value's fault", () =>
  withClock(async (clock) => {
    const [values, store] = [new UnavailableValues(WAITS), new Store()];
    values.add("segments", keyOf(0));
    store.error = new DOMException("lost", "AbortError");
    clock.time += 100;
    await assert.rejects(store.asks(values), { name: "AbortError" });
    assert.equal(values.has("segments", keyOf(0)), true);
    // not over and over
    assert.equal(values.isRetryDue, false);
  }));

test("each is reported once, by mailbox and store", () => {
  const values = new UnavailableValues(WAITS);
  values.add("segments", keyOf(0));
  values.add("dead", [1, 3]);
  assert.deepEqual(values.takeUnreported("segments", 2), []);
  assert.deepEqual(values.takeUnreported("segments", 1), [keyOf(0)]);
  values.add("segments", keyOf(0));
  assert.deepEqual(values.takeUnreported("segments", 1), []);
  assert.deepEqual(values.takeUnreported("dead", 1), [[1, 3]]);
  assert.equal(values.messagesOf(1).count, 1);
  assert.equal(values.messagesOf(2).count, 0);
});

test("the error says what to do, and names the message", () => {
  const error = withId(new ValueUnavailable(keyOf(0)), new Uint8Array(16).fill(1));
  assert.equal(error.name, "StorageUnavailableError");
  assert.equal(error.passing, true);
  assert.match(
    error.message,
    /^The message 01010101-0101-0101-0101-010101010101 cannot be read at present: .*try again/,
  );
  assert.ok(isReadFailure(new DOMException("", "UnknownError")));
  assert.ok(!isReadFailure(new DOMException("", "AbortError")));
});
