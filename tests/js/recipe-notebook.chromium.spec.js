// docs/recipes/notebook.md in Pyodide, as JupyterLite's kernel runs it: the cells are run again and again.

import { readFile } from "node:fs/promises";
import { expect, test } from "@playwright/test";

/** @import { Page } from "@playwright/test" */

const PAGE = await readFile("docs/recipes/notebook.md", "utf8");
const [open, work, enqueue, look, again] = [...PAGE.matchAll(/^```python\n(# cell .*?)^```$/gms)].map(
  ([, code]) => code,
);

/** A fresh kernel in the page. @param {Page} page */
async function start(page) {
  await page.goto("/blank.html");
  await page.evaluate(async () => {
    const { loadPyodide } = await import(`${location.origin}/pyodide/pyodide.mjs`);
    const pyodide = await loadPyodide();
    await pyodide.loadPackage("micropip");
    const { page } = await (await fetch("/wheels/wheel.json")).json();
    await pyodide.pyimport("micropip").install(new URL(`/wheels/${page}`, location.href).href);
    /** @type {string[]} */
    let lines = [];
    pyodide.setStdout({ batched: (/** @type {string} */ line) => void lines.push(line) });
    Object.assign(globalThis, {
      /** @param {string[]} cells */
      run: async (cells) => {
        lines = [];
        for (const cell of cells) await pyodide.runPythonAsync(cell);
        return lines;
      },
    });
  });
}

/** What the last cell prints. @param {Page} page @param {string[]} cells @returns {Promise<string[]>} */
const run = (page, ...cells) => page.evaluate((cells) => /** @type {any} */ (globalThis).run(cells), cells);

test("the cells of a notebook may be run again in Pyodide", async ({ page }) => {
  await start(page);
  await run(page, open, work, enqueue, open, enqueue, work);
  await expect.poll(() => run(page, look)).toContain("0 waiting, 0 in hand, 1 given up");
  const [, failed, ...done] = await run(page, look);
  expect(failed).toBe("Three failed: KeyError: 'text'");
  expect(done.sort()).toEqual(["One: 3 words", "Two: 5 words"]);

  await run(page, work.replace('page["text"]', 'page.get("text", "")'), again);
  await expect.poll(() => run(page, look)).toContain("0 waiting, 0 in hand, 0 given up");
  expect((await run(page, look)).at(-1)).toBe("Three: 0 words");
});
