// Which browsers there are and how Playwright launches them, for its configuration and the tests' drivers. The data is
// in browsers.json, which browsers.py also reads.
//
// A browser of the system is preferred to Playwright's own download. PYMAILBOX_CHROMIUM and PYMAILBOX_FIREFOX name
// another executable.
//
// Run as a program it names each missing browser with the command that installs it, and exits with 1 if there is one.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as playwright from "playwright";

const settings = JSON.parse(readFileSync(new URL("browsers.json", import.meta.url), "utf8"));

/** @typedef {"chromium" | "firefox" | "webkit"} BrowserName */

/**
 * The path of a system browser, or undefined if Playwright's own download has to be used.
 * @param {"chromium" | "firefox"} name
 * @returns {string | undefined}
 */
function systemBrowser(name) {
  const chosen = process.env[`PYMAILBOX_${name.toUpperCase()}`];
  return chosen || settings[name].executables.find((/** @type {string} */ path) => existsSync(path));
}

/**
 * Launch options for `playwright[name].launch()`.
 * @param {BrowserName} name
 * @returns {import("playwright").LaunchOptions}
 */
export function launchOptions(name) {
  if (name === "webkit") {
    return {};
  }
  const executablePath = systemBrowser(name);
  if (name === "firefox") {
    // The channel selects WebDriver BiDi, the protocol of an unpatched Firefox.
    return executablePath ? { executablePath, channel: settings.firefox.channel } : {};
  }
  const isRoot = process.getuid?.() === 0;
  const args = [...settings.chromium.args, ...(isRoot ? settings.chromium.rootArgs : [])];
  return executablePath ? { executablePath, args } : { args };
}

/**
 * The browsers that can't be launched here, each with the command that installs it.
 * @returns {{ name: BrowserName, command: string }[]}
 */
function missingBrowsers() {
  const found = {
    chromium: existsSync(systemBrowser("chromium") ?? playwright.chromium.executablePath()),
    firefox: existsSync(systemBrowser("firefox") ?? playwright.firefox.executablePath()),
    webkit: existsSync(settings.webkit.driver) || existsSync(playwright.webkit.executablePath()),
  };
  return /** @type {BrowserName[]} */ (Object.keys(found))
    .filter((name) => !found[name])
    .map((name) => ({ name, command: `npx playwright install --with-deps ${name}` }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const missing = missingBrowsers();
  if (!process.argv.includes("--quiet")) {
    for (const { name, command } of missing) {
      console.error(`${name} is missing; this installs it: ${command}`);
    }
  }
  process.exitCode = missing.length > 0 ? 1 : 0;
}
