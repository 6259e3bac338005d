// The demo, the JavaScript API and the examples in Chromium and Firefox: `npx playwright test`, after `make
// test-setup`.

import { defineConfig } from "@playwright/test";

import { launchOptions } from "./tools/browsers.mjs";

export default defineConfig({
  forbidOnly: true,
  // Each page loads Python, which keeps more than one core busy.
  workers: 1,
  // Milliseconds, for a slow and busy machine; no test is about time.
  timeout: 600_000,
  expect: { timeout: 240_000 },
  reporter: "list",
  // Bars that glide are drawn anew sixty times a second. Firefox knows no such option.
  use: { trace: "off", contextOptions: { reducedMotion: "reduce" } },
  projects: /** @type {const} */ (["chromium", "firefox"]).flatMap((browser) => [
    project(browser, "demo", process.env.DEMO_PORT),
    project(browser, "js", process.env.JS_PORT),
    project(browser, "examples", process.env.EXAMPLES_PORT),
  ]),
  // Any free ports; the servers say which, and from here they get into DEMO_PORT, JS_PORT and EXAMPLES_PORT.
  webServer: [
    {
      command: ".venv/bin/python -m tools.serve_demo --port 0",
      // so that its NATS server leaves no files
      gracefulShutdown: { signal: "SIGTERM", timeout: 10_000 },
      wait: { stdout: /http:\/\/127\.0\.0\.1:(?<demo_port>\d+)\// },
    },
    {
      command: ".venv/bin/python -m tests.js.serve",
      wait: { stdout: /http:\/\/127\.0\.0\.1:(?<js_port>\d+)\// },
    },
    {
      command: ".venv/bin/python -m tools.serve_examples --port 0",
      wait: { stdout: /http:\/\/127\.0\.0\.1:(?<examples_port>\d+)\// },
    },
  ],
});

/**
 * @param {"chromium" | "firefox"} browser @param {string} folder of `tests`
 * @param {string | undefined} port of its server
 */
function project(browser, folder, port) {
  return {
    name: `${browser} ${folder}`,
    testDir: `tests/${folder}`,
    testMatch: "**/*.spec.js",
    testIgnore: browser === "chromium" ? [] : "**/*.chromium.spec.js",
    use: { browserName: browser, launchOptions: launchOptions(browser), baseURL: `http://127.0.0.1:${port}` },
  };
}
