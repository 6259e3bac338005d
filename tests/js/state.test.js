// The state against a naive one, by random programs on small pages; a failure prints its seed, and SEED=… replays it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { frameOf } from "../../js/model/frames.js";
import { failures, handOuts, hasCustomId, hasError, isSuspect } from "../../js/model/delivery.js";
import { DELAYED, HELD } from "../../js/model/page.js";
import { PassedOver } from "../../js/model/passed-over.js";
import {
  delays,
  firstDelayed,
  firstInflight,
  firstQueued,
  firstWaiting,
  livingBetween,
} from "../../js/model/queries.js";
import { MailboxState } from "../../js/model/state.js";
import { Segment } from "../../js/model/segments.js";
import { NaiveMailbox } from "./naive.js";
import { random } from "./random.js";
import { Rows } from "./rows.js";

const HOLDERS = ["a".repeat(32), "b".repeat(32), "0123456789abcdef".repeat(2), "told by another name: ü"];
const TERMS = { maxDeliveries: 3, lease: 300_000, locked: true };

/** @param {import("../../js/model/types.js").LaneRun[]} runs */
const places = (runs) =>
  runs.flatMap(({ priority, from, to }) => Array.from({ length: to - from }, (_, i) => [priority, from + i]));

/** @param {MailboxState} state @param {NaiveMailbox} naive @param {Rows} rows @param {number} now */
function assertSame(state, naive, rows, now) {
  naive.promote(now);
  const { queued, inflight, customIds, nextDue } = naive.counts();
  const { due, next } = rows.run(state, delays(state.pages, now));
  assert.deepEqual([state.delayedCount - due, next], [naive.delayed(now).length, nextDue]);
  for (const [priority, lane] of naive.lanes.entries()) {
    const first = rows.run(state, firstWaiting(state.pages, priority));
    const waiting = [...lane].filter(([, { where }]) => !HOLDERS.includes(where)).map(([number]) => number);
    assert.equal(first?.from ?? Infinity, Math.min(...waiting));
    if (first !== undefined) assert.equal(first.delivery, state.deliveryOf({ priority, sequence: first.from }));
  }
  assert.deepEqual(state.queuedByPriority(), queued);
  assert.equal(state.inflightCount(), inflight);
  assert.equal(state.customIds, customIds);
  // it queues due messages only where it looks for some
  if (state.nextDue > now) assert.equal(state.nextDue, nextDue);
  assert.deepEqual([...state.claims.keys()].sort(), naive.holders());
  assert.equal(state.everQueued(), naive.next[0] + naive.next[1]);
  assert.deepEqual(places(rows.run(state, firstQueued(state.pages, Infinity, now))), naive.queued(now));
  assert.deepEqual(places(rows.run(state, firstDelayed(state.pages, Infinity, now))), naive.delayed(now));
  assert.deepEqual(places(rows.run(state, firstInflight(state.pages, Infinity))), naive.inflight());
  for (const [priority, lane] of naive.lanes.entries()) {
    const living = rows.run(state, livingBetween(state.pages, priority, 0, naive.next[priority], Infinity));
    assert.deepEqual(
      places(living).map(([, number]) => number),
      [...lane.keys()].sort((a, b) => a - b),
    );
    for (const { from, to, where, delivery, due } of living) {
      for (let number = from; number < to; number++) {
        const message = naive.lanes[priority].get(number);
        assert.ok(message);
        assert.deepEqual(
          [handOuts(delivery), failures(delivery), isSuspect(delivery), hasError(delivery), hasCustomId(delivery)],
          [message.handOuts, message.failures, message.suspect, message.hasError, message.custom],
        );
        assert.equal(due > now ? due : 0, message.due);
        assert.equal(where === DELAYED && due > now, message.where === "delayed");
        assert.equal(where >= HELD, HOLDERS.includes(message.where));
        assert.equal(state.isHeldBy(message.where, { priority, sequence: number }), where >= HELD);
      }
    }
  }
}

