// Drives a browser through Playwright, for tests in Python.
// Usage: node playwright_driver.mjs BROWSER [FIREFOX_PREFERENCES as JSON], then requests as in json_lines.mjs.

import playwright from "playwright";
import { launchOptions } from "../../tools/browsers.mjs";
import { serveRequests } from "./json_lines.mjs";

const name = /** @type {import("../../tools/browsers.mjs").BrowserName} */ (process.argv[2]);
const browser = await playwright[name].launch({
  ...launchOptions(name),
  firefoxUserPrefs: JSON.parse(process.argv[3] ?? "{}"),
});
const context = await browser.newContext();
/** By number, in the order in which they are opened. @type {import("playwright").Page[]} */
const tabs = [];

await serveRequests({
  /** @param {string} url  @returns {Promise<string>} the tab's number */
  async open(url) {
    const tab = await context.newPage();
    await tab.goto(url);
    // The page's module sets the function up after it has loaded.
    await tab.waitForFunction("'runPython' in globalThis");
    return String(tabs.push(tab) - 1);
  },
  /** @param {number} number @param {string} code */
  runPython: (number, code) =>
    tabs[number].evaluate((source) => /** @type {any} */ (globalThis).runPython(source), code),
  /** @param {number} number */
  bringToFront: (number) => tabs[number].bringToFront(),
  /** @param {number} number */
  endWorker: (number) => tabs[number].evaluate(() => /** @type {any} */ (globalThis).endWorker()),
  /** @param {number} number */
  close: (number) => tabs[number].close(),
});
await browser.close();
