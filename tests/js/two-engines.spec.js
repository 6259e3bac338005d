// Two copies of the module on one mailbox, as in two tabs: each has its own connection, and keeps the state in memory
// while it believes that nobody else writes.

import { expect, test } from "./page.js";

test("two engines take turns on a mailbox", async ({ page }) => {
  const outcome = await page.evaluate(async () => {
    const other = /** @type {typeof pymailbox} */ (await import(/** @type {string} */ ("/js/index.js")));
    const [one, two] = [await pymailbox.openMailbox("turns"), await other.openMailbox("turns")];
    const bytes = new Uint8Array(1);
    let [sent, acked, purged] = [0, 0, 0];
    for (let turn = 0; turn < 12; turn++) {
      for (const mailbox of [one, two]) {
        // enough in a row for each to keep the state
        for (let i = 0; i < 5; i++, sent++) await mailbox.enqueue(bytes, bytes);
      }
      const batches = await Promise.all([one, two, one, two].map((mailbox) => mailbox.dequeue({ limit: 2 })));
      for (const [i, batch] of batches.entries()) {
        acked += await [one, two][i % 2].ackMany(batch.map(({ id }) => id));
      }
      const calls = [one.dequeue({ limit: 1 }), two.enqueue(bytes, bytes), one.status(), two.purge()];
      const [[taken], , , swept] = /** @type {any[]} */ (await Promise.all(calls));
      sent += 1;
      purged += swept;
      if (taken !== undefined) acked += Number(await two.ack(taken.id));
    }
    const { queuedMessages, inflightMessages } = await one.status();
    await Promise.all([one.close(), two.close()]);
    return { sent, acked, purged, left: queuedMessages + inflightMessages };
  });
  // what was not acknowledged was purged, except what may have come after the last purge; simultaneous calls of two
  // engines may take effect in either order
  expect(outcome.sent).toBe(132);
  expect(outcome.acked).toBeGreaterThanOrEqual(12 * 8);
  expect(outcome.acked + outcome.purged + outcome.left).toBe(outcome.sent);
  expect(outcome.left).toBeLessThanOrEqual(1);
});
