// What the demo owes to each browser: it loses nothing there, whatever ends, and says what it cannot have.

import { DemoPage, OFTEN, expect, lines, test } from "./demo-page.js";

// One keeps all that is loaded, in each test anew, and is not what these are about.
test.use({ serviceWorkers: "block" });

/** @type {DemoPage} */
let demo;

test.beforeEach(({ page }) => {
  demo = new DemoPage(page);
});

test("an error in the console is noticed", async ({ page, consoleErrors }) => {
  await demo.withoutPython();
  await page.goto("/?peers=1");
  await page.evaluate(() => console.error("on purpose"));
  await expect.poll(() => consoleErrors).toEqual(["on purpose"]);
  consoleErrors.length = 0;
});

test("nothing is lost or doubled when the worker is killed, the page reloaded, the tab closed", async ({ context }) => {
  const [count, more] = [1500, 50];
  await demo.open();
  // slow enough that all of it falls amid the messages
  await demo.setPace(200);
  // In hand for sure before the kill: what a later pause gave back would count as never handed out, and hang again.
  await demo.part("hang").click();
  await expect(demo.notice).toHaveText("Your message is stored. Its handler hangs: killing its worker cures it.");
  await demo.counts({ queued: 0, inflight: 1 });
  await demo.choose("lines.txt", lines(count));
  await expect.poll(() => demo.number("done"), OFTEN).toBeGreaterThan(0);
  await demo.kill.click();
  await expect(demo.state).toContainText("Killed");

  await demo.page.reload();
  const before = await demo.number("done");
  await expect.poll(() => demo.number("done"), OFTEN).toBeGreaterThan(before);
  // A pause gives back what the actor has in hand, and survives.
  await demo.pauseActor();
  await demo.counts({ inflight: 0 });
  await demo.choose("more.txt", lines(more));
  await expect(demo.notice).toHaveText(`${more} lines of more.txt stored.`);
  const closed = demo.page.waitForEvent("close");
  await demo.page.close({ runBeforeUnload: true });
  await closed;

  const next = new DemoPage(await context.newPage());
  await next.open();
  await expect(next.pause).toHaveAttribute("aria-pressed", "true");
  expect(await next.number("queued")).toBeGreaterThan(0);
  await next.pause.click();
  await next.finished(count + more + 1);
  // What the killed worker had in hand.
  await expect(next.audit).toContainText("Messages were handed out again");
});

test("a flood goes on where the page was left", async ({ page }) => {
  await demo.openPaused();
  await demo.flood.click();
  await expect(demo.part("reading-text")).toHaveText(/Storing a flood: [\d,]+ of 10,000 messages/);
  await page.reload();
  await demo.usable();
  await expect(demo.balance).toHaveText("Stored 10,000 = 0 done + 10,000 waiting + 0 dead letters. Nothing is lost.");
  await expect(demo.flood).toBeEnabled();
});

test("without IndexedDB the page says so in words", async ({ page }) => {
  await page.addInitScript(() => Object.defineProperty(globalThis, "indexedDB", { value: undefined }));
  await page.goto("/?peers=1");
  await expect(demo.problem).toContainText("There is nowhere to keep messages");
  await expect(demo.problem).toContainText("StorageUnavailableError");
  await expect(demo.message).toBeDisabled();
});

test("where site data is blocked the page says so, and does not hang", async ({ page }) => {
  await page.addInitScript(() => {
    if (!isSecureContext) return; // the blank page before it, in Firefox
    const blocked = async () => {
      throw new DOMException("blocked on purpose", "SecurityError");
    };
    LockManager.prototype.request = blocked;
    CacheStorage.prototype.open = blocked;
    for (const name of ["localStorage", "sessionStorage", "indexedDB"])
      Object.defineProperty(globalThis, name, {
        get() {
          throw new DOMException("blocked on purpose", "SecurityError");
        },
      });
  });
  await page.goto("/");
  await expect(page.locator(".peer h2")).toHaveText(["Peer 1", "Peer 2"]);
  await expect(demo.problem).toContainText("There is nowhere to keep messages");
});
