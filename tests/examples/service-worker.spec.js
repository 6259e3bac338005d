// The service worker: events are stored without Python, survive a reload, and are handled when Python is there.

import { expect, test } from "./example-page.js";

test("a service worker stores events, and Python handles them later", async ({ page, browserName }) => {
  /** @type {string[]} */
  const ofPyodide = [];
  page.on("request", (request) => {
    if (request.url().includes("/pyodide/")) ofPyodide.push(request.url());
  });
  const text = page.getByLabel("An event");
  const send = page.getByRole("button", { name: "Send" });
  const load = page.getByRole("button", { name: "Load Python" });
  const waiting = page.locator("output");
  const handled = page.getByRole("listitem");
  /** @param {string} event */
  const post = async (event) => {
    await text.fill(event);
    await send.click();
  };

  await page.goto("/service-worker/");
  await expect(waiting).toHaveText("0");
  await post("first");
  await expect(waiting).toHaveText("1");
  const stored = ["post: first"];
  if (browserName === "chromium") {
    // a real push, which only the browser itself can bring about
    const devtools = await page.context().newCDPSession(page);
    /** @type {string | undefined} */
    let registrationId;
    devtools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      registrationId = registrations.find(({ isDeleted }) => !isDeleted)?.registrationId;
    });
    await devtools.send("ServiceWorker.enable");
    await expect.poll(() => registrationId).toBeDefined();
    await devtools.send("ServiceWorker.deliverPushMessage", {
      origin: new URL(page.url()).origin,
      registrationId: /** @type {string} */ (/** @type {unknown} */ (registrationId)),
      data: "pushed",
    });
    stored.push("push: pushed");
    await expect(waiting).toHaveText("2");
  }

  // a request that is repeated: its key may be any text
  const repeat = () =>
    page.evaluate(async () => {
      const request = { method: "POST", body: "once", headers: { "Idempotency-Key": "order 4711" } };
      return (await (await fetch("events", request)).json()).id;
    });
  expect(await repeat()).toBe(await repeat());
  stored.push("post: once");

  await page.reload();
  await expect(waiting).toHaveText(String(stored.length));
  expect(ofPyodide).toEqual([]);
  await load.click();
  await expect(handled).toHaveText(stored);
  expect(ofPyodide).not.toEqual([]);
  await repeat();
  await post("while Python runs");
  await expect(handled).toHaveText([...stored, "post: while Python runs"]);
  await expect(waiting).toHaveText("0");
});
