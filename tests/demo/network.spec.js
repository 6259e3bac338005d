// The network that is lost: what two peers of a page have for each other and for the server waits for it, and arrives once.
// Starting Python takes most of the time, so nearly all of it shares one page and a reload of that.

import { DemoPage, OFTEN, expect, lines, test } from "./demo-page.js";

/** @import { Page } from "@playwright/test" */

test("what is for the other peer and for the server arrives once: after an outage, a reload and kills", async ({
  page,
  context,
  browserName,
  consoleErrors,
}) => {
  const [first, second] = [new DemoPage(page, 0), new DemoPage(page, 1)];
  const server = new ServerPanel(page);
  const network = page.getByRole("switch", { name: "Network" });

  await test.step("the page is cut off only when all of it is kept, and has no say elsewhere", async () => {
    await page.goto("/");
    await expect(network).toBeDisabled();
    await first.setPace(0);
    await first.loaded();
    await expect(network).toBeEnabled();
    const scopes = () =>
      page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).map(({ scope }) => scope));
    expect(await scopes()).toEqual([new URL("/demo/", page.url()).href]);
  });

  await test.step("the peers answer each other", async () => {
    await first.type("are you there?");
    await expect(first.log).toContainText(/words: 3, characters: 14.*Answer.*from peer 2/s);
    await second.type("and you?");
    await expect(second.log.first()).toContainText(/words: 2, characters: 8.*Answer.*from peer 1/s);
  });

  await test.step("nothing of the server is loaded before the visitor wants it", async () => {
    const kept = await page.evaluate(async () =>
      (await (await caches.open("pymailbox-demo-files")).keys()).map(({ url }) => url),
    );
    expect(kept.filter((url) => url.includes("pymailbox-0"))).toHaveLength(1);
    expect(kept.filter((url) => /nats|relay-worker/.test(url))).toEqual([]);
  });

  await test.step("where there is no server the page says so, and how to get one", async () => {
    const open = "**/server/open";
    await page.route(open, (route) => route.fulfill({ status: 404 }));
    await server.connect.click();
    await expect(server.problem).toContainText("This page comes from a server of files only");
    await page.unroute(open);
    const problem = "There is no NATS server at /nowhere. This is how to get one.";
    await page.route(open, (route) => route.fulfill({ json: { location: null, problem } }));
    await server.connect.click();
    await expect(server.problem).toContainText(problem);
    await page.unroute(open);
  });

  await test.step("nor is there one without a network", async () => {
    await network.uncheck();
    await expect(server.connect).toBeDisabled();
    await expect(server.connect).toHaveAccessibleDescription("To connect, switch the network on.");
  });

  await test.step("offline nothing is asked of the server that the page comes from", async () => {
    expect(await statusOf(page, "/demo/main.js")).toBe(200);
    expect(await statusOf(page, "/wheels/not-loaded.whl")).toBe("cut off");
    // What is missing of the page itself comes from the server even now, so that it can always be switched back.
    await page.evaluate(async () => (await caches.open("pymailbox-demo-files")).delete("/demo/main.js"));
    expect(await statusOf(page, "/demo/main.js")).toBe(200);
    await expect.poll(() => keptLength(page, "/demo/main.js")).toBeGreaterThan(0);
  });

  await test.step("online it has the word", async () => {
    await network.check();
    // As a build before this one has left it.
    await page.evaluate(async () => {
      const cache = await caches.open("pymailbox-demo-files");
      await cache.put("/demo/main.js", new Response("", { headers: { "Content-Type": "text/javascript" } }));
    });
    expect((await page.evaluate(async () => (await fetch("/demo/main.js")).text())).length).toBeGreaterThan(0);
    await expect.poll(() => keptLength(page, "/demo/main.js")).toBeGreaterThan(0);
    await expect(server.connect).toBeEnabled();
    await expect(first.to.locator("option")).toHaveText(["its own actor", "peer 2"]);
  });

  await test.step("a message to it arrives", async () => {
    await server.connect.click();
    await expect(server.problem).toBeHidden();
    await expect(first.to).toHaveValue("server");
    await expect(first.part("poison"), "its handler has no such mistake").toBeDisabled();
    await first.type("hello <b>there</b>", { high: true });
    await expect(server.log).toHaveText([/hello <b>there<\/b>.*High.*from peer 1.*number 1/s]);
    await server.drained(1);
  });

  await test.step("without a network all of it waits, through a reload", async () => {
    await network.uncheck();
    if (browserName === "chromium") await context.setOffline(true);
    await expect(first.others).toContainText("is cut off");
    await first.choose("lines.txt", lines(500));
    await second.to.selectOption("server");
    await second.type("from the other peer");
    await expect(server.waiting).toHaveText("501");
    await expect(server.relayState).toHaveText("The network is off");
    await expect(server.kill).toBeDisabled();
    await first.to.selectOption({ label: "peer 2, once back" });
    await first.type("for later");
    await expect(first.others).toContainText("sent 2, still in the outbox 1, answered 1");

    await page.reload();
    await expect(network).not.toBeChecked();
    await expect(server.waiting).toHaveText("501");
    await second.loaded();
    await expect(first.others).toContainText("peer 2 is cut off: sent 2, still in the outbox 1, answered 1");
    await second.counts({ queued: 0, done: 1 });
    await expect(server.relayState).toHaveText("The network is off");
    await expect(server.waiting).toHaveText("501");
    await expect(server.sent).toHaveText("1");
  });

  await test.step("and goes on when the network is back", async () => {
    if (browserName === "chromium") await context.setOffline(false);
    // As another actor might leave it: more than a channel takes.
    await page.evaluate(async () => {
      /** @type {typeof import("../../js/index.js")} */
      const { openMailbox } = await import(/** @type {string} */ ("/js/index.js"));
      const outbox = await openMailbox(`demo-to-${localStorage.getItem("pymailbox-demo-peer-2")}`);
      await outbox.enqueue(new Uint8Array(1), new Uint8Array(300_000));
      await outbox.close();
    });
    await first.type("behind it");
    await network.check();
    await expect(first.notice).toHaveText(
      "What was for peer 2 has 299,999 bytes, more than a channel takes: it is deleted.",
    );
    await expect(first.others).toContainText("is connected: sent 3, still in the outbox 0, answered 3");
    await second.finished(3);
    await server.drained(502);
    await expect(server.relayState).toHaveText("Connected");
  });

  await test.step("the server and the relay are killed amid the messages", async () => {
    await first.to.selectOption("server");
    await first.choose("more.txt", lines(1500));
    await expect.poll(() => server.number(server.arrived), OFTEN).toBeGreaterThan(502);
    await server.kill.click();
    await expect(server.state).toContainText("Killed");
    await network.uncheck();
    await page.evaluate(async () => {
      const files = await caches.open("pymailbox-demo-files");
      for (const { url } of await files.keys()) if (url.includes("nats")) await files.delete(url);
    });
    await server.killRelay.click();
    await expect(server.relayState, "a file of it is not kept").toHaveText("Python could not be loaded");
    await network.check();
    await first.type("for later");
    await expect.poll(() => server.number(server.waiting), OFTEN).toBeGreaterThan(0);
    await expect(server.relayState).toContainText("Not connected since ");
    await expect(server.kill).toHaveText("Start");
    const start = "**/server/start";
    await page.route(start, (route) => route.abort());
    await server.kill.click();
    await expect(server.state).toContainText("Not started: ");
    await page.unroute(start);
    /** @type {(done?: undefined) => void} */
    let release = () => {};
    const held = new Promise((resolve) => (release = resolve));
    await page.route(start, async (route) => {
      await held;
      await route.continue();
    });
    await server.kill.click();
    for (let look = 0; look < 3; look++) await page.waitForResponse("**/server/");
    await expect(server.kill, "a second click would kill it").toBeDisabled();
    await expect(server.kill).toHaveText("Starting…");
    release();
    await server.drained(2003);
  });

  await test.step("what keeps the server of a demo that was started anew is told", async () => {
    const problem = "There is no NATS server any more.";
    const side = { location: null, runs: false, problem, tallies: {}, last: [] };
    for (const path of ["**/server/", "**/server/open"])
      await page.route(path, (route) => route.fulfill({ json: side }));
    await expect(server.state).toHaveText(problem);
    await expect(server.kill).toBeDisabled();
    for (const path of ["**/server/", "**/server/open"]) await page.unroute(path);
    await server.drained(2003);
  });

  await test.step("after a start over it is counted from 0, and a goodbye lasts", async () => {
    await first.startOver();
    for (const counter of [server.sent, server.arrived]) await expect(counter).toHaveText("0");
    await first.type("anew");
    await server.drained(1);
    await server.connect.click();
    await expect(server.way).toBeHidden();
    await expect(first.to.locator("option")).toHaveText(["its own actor", "peer 2"]);
    expect(await page.evaluate(() => localStorage.getItem("pymailbox-demo-server"))).toBeNull();
  });

  // the browser's own words for what could not be had, and for the server that was killed
  const OWN = /Failed to load resource|not-loaded\.whl|WebSocket|ws:\/\/127\.0\.0\.1/;
  consoleErrors.push(...consoleErrors.splice(0).filter((error) => !OWN.test(error)));
});

