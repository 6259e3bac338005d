// Random programs over three contexts in which things go wrong, different ones in each browser. RACES is how many, SEED
// the first, or alone the only one.

import { expect, test } from "@playwright/test";

/** How many each browser runs, if nobody says. */
const COUNT = 60;
/** Programs between two answers of the page. */
const TURN = 50;

test("whatever goes wrong at whatever step, nothing is lost, and nothing run twice while its holder lives", async ({
  page,
  browserName,
}) => {
  const { RACES, SEED } = process.env;
  const count = Number(RACES ?? (SEED === undefined ? COUNT : 1));
  const first = Number(SEED ?? (browserName === "firefox" ? count : 0));
  test.setTimeout(60_000 + count * 10_000);
  await page.goto("/races/");
  await page.waitForFunction(() => "runRaces" in globalThis);
  for (let seed = first; seed < first + count; seed += TURN) {
    const wrong = await page.evaluate(
      ([from, many]) => /** @type {any} */ (globalThis).runRaces(from, many),
      [seed, Math.min(TURN, first + count - seed)],
    );
    expect(wrong).toBe(undefined);
  }
});
