// Two peers of the demo, in two tabs and in one page, and a WebRTC data channel between them.

import { DemoPage, OFTEN, expect, lines, test } from "./demo-page.js";

/** @import { Page } from "@playwright/test" */

test.use({ serviceWorkers: "block" });

test("two tabs talk over WebRTC, and what is sent to one that is closed waits for it", async ({ page, context }) => {
  // Who only sends needs no Python, nor does who is paused.
  const first = new DemoPage(page);
  await first.withoutPython(context);
  await page.goto("/?peers=1");
  await first.usable();
  const opened = context.waitForEvent("page");
  await page.getByRole("link", { name: "Open another peer" }).click();
  const second = new DemoPage(await opened);
  await second.usable();
  await second.pause.click();
  await expect(first.others).toContainText("is connected");
  await expect(second.others).toContainText("is connected");

  await first.to.selectOption({ label: "peer 2" });
  await first.type("three short words", { high: true });
  await second.counts({ queued: 1 });
  expect(await senders(second.page, "demo-2")).toEqual([await idOf(page, 1)]);

  // In the middle: some of them have arrived and are confirmed, some are not, and the rest waits.
  await second.page.evaluate(() => {
    const { send } = RTCDataChannel.prototype;
    let confirmed = 0;
    Object.assign(RTCDataChannel.prototype, {
      /** @this {RTCDataChannel} @param {any} data */
      send(data) {
        if (typeof data !== "string" || ++confirmed <= 3) Reflect.apply(send, this, [data]);
      },
    });
  });
  await first.choose("lines.txt", lines(1500));
  await expect.poll(() => second.number("queued"), OFTEN).toBeGreaterThan(150);
  await second.page.close();
  await expect(first.others).toContainText("is gone");
  await expect(first.others).toContainText(/still in the outbox [1-9]/);
  await expect(first.notice).toHaveText("1,500 lines of lines.txt stored.");

  // Its pause comes back with it.
  const again = new DemoPage(await context.newPage());
  await again.withPython();
  await again.open();
  await again.counts({ queued: 1501 });
  await expect(first.others).toContainText("sent 1,501, still in the outbox 0, answered 0");
  await again.pause.click();
  await again.finished(1501);
  await expect(again.log.first()).toContainText("from peer 1");
  await expect(first.others).toContainText("sent 1,501, still in the outbox 0, answered 1,501");
  // those that are alike share a line
  await expect(first.log.first()).toContainText(/words: 2, characters: 9.*[\d,]+ × Answer.*from peer 2/s);
  expect(await first.log.count()).toBeLessThan(40);
  // Nothing of it was for its own actor.
  await first.counts({ queued: 0, inflight: 0, done: 0 });
});

test("a connection that is cut while it is made keeps no other from being made", async ({ page }) => {
  await page.addInitScript(() => {
    const { setLocalDescription } = RTCPeerConnection.prototype;
    let first = true;
    // as if the first one were closed meanwhile
    Object.assign(RTCPeerConnection.prototype, {
      /** @this {RTCPeerConnection} @param {any[]} parameters */
      setLocalDescription(...parameters) {
        if (!first) return Reflect.apply(setLocalDescription, this, parameters);
        first = false;
        return new Promise(() => {});
      },
    });
  });
  const peer = new DemoPage(page);
  await peer.openPaused("/");
  await expect(peer.others).toContainText("is gone");
  await page.evaluate(() => {
    for (const type of ["pagehide", "pageshow"]) dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
  });
  await expect(peer.others).toContainText("is connected");
});

/** Who has sent what waits in a mailbox, in hex. @param {Page} page @param {string} name */
const senders = (page, name) =>
  page.evaluate(async (name) => {
    /** @type {typeof import("../../js/index.js")} */
    const { openMailbox } = await import(/** @type {string} */ ("/js/index.js"));
    const mailbox = await openMailbox(name);
    const waiting = await mailbox.peek({ limit: 1000 });
    await mailbox.close();
    return [...new Set(waiting.map(({ sender }) => Array.from(sender, hex).join("")))];

    /** @param {number} byte */
    function hex(byte) {
      return byte.toString(16).padStart(2, "0");
    }
  }, name);

/** The bytes of a peer's id, in hex. @param {Page} page @param {number} number */
const idOf = (page, number) => page.evaluate((number) => localStorage.getItem(`pymailbox-demo-peer-${number}`), number);
