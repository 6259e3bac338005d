// A mailbox that nothing refers to any more. Only Chromium collects garbage on demand.

import { expect, test } from "./page.js";

test("a mailbox that was forgotten is closed, and what it held was never handed out", async ({ page }) => {
  const warned = page.waitForEvent("console", (message) => message.type() === "warning");
  await page.evaluate(async () => {
    const openHere = () => pymailbox.openMailbox("forgotten", { maxDeliveries: 1 });
    const forgotten = await openHere();
    await forgotten.enqueue(new Uint8Array(), new Uint8Array());
    forgotten.setDepthObserver(() => {});
    for await (const _ of forgotten.messages()) break;
    await forgotten.dequeue();
  });
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("HeapProfiler.collectGarbage");
  expect((await warned).text()).toMatch(/mailbox "forgotten" was never closed.* opened at[\s\S]*openHere/);
  const deliveryCount = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("forgotten");
    return (await mailbox.dequeue({ wait: Infinity }))[0].deliveryCount;
  });
  expect(deliveryCount).toBe(1);
});

test("a forgotten asker takes its reply mailbox with it, but not while it waits", async ({ page }) => {
  const kept = await page.evaluateHandle(async () => {
    const inbox = await pymailbox.openMailbox("asked");
    /** @type {(() => void)[]} */
    const ends = [];
    inbox.consume(
      async ({ payload }, context) => {
        // the second one is answered when it is let go
        if (payload.length > 0) await new Promise((resolve) => ends.push(() => resolve(undefined)));
        context.reply(payload);
      },
      { concurrency: 2 },
    );
    const asker = await pymailbox.openMailbox("asked");
    await pymailbox.ask(asker, new Uint8Array(), { timeout: 60_000 });
    const waiting = (async () =>
      pymailbox.ask(await pymailbox.openMailbox("asked"), new Uint8Array(1), { timeout: Infinity }))();
    while (ends.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    return { inbox, waiting, ends, asker: /** @type {typeof asker | undefined} */ (asker) };
  });
  const replies = () =>
    page.evaluate(async () => (await pymailbox.listMailboxes()).filter((name) => name.includes("replies")).length);
  const devtools = await page.context().newCDPSession(page);
  expect(await replies()).toBe(2);
  await kept.evaluate((all) => {
    all.asker = undefined;
  });
  await devtools.send("HeapProfiler.collectGarbage");
  await expect.poll(replies).toBe(1);
  for (let i = 0; i < 3; i++) await devtools.send("HeapProfiler.collectGarbage");
  const length = await kept.evaluate(async ({ waiting, ends }) => {
    ends[0]();
    return (await waiting).payload.length;
  });
  expect(length).toBe(1);
  await devtools.send("HeapProfiler.collectGarbage");
  await expect.poll(replies).toBe(0);
});

test("a loop over changes continues even if nothing else refers to it or its mailbox", async ({ page }) => {
  const seen = await page.evaluateHandle(() => /** @type {number[]} */ ([]));
  await page.evaluate(async (seen) => {
    const watch = async () => {
      const watched = await pymailbox.openMailbox("watched");
      for await (const { queuedMessages } of watched.changes()) seen.push(queuedMessages);
    };
    watch();
  }, seen);
  await expect.poll(() => seen.jsonValue()).toEqual([0]);
  const devtools = await page.context().newCDPSession(page);
  for (let i = 0; i < 3; i++) await devtools.send("HeapProfiler.collectGarbage");
  await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("watched");
    await mailbox.enqueue(new Uint8Array(), new Uint8Array());
    await mailbox.close();
  });
  await expect.poll(() => seen.jsonValue()).toEqual([0, 1]);
});

test("changes that nothing refers to between states are collected, and those of a forgotten mailbox continue", async ({
  page,
}) => {
  const kept = await page.evaluateHandle(async () => {
    const mailbox = await pymailbox.openMailbox("left");
    const left = mailbox.changes();
    await left.next();
    const changes = (await pymailbox.openMailbox("left")).changes();
    await changes.next();
    return { mailbox, left: new WeakRef(left), changes };
  });
  const devtools = await page.context().newCDPSession(page);
  for (let i = 0; i < 3; i++) await devtools.send("HeapProfiler.collectGarbage");
  const [isLeft, next] = await kept.evaluate(async ({ mailbox, left, changes }) => {
    await mailbox.enqueue(new Uint8Array(), new Uint8Array());
    const { done, value } = await changes.next();
    return /** @type {const} */ ([left.deref() === undefined, done || value.queuedMessages]);
  });
  expect([isLeft, next]).toEqual([true, 1]);
});
