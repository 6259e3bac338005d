// docs/recipes/pyscript-pipeline.md: each line is priced once, although the page is left in the middle.

import { expect, test } from "@playwright/test";

test("each line is priced once, though the page is left in the middle", async ({ page }) => {
  const articles = Array.from({ length: 40 }, (_, i) => `article ${i}`);
  const items = page.getByRole("listitem");
  await page.goto("/recipes/pyscript-pipeline/index.html");
  await page.getByRole("textbox").fill(articles.map((article) => `${article};3.50`).join("\n"));
  await page.getByRole("button", { name: "Price them" }).click();
  await expect(page.getByRole("textbox")).toHaveValue("");
  // so many are shown that some are done, and the rest is on its way
  await expect(items.nth(9)).toBeVisible();
  await page.reload();
  await page.getByRole("textbox").fill("sugar;2\n\nsalt;much");
  await page.getByRole("button", { name: "Price them" }).click();
  await expect(page.getByRole("status")).toHaveText("0 messages on their way");
  await expect(items.filter({ hasText: "sugar" })).toHaveText("sugar: 2.40");
  const refused = "salt;much: no price in it: 'much'";
  const priced = articles.map((article) => `${article}: 4.20`);
  expect((await items.allTextContents()).toSorted()).toEqual([...priced, "sugar: 2.40", refused].toSorted());
});
