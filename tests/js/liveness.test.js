// Where holders are, as a context knows it without waiting.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Liveness } from "../../js/coordination/liveness.js";
import { Locks } from "../../js/coordination/locks.js";

/** A lock manager that only lists. @param {Record<string, string>} clients of the holders that keep a lock */
const listing = (clients) =>
  /** @type {LockManager} */ (
    /** @type {unknown} */ ({
      query: async () => ({
        held: Object.entries(clients).map(([holder, clientId]) => ({
          name: `pymailbox/holder/${holder}`,
          mode: "exclusive",
          clientId,
        })),
      }),
    })
  );

/** @param {boolean} locked @param {number} [lease] */
const terms = (locked, lease = 0) => ({ maxDeliveries: 0, lease, locked, beat: 1 });

test("a holder is here, elsewhere or gone, according to its lock and page", async () => {
  const liveness = new Liveness(new Locks(listing({ mine: "page", other: "page", far: "worker" })));
  liveness.here.add("mine");
  const holders = new Map(["mine", "other", "far", "dead"].map((holder) => [holder, terms(true)]));
  assert.deepEqual(
    [...(await liveness.whereabouts("inbox", holders))],
    [
      ["mine", "here"],
      ["other", "here"],
      ["far", "elsewhere"],
      ["dead", "gone"],
    ],
  );
});

test("asking where a holder without a lock is records nothing", async () => {
  const liveness = new Liveness(new Locks(undefined));
  const holders = new Map([["silent", terms(false)]]);
  const where = async () => (await liveness.whereabouts("inbox", holders)).get("silent");
  // nobody has watched it yet, however often this is called
  assert.deepEqual([await where(), await where()], ["elsewhere", "elsewhere"]);
  assert.equal((await liveness.goneAmong("inbox", holders)).size, 0);
  // its lease is over, and a recovery still finds that
  assert.deepEqual([await where(), await where()], ["gone", "gone"]);
  assert.deepEqual([...(await liveness.goneAmong("inbox", holders))], [["silent", 1]]);
  const patient = new Map([["silent", terms(false, 1_000_000)]]);
  await liveness.goneAmong("inbox", patient);
  assert.equal((await liveness.whereabouts("inbox", patient)).get("silent"), "elsewhere");
});
