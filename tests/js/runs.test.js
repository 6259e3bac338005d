// Runs against a plain Map, by random programs; a failure prints its seed, and SEED=… replays it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Runs } from "../../js/runs.js";
import { random } from "./random.js";

const NUMBERS = 40;

/** @param {Runs} runs @param {Map<number, number>} model */
function assertSame(runs, model) {
  const seen = [...runs].flatMap(({ from, to, history }) =>
    Array.from({ length: to - from }, (_, i) => /** @type {[number, number]} */ ([from + i, history])),
  );
  assert.deepEqual(seen, [...model].sort(([a], [b]) => a - b));
  assert.equal(runs.size, model.size);
  assert.equal(runs.isEmpty, model.size === 0);
  assert.ok(Runs.isFlat(runs.flat, NUMBERS));
  for (let i = 3; i < runs.flat.length; i += 3) {
    const joined = runs.flat[i - 2] === runs.flat[i] && runs.flat[i - 1] === runs.flat[i + 2];
    assert.ok(!joined, "neighbours that share a history are one run");
  }
}

test("runs are a map from numbers to histories", () => {
  for (const { seed, below } of random(300)) {
    const runs = new Runs();
    /** @type {Map<number, number>} */
    const model = new Map();
    for (let step = 0; step < 60; step++) {
      const from = below(NUMBERS);
      const to = Math.min(NUMBERS, from + 1 + below(8));
      const history = below(3);
      const isFree = !Array.from({ length: to - from }, (_, i) => from + i).some((number) => model.has(number));
      assert.equal(runs.intersects(from, to), !isFree, `seed ${seed}`);
      assert.equal(runs.historyOf(from), model.get(from), `seed ${seed}`);
      const within = [...runs.between(from, to)].flatMap((run) => Array.from({ length: run.to - run.from }, (_, i) => [run.from + i, run.history]));
      assert.deepEqual(within, [...model].filter(([number]) => number >= from && number < to).sort(([a], [b]) => a - b), `seed ${seed}`);
      const action = below(4);
      if (action === 0 && isFree) {
        runs.add({ from, to, history });
        for (let number = from; number < to; number++) model.set(number, history);
      } else if (action === 1) {
        assert.equal(runs.remove(from), model.get(from), `seed ${seed}`);
        model.delete(from);
      } else if (action === 2) {
        const count = below(10);
        const taken = runs.takeFirst(count, (past) => past !== 2);
        const expected = [];
        for (const [number, past] of [...model].sort(([a], [b]) => a - b)) {
          if (past === 2 || expected.length === count) break;
          expected.push(number);
          model.delete(number);
        }
        assert.deepEqual(taken.flatMap((run) => Array.from({ length: run.to - run.from }, (_, i) => run.from + i)), expected);
      }
      assertSame(runs, model);
    }
    const stored = structuredClone(runs.flat);
    assertSame(new Runs(stored), model);
    runs.takeAll();
    assertSame(runs, new Map());
  }
});

test("nothing but runs is taken for runs", () => {
  for (const flat of ["", {}, null, undefined, [1], [0, 1], [0, 0, 0], [1, 0, 0], [0, 2, -1], [0, 1.5, 0], [0, NaN, 0], [-1, 1, 0], [0, 50, 0], [0, 3, 0, 2, 4, 0], ["0", "1", "0"]]) {
    assert.equal(Runs.isFlat(flat, NUMBERS), false, JSON.stringify(flat));
  }
});
