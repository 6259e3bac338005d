// The documentation's Python for pages: its whole page, and in that, with one Pyodide, all other such blocks.

import { readFile } from "node:fs/promises";
import { expect, test } from "@playwright/test";

/** @typedef {{ name: string, page: string, language: "html" | "js" | "python", code: string }} Block */

const { devDependencies } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));

test("the page of the documentation, and its Python in a page", async ({ page, request, baseURL }) => {
  /** @type {{ inPyodide: Block[] }} */
  const { inPyodide } = await (await request.get("/docs.json")).json();
  /** @type {string[]} */
  const elsewhere = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith("http") && url.origin !== baseURL) elsewhere.push(url.href);
  });
  const [shown, ...others] = inPyodide.filter(({ language }) => language === "html");
  expect(others).toEqual([]);
  // what it loads from a CDN is here, in the tested version
  const body = shown.code.replace(`https://cdn.jsdelivr.net/pyodide/v${devDependencies.pyodide}/full/`, "/pyodide/");
  await page.route("**/shown.html", (route) => route.fulfill({ contentType: "text/html", body }));
  await page.goto("/shown.html");
  await expect(page).toHaveTitle("Visits stored: 1");
  expect(elsewhere).toEqual([]);

  await page.evaluate(() => {
    document.body.append(Object.assign(document.createElement("input"), { type: "file" }));
    const pyodide = Reflect.get(globalThis, "pyodide");
    /** The names of each page's blocks. @type {Map<string, unknown>} */
    const namespaces = new Map();
    /** @param {string} page @param {string} code */
    const runPython = async (page, code) => {
      if (!namespaces.has(page)) namespaces.set(page, pyodide.globals.get("dict")());
      await pyodide.runPythonAsync(code, { globals: namespaces.get(page) });
    };
    Object.assign(globalThis, { runPython });
  });
  page.on("download", async (download) => page.locator("input").setInputFiles(await download.path()));
  /** What precedes a block, by its name. @type {Record<string, () => Promise<unknown>>} */
  const before = {
    "docs/transfer.md#in-a-page 2": () =>
      page.waitForFunction(() => document.querySelector("input")?.files?.length === 1),
  };
  for (const { name, page: of, language, code } of inPyodide) {
    await before[name]?.();
    await test.step(name, async () => {
      if (language === "python") await runPython(of, code);
      else if (language === "js") await page.evaluate(`(async () => {${code}})()`);
    });
  }
  // the visit, and what the block without await has stored
  await runPython("docs/transfer.md", "assert (report.already_there, report.complete) == (2, True), report");

  /** @param {string} of @param {string} code */
  function runPython(of, code) {
    return page.evaluate(([of, code]) => Reflect.get(globalThis, "runPython")(of, code), [of, code]);
  }
});
