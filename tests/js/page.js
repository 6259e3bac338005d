// The page that the JavaScript API is tried in: blank but for the module, as `pymailbox`.

import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { test as base, expect } from "@playwright/test";

export { expect };

/** The folder for what `make coverage` counts, in Chromium. */
const coverage = process.env.PYMAILBOX_COVERAGE;

/** Tests whose page has the module loaded. */
export const test = base.extend({
  page: async ({ page }, use) => {
    if (coverage) await page.coverage.startJSCoverage({ resetOnNavigation: false });
    await page.goto("/");
    await page.waitForFunction(() => "pymailbox" in globalThis);
    await use(page);
    if (coverage && !page.isClosed()) {
      await mkdir(`${coverage}/pages`, { recursive: true });
      await writeFile(
        `${coverage}/pages/${randomUUID()}.js.json`,
        JSON.stringify(await page.coverage.stopJSCoverage()),
      );
    }
  },
});