test("starting over amid floods leaves ledgers that come out, and nothing on its way", async ({ page }) => {
  const peers = [new DemoPage(page, 0), new DemoPage(page, 1)];
  await peers[0].open("/");
  await peers[1].loaded();
  for (const { flood } of peers) await flood.click();
  for (const peer of peers) await expect.poll(() => peer.number("done"), OFTEN).toBeGreaterThan(100);
  // Who reads it first: in Firefox the database answers meanwhile, and nobody hears of it.
  page.once("dialog", (dialog) => setTimeout(() => void dialog.accept(), 300));
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

/** With what a request is answered. @param {Page} page @param {string} path */
const statusOf = (page, path) =>
  page.evaluate(
    (path) =>
      fetch(path).then(
        ({ status }) => status,
        () => "cut off",
      ),
    path,
  );

/** Characters of what is kept of a file. @param {Page} page @param {string} path */
const keptLength = (page, path) =>
  page.evaluate(async (path) => (await (await caches.match(path))?.text())?.length ?? 0, path);

class ServerPanel {
  /** @param {Page} page */
  constructor(page) {
    this.connect = page.locator("#server-connect");
    this.problem = page.locator("#server-problem");
    this.way = page.locator("#server-way");
    this.waiting = page.locator("#server-waiting");
    this.sent = page.locator("#server-sent");
    this.arrived = page.locator("#server-arrived");
    this.relayState = page.locator("#server-relay-state");
    this.killRelay = page.locator("#server-kill-relay");
    this.state = page.locator("#server-state");
    this.kill = page.locator("#server-kill");
    this.audit = page.locator("#server-audit");
    this.log = page.locator("#server-log li");
  }

  /** @param {import("@playwright/test").Locator} counter */
  async number(counter) {
    return Number((await counter.textContent())?.replaceAll(",", ""));
  }

  /** Waits until all that was sent has arrived, each once. @param {number} count */
  async drained(count) {
    const number = count.toLocaleString("en");
    await expect(this.audit).toHaveText(`Checked by number: ${number} arrived, none of them twice, none missing.`);
    for (const counter of [this.sent, this.arrived]) await expect(counter).toHaveText(number);
    await expect(this.waiting).toHaveText("0");
  }
}
