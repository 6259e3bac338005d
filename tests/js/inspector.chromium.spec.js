// <mailbox-inspector> where the visitor's system chooses the colours, which can be tried in Chromium only.

import { Inspector, enqueue, expect, test } from "./inspector-page.js";

test("where colours are forced, all that is drawn can be told from what is around it", async ({ page }) => {
  await page.emulateMedia({ forcedColors: "active", colorScheme: "dark" });
  await enqueue(page, "forced", ["a", "b"]);
  const inspector = new Inspector(page, "forced");
  await inspector.show();
  await expect(inspector.rows).toHaveCount(2);
  await inspector.rows.first().click();
  /** The computed style of what is found. @param {string} selector @param {string[]} properties */
  const style = (selector, ...properties) =>
    inspector.element.evaluate(
      ({ shadowRoot }, [selector, ...properties]) => {
        const style = getComputedStyle(/** @type {Element} */ (shadowRoot?.querySelector(selector)));
        return properties.map((property) => style.getPropertyValue(property));
      },
      [selector, ...properties],
    );
  const [canvas] = await style(".inspector", "background-color");
  for (const line of [".line-0", ".line-1", ".grid"]) expect(await style(line, "stroke")).not.toEqual([canvas]);
  expect(await style(".area", "fill")).not.toEqual([canvas]);
  for (const box of [".plot svg", ".detail pre"]) {
    expect(await style(box, "border-top-style", "border-left-style")).toEqual(["solid", "solid"]);
  }
  // what is chosen, or pressed, is not told by a background that is not there
  expect(await style("tbody tr.selected", "outline-style")).toEqual(["solid"]);
  expect(await style("[role=tab][aria-selected=true]", "outline-style")).toEqual(["solid"]);
  const [released] = await style("button[aria-pressed]", "background-color");
  await inspector.button("Pause").click();
  expect(await style("button[aria-pressed]", "background-color")).not.toEqual([released]);
  await page.emulateMedia({ forcedColors: null, colorScheme: null });
});
