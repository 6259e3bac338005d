// Generated ids say where their message is, up to the last possible place.

import assert from "node:assert/strict";
import { test } from "node:test";
import { viewOf } from "../../js/model/frames.js";
import { ID_BYTES, newIdBase, placeOf, writeId } from "../../js/model/ids.js";
import { random } from "./random.js";

const EDGES = [0, 1, 2 ** 8, 2 ** 16 - 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 47, 2 ** 48 - 1];

test("the place of an id is the one that it was made of", () => {
  for (const { below } of random(50)) {
    const base = newIdBase();
    const id = new Uint8Array(ID_BYTES);
    for (const sequence of [...EDGES, below(2 ** 31), 2 ** 40 + below(2 ** 31)]) {
      for (const priority of [0, 1, 15]) {
        writeId(viewOf(id), 0, base, priority, sequence);
        assert.deepEqual(placeOf(id, base), { priority, sequence });
      }
    }
    assert.equal(placeOf(id, newIdBase()), undefined);
  }
});
