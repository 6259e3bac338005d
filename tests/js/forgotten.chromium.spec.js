// A mailbox that nobody refers to any more. Only Chromium collects garbage when it is asked to.

import { expect, test } from "./page.js";

test("a mailbox that was forgotten is closed, and what it held was never handed out", async ({ page }) => {
  const warned = page.waitForEvent("console", (message) => message.type() === "warning");
  await page.evaluate(async () => {
    const forgotten = await pymailbox.openMailbox("forgotten", { maxDeliveries: 1 });
    await forgotten.enqueue(new Uint8Array(), new Uint8Array());
    forgotten.setDepthObserver(() => {});
    for await (const _ of forgotten.messages()) break;
    await forgotten.dequeue();
  });
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("HeapProfiler.collectGarbage");
  expect((await warned).text()).toContain('mailbox "forgotten" was never closed');
  const deliveryCount = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("forgotten");
    return (await mailbox.dequeue({ wait: Infinity }))[0].deliveryCount;
  });
  expect(deliveryCount).toBe(1);
});
