// Two peers of the demo, in two tabs and in one page, and a WebRTC data channel between them.

import { DemoPage, OFTEN, expect, lines, test } from "./demo-page.js";

/** @import { Page } from "@playwright/test" */

test("two tabs talk over WebRTC, and what is sent to one that is closed waits for it", async ({ page, context }) => {
  const first = new DemoPage(page);
  await first.open();
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

  // In the middle: some of them have arrived, some are on their way, and the rest waits.
  await first.choose("lines.txt", lines(3000));
  await expect.poll(() => second.number("queued"), OFTEN).toBeGreaterThan(300);
  await second.page.close();
  await expect(first.others).toContainText("is gone");
  await expect(first.notice).toHaveText("3,000 lines of lines.txt stored.");

  // Its pause comes back with it.
  const again = new DemoPage(await context.newPage());
  await again.open();
  await again.counts({ queued: 3001 });
  await expect(first.others).toContainText("sent 3,001, still in the outbox 0, answered 0");
  await again.pause.click();
  await again.finished(3001);
  await expect(again.log.first()).toContainText("from peer 1");
  await expect(first.others).toContainText("sent 3,001, still in the outbox 0, answered 3,001");
  // those that are alike share a line
  await expect(first.log.first()).toContainText(/words: 2, characters: 9.*[\d,]+ × Answer.*from peer 2/s);
  expect(await first.log.count()).toBeLessThan(40);
  // Its own actor had nothing to do.
  await first.counts({ queued: 0, inflight: 0, done: 0 });
});

test("starting over amid floods leaves ledgers that come out, and nothing on its way", async ({ page }) => {
  const peers = [new DemoPage(page, 0), new DemoPage(page, 1)];
  await peers[0].open("/");
  await peers[1].loaded();
  for (const { flood } of peers) await flood.click();
  for (const peer of peers) await expect.poll(() => peer.number("done"), OFTEN).toBeGreaterThan(100);
  page.once("dialog", (dialog) => void dialog.accept());
  await page.getByRole("button", { name: "Start over" }).press("Enter");
  for (const { flood, notice } of peers) {
    await expect(notice).toHaveText("The mailbox is empty.");
    await expect(flood).toBeEnabled();
  }

  const network = page.getByRole("switch", { name: "Network" });
  await network.uncheck();
  await peers[0].type("for later");
  await expect(peers[0].others).toContainText("sent 1, still in the outbox 1");
  await peers[0].startOver();
  await network.check();
  await expect(peers[0].others).toContainText("is connected: nothing sent to it yet");
  await peers[0].type("after that");
  await expect(peers[0].others).toContainText("still in the outbox 0, answered 1");
  await peers[1].finished(1);
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

test("offline nothing is asked of the server, and online it has the word", async ({ page, consoleErrors }) => {
  const demo = new DemoPage(page);
  await page.goto("/?peers=1");
  await demo.usable();
  // As a build before this one has left it.
  await page.evaluate(async () => {
    const cache = await caches.open("pymailbox-demo-files");
    await cache.put("/demo/main.js", new Response("", { headers: { "Content-Type": "text/javascript" } }));
  });
  await page.reload();
  await demo.usable();
  await expect
    .poll(() => page.evaluate(async () => (await (await caches.match("/demo/main.js"))?.text())?.length))
    .toBeGreaterThan(0);

  await page.getByRole("switch", { name: "Network" }).uncheck();
  const status = (/** @type {string} */ path) =>
    page.evaluate(
      (path) =>
        fetch(path).then(
          ({ status }) => status,
          () => "cut off",
        ),
      path,
    );
  expect(await status("/demo/main.js")).toBe(200);
  expect(await status("/wheels/not-loaded.whl")).toBe("cut off");
  // What is missing of the page itself comes from the server even now, so that it can always be switched back.
  await page.evaluate(async () => (await caches.open("pymailbox-demo-files")).delete("/demo/main.js"));
  expect(await status("/demo/main.js")).toBe(200);
  // The browser's own words for that.
  await expect.poll(() => consoleErrors.splice(0).length).toBeLessThanOrEqual(1);
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
