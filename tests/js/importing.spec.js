// A program may import the library and never use it.

import { expect, test } from "@playwright/test";

test("importing the library does nothing; its first use starts it", async ({ page }) => {
  await page.addInitScript(() => {
    /** @type {string[]} */
    const done = [];
    const note = (/** @type {any} */ target, /** @type {string} */ method) => {
      const before = target[method];
      target[method] = function (/** @type {unknown[]} */ ...given) {
        done.push(`${method}(${typeof given[0] === "string" ? given[0] : ""})`);
        return before.apply(this, given);
      };
    };
    note(EventTarget.prototype, "addEventListener");
    note(IDBFactory.prototype, "open");
    note(LockManager.prototype, "request");
    note(Storage.prototype, "getItem");
    note(Storage.prototype, "setItem");
    for (const timer of ["setTimeout", "setInterval"]) note(globalThis, timer);
    Object.assign(globalThis, { done });
  });
  await page.goto("/blank.html");
  const [imported, used] = await page.evaluate(async () => {
    const { done } = /** @type {any} */ (globalThis);
    done.length = 0;
    const { openMailbox } = await import(/** @type {any} */ ("/pymailbox/index.js"));
    const imported = [...done];
    await (await openMailbox("inbox")).close();
    return [imported, [...done]];
  });
  const isDefined = await page.evaluate(async () => {
    await import(/** @type {any} */ ("/pymailbox/inspector/index.js"));
    return customElements.get("mailbox-inspector") !== undefined;
  });
  expect(isDefined).toBe(true);
  expect(imported).toEqual([]);
  expect(used).toEqual(
    expect.arrayContaining([
      "addEventListener(pagehide)",
      "open(pymailbox)",
      expect.stringMatching(/^request\(pymailbox/),
    ]),
  );
});
