// <mailbox-inspector> if the visitor's system chooses the colours, which can only be tested in Chromium.

import { Inspector, enqueue, expect, test } from "./inspector-page.js";

test("with forced colours, everything can be distinguished from its surroundings", async ({ page }) => {
  await page.emulateMedia({ forcedColors: "active", colorScheme: "dark" });
  await enqueue(page, "forced", ["a", "b"]);
  const inspector = new Inspector(page, "forced");
  await inspector.show();
  await expect(inspector.rows).toHaveCount(2);
  await inspector.rows.first().click();
  /** The computed style of an element. @param {string} selector @param {string[]} properties */
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
  // no missing background has to show what is chosen or pressed
  expect(await style("tbody tr.selected", "outline-style")).toEqual(["solid"]);
  expect(await style("[role=tab][aria-selected=true]", "outline-style")).toEqual(["solid"]);
  const [released] = await style("button[aria-pressed]", "background-color");
  await inspector.button("Pause").click();
  expect(await style("button[aria-pressed]", "background-color")).not.toEqual([released]);
  await page.emulateMedia({ forcedColors: null, colorScheme: null });
});
