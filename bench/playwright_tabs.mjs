// Tabs of one browser through Playwright, for Python. Usage: node playwright_tabs.mjs BROWSER, then requests as in
// tests/browser/json_lines.mjs.

import playwright from "playwright";
import { serveRequests } from "../tests/browser/json_lines.mjs";
import { launchOptions } from "../tools/browsers.mjs";

const name = /** @type {import("../tools/browsers.mjs").BrowserName} */ (process.argv[2]);
const browser = await playwright[name].launch(launchOptions(name));
const context = await browser.newContext();
/** @type {import("playwright").Page[]} */
const tabs = [];

await serveRequests({
  /** @param {string} url @returns {Promise<number>} the new tab */
  async open(url) {
    const tab = await context.newPage();
    await tab.goto(url);
    // the page's module sets it up after it has loaded
    await tab.waitForFunction("'bench' in globalThis");
    return tabs.push(tab) - 1;
  },
  /** @param {number} tab @param {string} method @param {unknown[]} parameters */
  call: (tab, method, parameters) =>
    tabs[tab].evaluate(
      ([method, parameters]) => /** @type {any} */ (globalThis).bench[method](...parameters),
      /** @type {[string, any[]]} */ ([method, parameters]),
    ),
  /** @returns {Promise<string>} */
  version: async () => browser.version(),
});
await browser.close();