test("a state equals a naive one through every change, stored and loaded again", () => {
  for (const { seed, below } of random(60)) {
    const pageNumbers = [1, 2, 5, 8, 16][below(5)];
    const rows = new Rows();
    let state = MailboxState.create(7, { pageNumbers, pagesInHead: [0, 10, 60, 2048][below(4)] });
    const naive = new NaiveMailbox();
    let now = 1000;
    const place = () => {
      const priority = below(2);
      return { priority, sequence: below(naive.next[priority] + 2) };
    };
    for (let step = 0; step < 160; step++) {
      const holder = HOLDERS[below(HOLDERS.length)];
      const action = below(16);
      if (action <= 2) {
        const priority = below(2);
        for (let count = 1 + below(3 * pageNumbers); count > 0; count--) {
          assert.equal(state.enqueue(priority, false, 0), naive.append(priority, false, 0), `seed ${seed}`);
        }
      } else if (action === 3) {
        const [priority, custom, due] = [below(2), below(2) === 1, below(3) === 0 ? now + 1 + below(50) : 0];
        rows.open(state, state.pages.lackingToEnqueue());
        assert.equal(state.enqueue(priority, custom, due), naive.append(priority, custom, due));
      } else if (action <= 5) {
        const limit = 1 + below(4 * pageNumbers);
        const passedOver = new PassedOver();
        /** @type {Set<string>} */
        const names = new Set();
        for (let count = below(3) === 0 ? below(4 * pageNumbers) : 0; count > 0; count--) {
          const { priority, sequence } = place();
          const to = sequence + 1 + below(3);
          passedOver.add(priority, sequence, to);
          for (let number = sequence; number < to; number++) names.add(`${priority}/${number}`);
        }
        assert.equal(passedOver.count, names.size);
        const isPassedOver = (/** @type {number} */ priority, /** @type {number} */ number) =>
          names.has(`${priority}/${number}`);
        const others = (/** @type {number[][]} */ all) =>
          all.filter(([priority, number]) => !isPassedOver(priority, number));
        assert.deepEqual(
          places(rows.run(state, firstQueued(state.pages, Infinity, now, passedOver))),
          others(naive.queued(now)),
        );
        assert.deepEqual(
          places(rows.run(state, firstDelayed(state.pages, Infinity, now, passedOver))),
          others(naive.delayed(now)),
        );
        assert.deepEqual(
          places(rows.run(state, firstInflight(state.pages, Infinity, passedOver))),
          others(naive.inflight()),
        );
        const { taken } = rows.run(state, state.claim(holder, TERMS, limit, now, passedOver));
        assert.deepEqual(places(taken), naive.claim(holder, limit, now, isPassedOver), `seed ${seed}`);
      } else if (action <= 8) {
        for (let count = 1 + below(4); count > 0; count--) {
          const { priority, sequence } = place();
          rows.open(state, state.pages.lacking(priority, sequence, sequence + 1));
          const message = naive.lanes[priority].get(sequence);
          const isHeld = naive.isHeld(holder, priority, sequence);
          if (action === 6) {
            assert.equal(
              state.ack({ priority, sequence }) !== undefined,
              naive.lanes[priority].delete(sequence),
              `seed ${seed}`,
            );
          } else if (action === 7) {
            assert.equal(state.release(holder, { priority, sequence }) !== undefined, isHeld);
            if (message !== undefined && isHeld) naive.giveBack(message, "release");
          } else {
            const [isFailed, isSaid] = [below(3) > 0, below(2) === 0];
            assert.equal(state.nack(holder, { priority, sequence }, isFailed, isSaid) !== undefined, isHeld);
            if (message !== undefined && isHeld) {
              naive.giveBack(message, isFailed ? "fail" : "release");
              message.hasError ||= isSaid;
              const due = now + below(20);
              if (due > now) {
                state.delay({ priority, sequence }, due);
                Object.assign(message, { where: "delayed", due });
              }
            }
          }
        }
      } else if (action === 9) {
        const how = below(2) === 0 ? "release" : "die";
        const returned = rows.run(state, how === "die" ? state.recover(holder) : state.releaseAll(holder));
        assert.equal(places(returned).length, naive.giveAllBack(holder, how), `seed ${seed}`);
      } else if (action === 10) {
        const priority = below(2);
        const from = below(naive.next[priority] + 1);
        const to = Math.min(naive.next[priority], from + below(4 * pageNumbers));
        let count = 0;
        for (let number = from; number < to; number++) if (naive.lanes[priority].delete(number)) count += 1;
        assert.equal(rows.run(state, state.removeBetween(priority, from, to)), count, `seed ${seed}`);
      } else if (action === 11 && below(4) === 0) {
        assert.equal(rows.run(state, state.purge()).count, naive.purge(), `seed ${seed}`);
      } else if (action === 13) {
        const heir = HOLDERS[below(HOLDERS.length)];
        const has = (/** @type {string} */ name) => naive.holders().includes(name);
        const passes = has(holder) && !has(heir);
        assert.equal(state.bequeath(holder, heir, { ...TERMS, lease: step }), passes, `seed ${seed}`);
        if (passes) naive.bequeath(holder, heir);
        if (passes) assert.equal(state.claims.get(heir)?.lease, step);
      } else if (action === 14) {
        const chosen = below(2) === 0 ? undefined : [place(), place(), place()];
        for (const { priority, sequence } of chosen ?? [])
          rows.open(state, state.pages.lacking(priority, sequence, sequence + 1));
        const { running, queued } = rows.run(state, state.promote(chosen, now));
        assert.equal(running, naive.promoteEarly(chosen, now), `seed ${seed}`);
        assert.ok(queued >= running);
        if (chosen === undefined) assert.equal(state.delayedCount, 0);
      } else if (action === 12 && below(4) === 0) {
        const priority = below(2);
        rows.open(state, state.pages.lackingToEnqueue());
        state.skip(priority);
        naive.next[priority] += 1;
      } else {
        now += below(30);
      }
      if (below(3) === 0) {
        rows.save(state);
        if (below(2) === 0) state = rows.load();
      }
      if (below(30) === 0) assertSame(state, naive, rows, now);
      assert.equal(state.isReady(now), naive.queued(now).length > 0, `seed ${seed}`);
      const { priority, sequence } = place();
      rows.open(state, state.pages.lacking(priority, sequence, sequence + 5));
      const isLiving = [0, 1, 2, 3, 4].some((i) => naive.lanes[priority].has(sequence + i));
      assert.equal(state.pages.hasLiving(priority, sequence, sequence + 5), isLiving, `seed ${seed}`);
    }
    assertSame(state, naive, rows, now);
    for (const lane of naive.lanes) lane.clear();
    for (const priority of [0, 1]) rows.run(state, state.removeBetween(priority, 0, naive.next[priority]));
    rows.save(state);
    assertSame(rows.load(), naive, rows, now);
    assert.equal(rows.rows.size, 0, `seed ${seed}: nothing is left of what is dead`);
  }
});

