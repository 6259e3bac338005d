// docs/recipes/outbox.md: a server that loses requests and answers, a page that is left in the middle.

import { expect, test } from "@playwright/test";
import { FlakyServer } from "./flaky-server.js";

/** @import { Page } from "@playwright/test" */

const ADDRESS = "/recipes/outbox/index.html";

/** @param {Page} page @param {string} report */
async function send(page, report) {
  await page.getByLabel("Report").fill(report);
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByLabel("Report")).toHaveValue("");
}

test("each report arrives once, whatever becomes of the network, the server and the page", async ({
  page,
  context,
}) => {
  const server = new FlakyServer({
    forgotten: ["answer lost"],
    unlucky: ["unreachable", { status: 500 }],
    expired: [{ status: 302, headers: { Location: "/" } }], // to where all is well, as to a login
    hurried: [{ status: 503, headers: { "Retry-After": "1" } }],
    wrong: [{ status: 422, body: "no such room" }],
    left: ["hangs"],
    crashed: ["hangs"],
  });
  await server.serve(context, "**/reports");
  const [state, items] = [page.getByRole("status"), page.getByRole("listitem")];
  await page.goto(ADDRESS);
  await expect(state).toHaveText("Everything has been sent.");

  // a form that is sent twice at once is one report
  await page.getByLabel("Report").fill("twice");
  await page.evaluate(() => {
    const form = /** @type {HTMLFormElement} */ (document.querySelector("form"));
    form.requestSubmit();
    form.requestSubmit();
  });
  await expect.poll(() => server.arrivals(["twice"])).toEqual([1]);
  await expect(page.getByLabel("Report")).toHaveValue("");

  // the network is gone, and comes back: what waits for its next attempt is sent at once
  server.down = true;
  await context.setOffline(true);
  await expect(page.getByText("Offline")).toBeVisible();
  await send(page, "from the cellar");
  await expect(items).toHaveText(/^from the cellar: will be tried again at /);
  await expect(state).toHaveText("1 to be sent.");
  server.down = false;
  await context.setOffline(false);
  await expect(page.getByText("Offline")).toBeHidden();

  const reports = ["forgotten", "unlucky", "expired", "hurried", "wrong", "left", "crashed"];
  for (const report of reports.slice(0, -1)) await send(page, report);
  // nothing is refused but what the server refuses for good, and that may be tried again
  await page.getByRole("button", { name: "Try again" }).waitFor();
  await expect(items.filter({ hasText: "was refused" })).toHaveText(/^wrong: was refused \(no such room\)/);
  await page.getByRole("button", { name: "Try again" }).click();

  // the page is left while its request is under way
  await expect.poll(() => server.attempts("left")).toBe(1);
  await page.reload();
  await expect(state).toHaveText("Everything has been sent.");
  expect(server.attempts("left")).toBe(2);

  // a tab crashes, and another one takes what it was sending
  const other = await context.newPage();
  await other.goto(ADDRESS);
  await page.close();
  await send(other, "crashed");
  await expect.poll(() => server.attempts("crashed")).toBe(1);
  const next = await context.newPage();
  await next.goto(ADDRESS);
  await expect(next.getByRole("listitem")).toHaveText("crashed: is being sent");
  const crash = other.waitForEvent("crash");
  void other.goto("chrome://crash").catch(() => undefined);
  await crash;
  await expect(next.getByRole("status")).toHaveText("Everything has been sent.");
  expect(server.attempts("unlucky")).toBeGreaterThan(2);
  expect(server.arrivals(["twice", "from the cellar", ...reports])).toEqual(Array(reports.length + 2).fill(1));
  expect(server.accepted.size).toBe(reports.length + 2);
});

test("a report that is refused can be deleted", async ({ page, context }) => {
  const server = new FlakyServer({ wrong: [{ status: 400, body: "not like that" }] });
  await server.serve(context, "**/reports");
  await page.goto(ADDRESS);
  await send(page, "wrong");
  await page.getByRole("button", { name: "Delete" }).click();
  await expect(page.getByRole("listitem")).toHaveCount(0);
  expect(server.accepted.size).toBe(0);
});
