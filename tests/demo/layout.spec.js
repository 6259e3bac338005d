// What is seen without scrolling.

import { DemoPage, expect, test } from "./demo-page.js";

test.use({ serviceWorkers: "block" });

test("the first screen says what this is, and has the code, both peers, and how to get it", async ({ page }) => {
  await page.setViewportSize({ width: 1280, height: 800 });
  const [first, second] = [new DemoPage(page, 0), new DemoPage(page, 1)];
  await first.withoutPython();
  await page.goto("/");
  await second.usable();
  await expect(first.handler).toBeEnabled();
  await expect(page.locator("#pace-text")).toHaveText("50 ms a message");
  const install = page.locator("#install");
  for (const part of [
    page.locator(".lead"),
    install,
    first.handler,
    page.locator("#code-after"),
    page.locator("#pace"),
    first.apply,
  ])
    await expect(part).toBeInViewport({ ratio: 1 });
  for (const peer of [first, second])
    for (const part of [peer.message, peer.kill, peer.flood, peer.part("log-panel")])
      await expect(part).toBeInViewport({ ratio: 1 });
  expect(await page.locator("#code").evaluate(cutOff), "lines of code that are cut off").toEqual([]);

  const line = /^pip install (?<url>http:\S+-py3-none-any\.whl)$/;
  await expect(install).toHaveText(line);
  const wheel = await page.request.get(line.exec((await install.textContent()) ?? "")?.groups?.url ?? "");
  expect((await wheel.body()).subarray(0, 2).toString(), "the beginning of a wheel").toBe("PK");
});

test("on a phone sending shows its effect without scrolling", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  const demo = new DemoPage(page);
  await demo.openPaused("/");
  await demo.to.selectOption("");
  await demo.message.evaluate((message) => message.scrollIntoView({ block: "center" }));
  await demo.type("where did it go?");
  await demo.counts({ queued: 1 });
  for (const part of [demo.part("queued"), demo.part("done"), demo.balance, demo.notice])
    await expect(part).toBeInViewport({ ratio: 1 });
  await expect(demo.part("log-panel"), "its newest line").toBeInViewport({ ratio: 0.4 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
});

test("in a narrow peer the numbers of ten thousand messages stand apart, and so do name, state and buttons", async ({
  page,
}) => {
  const demo = new DemoPage(page);
  await demo.openPaused("/");
  for (const id of /** @type {const} */ (["queued", "done"]))
    await demo.part(id).evaluate((number) => {
      // as wide as it gets, whatever the ledger says meanwhile
      number.setAttribute("style", "min-width: max-content");
      new MutationObserver(() => number.textContent === "10,003" || (number.textContent = "10,003")).observe(number, {
        childList: true,
      });
      number.textContent = "10,003";
    });
  for (const width of [320, 360, 390, 720, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    for (const part of ["counters", "head"]) {
      const place = part === "head" ? demo.peer.locator(".head") : demo.part(part);
      expect(await place.evaluate(collisions), `${part}, ${width} pixels wide`).toEqual([]);
    }
    const slider = await page.locator("#pace").boundingBox();
    expect(slider?.width, `slider, ${width} pixels wide`).toBeGreaterThan(100);
  }
});

/** Texts in a row of parts that reach into each other, or out of it. @param {Element} row */
function collisions(row) {
  const texts = Array.from(row.querySelectorAll("dd, dt, h2, p, button"), (part) => {
    const range = document.createRange();
    range.selectNodeContents(part);
    return { text: part.textContent, box: range.getBoundingClientRect() };
  }).filter(({ box }) => box.width > 0);
  const { right: end } = row.getBoundingClientRect();
  return texts
    .filter(
      ({ box }, index) =>
        box.right > end + 1 ||
        texts.some(
          ({ box: other }, at) =>
            at > index &&
            box.left < other.right &&
            other.left < box.right &&
            box.top < other.bottom - 4 &&
            other.top < box.bottom - 4,
        ),
    )
    .map(({ text }) => text);
}

/** The parts of the code that are wider than their place. @param {Element} code */
const cutOff = (code) =>
  Array.from(code.querySelectorAll("pre, textarea"), (part) =>
    part.scrollWidth > part.clientWidth ? part.id : "",
  ).filter((id) => id !== "");
