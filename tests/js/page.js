// The page that the JavaScript API is tried in: blank but for the module, as `pymailbox`.

import { test as base, expect } from "@playwright/test";

export { expect };

/** Tests whose page has the module loaded. */
export const test = base.extend({
  page: async ({ page }, use) => {
    await page.goto("/");
    await page.waitForFunction(() => "pymailbox" in globalThis);
    await use(page);
  },
});
