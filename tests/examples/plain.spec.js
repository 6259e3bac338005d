// The plain page: a text is answered, the page is reloaded, and goes on.

import { expect, test } from "./example-page.js";

test("a plain page goes on after a reload", async ({ page }) => {
  const text = page.getByLabel("A text");
  const send = page.getByRole("button", { name: "Send" });
  const answers = page.getByRole("listitem");

  await page.goto("/plain/");
  await expect(send).toBeEnabled();
  await text.fill("three short words");
  await send.click();
  await expect(answers).toHaveText(["3 words: three short words"]);

  await page.reload();
  await expect(answers).toHaveText(["3 words: three short words"]);
  await text.fill("<b>two</b> more");
  await send.click();
  await expect(answers).toHaveText(["3 words: three short words", "2 words: <b>two</b> more"]);
});
