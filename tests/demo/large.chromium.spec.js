// What takes long, in one browser.

import { DemoPage, expect, lines, test } from "./demo-page.js";

test.use({ serviceWorkers: "block" });

test("a hundred thousand lines at once", async ({ page }) => {
  const demo = new DemoPage(page);
  await demo.openPaused();
  await demo.choose("large.txt", lines(100_000));
  await expect(demo.notice).toHaveText("100,000 lines of large.txt stored.");
  await demo.counts({ queued: 100_000, inflight: 0 });
  await expect(demo.balance).toContainText("Nothing is lost.");
  await demo.type("and one more", { high: true });
  await demo.startOver();
});
