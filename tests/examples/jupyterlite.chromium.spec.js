// JupyterLite: all cells are run, the page is reloaded, and all cells are run again and find what the first run left.

import { expect, test } from "./example-page.js";

/** Runs the notebook as a visitor does, when its kernel is ready. @param {import("@playwright/test").Page} page */
async function runAllCells(page) {
  await expect(page.locator(".jp-Notebook-ExecutionIndicator")).toHaveAttribute("data-status", "idle");
  await page.getByRole("menuitem", { name: "Run", exact: true }).click();
  await page.getByRole("menuitem", { name: "Run All Cells", exact: true }).click();
}

test("a notebook finds after a reload what it has left", async ({ page }) => {
  const [found, left, waiting] = ["found: ", "left: ", "waiting: "].map((word) =>
    page.locator(".jp-OutputArea-output", { hasText: word }),
  );

  await page.goto("/jupyterlite/notebooks/index.html?path=mailbox.ipynb");
  await runAllCells(page);
  await expect(left).toHaveText(/greetings from \d/);
  await expect(found).toHaveCount(0);
  const text = ((await left.textContent()) ?? "").trim().replace("left: ", "");

  await page.reload();
  await runAllCells(page);
  await expect(found).toHaveText(`found: ${text}`);
  // and something else for the next visit
  await expect(left).toHaveText(/greetings from \d/);
  await expect(left).not.toContainText(text);
  // which a function has counted that is not async
  await expect(waiting).toHaveText("waiting: 1");
});