test("a lane of an older layout is restored as it was", () => {
  for (const { seed, below } of random(40)) {
    const naive = new NaiveMailbox();
    const rows = new Rows();
    for (let i = 0; i < 80; i++) naive.append(below(2), below(3) === 0, below(3) === 0 ? 1500 + below(10) : 0);
    for (const holder of HOLDERS) naive.claim(holder, below(8), 1000);
    for (const lane of naive.lanes) for (const number of [...lane.keys()]) if (below(4) === 0) lane.delete(number);
    const before = MailboxState.create(7, { pageNumbers: [1, 4, 1024][below(3)], pagesInHead: 30 });
    for (const [priority, lane] of naive.lanes.entries()) {
      const runs = [...lane].map(([number, { where, handOuts, custom, due, solo }]) => ({
        from: number,
        to: number + 1,
        delivery: (custom ? 1 : 0) + (solo ? 4 : 0) + 16 * handOuts,
        due,
        ...(HOLDERS.includes(where) ? { holder: where, terms: TERMS } : {}),
      }));
      before.restore(
        priority,
        naive.next[priority],
        0,
        runs.flatMap((run) => (below(9) === 0 ? [run, run] : [run])),
      );
    }
    rows.save(before);
    const state = rows.load();
    assertSame(state, naive, rows, 1000);
    for (const holder of HOLDERS)
      assert.equal(
        places(rows.run(state, state.releaseAll(holder))).length,
        naive.giveAllBack(holder, "release"),
        `seed ${seed}`,
      );
    assertSame(state, naive, rows, 1000);
  }
});

test("a lane that only waits needs no page, however long it is", () => {
  const state = MailboxState.create(1);
  state.restore(0, 5_000_000, 100, [{ from: 1_000_000, to: 5_000_000, delivery: 0, due: 0 }]);
  assert.deepEqual(state.pack(), []);
  assert.equal(state.queuedCount(), 4_000_000);
  assert.ok(state.toStored().head.length < 100);
});

test("segments travel with the head until they are dead or taken from it", () => {
  const rows = new Rows();
  const before = MailboxState.create(1);
  const segments = [0, 1, 2].map((i) => {
    const first = before.enqueue(0, false, 0);
    const frame = frameOf(0, new Uint8Array(16).fill(i), new Uint8Array(i), 1.7e12);
    return Segment.pack(first, [frame]);
  });
  for (const segment of segments) before.lanes[0].carried.push(segment);
  rows.save(before);
  const state = rows.load();
  assert.deepEqual(
    [0, 1, 2, 3].map((sequence) => state.lanes[0]?.carriedSegment(sequence)?.bytes),
    [...segments.map(({ bytes }) => bytes), undefined],
  );
  assert.equal(state.lanes[1]?.carriedSegment(0), undefined);
  assert.deepEqual(
    [0, 1, 3].map((sequence) => state.lanes[0].firstNotCarried(sequence)),
    [3, 3, 3],
  );
  state.lanes[0].dropCarried(1, 2);
  assert.deepEqual(
    [0, 1, 2].map((sequence) => state.lanes[0].firstNotCarried(sequence)),
    [1, 1, 3],
  );
  rows.save(state);
  const [left, none] = rows.load().lanes.map((lane) => lane.takeCarried());
  assert.deepEqual([left.map(({ first }) => first), none], [[0, 2], []]);
  assert.equal(state.carriedBytes, segments[0].bytes.length + segments[2].bytes.length);
  const { head, carried } = rows.head;
  rows.head.head = head.slice(0, -1);
  assert.equal(rows.tryToLoad(), undefined);
  rows.head.head = head;
  const [first, second] = carried;
  const changed = first.map((/** @type {number} */ byte, /** @type {number} */ i) =>
    i === first.length - 1 ? byte ^ 1 : byte,
  );
  for (const other of [
    [first],
    [first, second, second],
    [second, first],
    [changed, second],
    [first, "x"],
    "x",
    undefined,
  ]) {
    rows.head.carried = other;
    assert.equal(rows.tryToLoad(), undefined, "a segment is missing, too many, in another's place, or not what it was");
  }
  const padded = new Uint8Array(first.length + 1);
  padded.set(first, 1);
  rows.head.carried = [padded.subarray(1), second];
  assert.ok(rows.tryToLoad() !== undefined, "bytes lie where they lie");
});
