// The page in which the JavaScript API is tested: blank except for the module, as `pymailbox`.
//
// Tests share a window, each on an origin of its own, where nothing is stored and nobody else listens: a new window for
// each takes Firefox half a second of work. All origins are of one site, and between tests the window stays there: for
// another site browsers start a process, which takes Firefox as long again.

import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { test as base, expect } from "@playwright/test";

export { expect };

/** @import { BrowserContext, PlaywrightTestArgs, PlaywrightTestOptions, PlaywrightWorkerArgs } from "@playwright/test" */

/** The folder for what `make coverage` counts, in Chromium. */
const coverage = process.env.PYMAILBOX_COVERAGE;

let origins = 0;

/**
 * Tests with an empty page at `baseURL`, which is theirs alone; they undo what they do to the page itself.
 * @type {import("@playwright/test").Fixtures<{}, {window: BrowserContext}, PlaywrightTestArgs & PlaywrightTestOptions,
 *   PlaywrightWorkerArgs>}
 */
const fixtures = {
  window: [
    async ({ browser }, use) => {
      const context = await browser.newContext();
      await context.newPage();
      await use(context);
      await context.close();
    },
    { scope: "worker" },
  ],
  baseURL: async ({ baseURL }, use) => {
    const { port } = new URL(/** @type {string} */ (baseURL));
    await use(`http://test-${origins++}.tests.localhost:${port}`);
  },
  context: async ({ window, baseURL }, use) => {
    const [page] = window.pages();
    await use(window);
    await Promise.all([window.unrouteAll(), page.unrouteAll()]);
    await Promise.all(window.pages().map((other) => other === page || other.close()));
    await page.removeAllListeners("console");
    await page.removeAllListeners("pageerror");
    await page.goto(`${baseURL}/blank.html`);
  },
  page: ({ context }, use) => use(context.pages()[0]),
};

export const testInSharedWindow = base.extend(fixtures);

/** Tests whose page has the module loaded. */
export const test = testInSharedWindow.extend({
  page: async ({ page, baseURL }, use) => {
    if (coverage) await page.coverage.startJSCoverage({ resetOnNavigation: false });
    await page.goto(`${baseURL}/`);
    await page.waitForFunction(() => "pymailbox" in globalThis);
    await use(page);
    if (coverage) {
      await mkdir(`${coverage}/pages`, { recursive: true });
      await writeFile(
        `${coverage}/pages/${randomUUID()}.js.json`,
        JSON.stringify(await page.coverage.stopJSCoverage()),
      );
    }
  },
});
