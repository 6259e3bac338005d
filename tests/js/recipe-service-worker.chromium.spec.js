// docs/recipes/service-worker.md: real pushes, and a service worker that is ended while it sends.

import { expect, test } from "@playwright/test";
import { FlakyServer } from "./flaky-server.js";

/** @import { Page } from "@playwright/test" */

const ADDRESS = "/recipes/service-worker/index.html";

/** What only the browser itself can bring about. @param {Page} page one of the service worker's */
async function eventsOf(page) {
  const devtools = await page.context().newCDPSession(page);
  const origin = new URL(page.url()).origin;
  let registrationId = "";
  devtools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
    registrationId = registrations.find(({ isDeleted }) => !isDeleted)?.registrationId ?? "";
  });
  await devtools.send("ServiceWorker.enable");
  await expect.poll(() => registrationId).not.toBe("");
  return {
    /** @param {{ id: string, text: string }} notice */
    push: (notice) =>
      devtools.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data: JSON.stringify(notice) }),
    sync: () =>
      devtools.send("ServiceWorker.dispatchSyncEvent", { origin, registrationId, tag: "answers", lastChance: false }),
    end: () => devtools.send("ServiceWorker.stopAllWorkers"),
  };
}

/** How many answers are not sent. @param {Page} page with the module */
function waiting(page) {
  return page.evaluate(async () => {
    const answers = await pymailbox.openMailbox("answers");
    const { queuedMessages, inflightMessages } = await answers.status();
    await answers.close();
    return queuedMessages + inflightMessages;
  });
}

/** @param {Page} page @param {string} answer */
async function send(page, answer) {
  await page.getByLabel("Answer").fill(answer);
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.getByLabel("Answer")).toHaveValue("");
}

test("notices are stored once, and answers arrive once, whoever is ended", async ({ page, context }) => {
  const server = new FlakyServer({
    late: ["hangs"],
    unlucky: ["unreachable", "answer lost"],
    wrong: [{ status: 422, body: "no such notice" }],
    huge: [{ status: 413, body: "too large" }],
    busy: [{ status: 429 }],
    expired: [{ status: 302, headers: { Location: "/" } }], // to where all is well, as to a login
  });
  await server.serve(context, "**/answers");
  let sentByServiceWorker = 0;
  context.on("request", (request) => {
    if (request.url().endsWith("/answers") && request.serviceWorker() !== null) sentByServiceWorker += 1;
  });
  // a page of the same origin that stays open
  const other = await context.newPage();
  await other.goto("/");
  await context.grantPermissions(["notifications", "background-sync"]);
  await page.goto(ADDRESS);
  await page.evaluate(() => navigator.serviceWorker.ready);
  const events = await eventsOf(other);
  const syncUntilSent = () => expect.poll(() => events.sync().then(() => waiting(other))).toBe(0);
  const notices = page.getByRole("listitem");
  const [first, second] = [crypto.randomUUID(), crypto.randomUUID()];

  await events.push({ id: first, text: "the hall is closed" });
  await events.push({ id: second, text: "it is open again" });
  await events.push({ id: first, text: "the hall is closed" });
  await expect(notices).toHaveText([/^the hall is closed/, /^it is open again/]);
  await notices.first().getByRole("button", { name: "Read" }).click();
  await expect(notices).toHaveText([/^it is open again/]);
  await events.push({ id: first, text: "the hall is closed" });
  await page.reload();
  await expect(notices).toHaveText([/^it is open again/]);

  // the browser itself calls the service worker, which is ended amid its request
  await send(page, "thank you");
  await expect.poll(() => server.arrivals(["thank you"])).toEqual([1]);
  expect(sentByServiceWorker).toBe(1);
  await send(page, "late");
  await expect.poll(() => server.attempts("late")).toBe(1);
  expect(await waiting(other)).toBe(1);
  await events.end();
  await syncUntilSent();

  // the page is closed; requests and answers are lost until the browser has called often enough
  await send(page, "wrong");
  await send(page, "huge");
  await send(page, "busy");
  await send(page, "expired");
  await send(page, "unlucky");
  await page.close();
  await syncUntilSent();
  expect(server.attempts("unlucky")).toBe(3);
  expect(server.attempts("busy")).toBe(2);
  expect(server.attempts("expired")).toBe(2);
  expect(sentByServiceWorker).toBe(1 + 2 + 3 + 1 + 1 + 2 + 2);
  const arrived = server.arrivals(["thank you", "late", "busy", "expired", "unlucky", "wrong", "huge"]);
  expect(arrived).toEqual([1, 1, 1, 1, 1, 0, 0]);
  expect(server.accepted.size).toBe(5);
  const refused = await other.evaluate(async () => {
    const answers = await pymailbox.openMailbox("answers");
    return (await answers.deadLetters()).map(({ record, reason }) => `${record.json().answer}: ${reason}`);
  });
  expect(refused.sort()).toEqual(["huge: 413 too large", "wrong: 422 no such notice"]);
});

test("a page without Background Sync sends by itself, and subscribes to what is pushed", async ({ page, context }) => {
  const server = new FlakyServer({});
  await server.serve(context, "**/answers");
  /** @type {string | null} */
  let subscription = null;
  await context.route("**/subscriptions", async (route) => {
    subscription = route.request().postData();
    await route.fulfill({ status: 201 });
  });
  await context.addInitScript(() => {
    Object.defineProperty(ServiceWorkerRegistration.prototype, "sync", { value: undefined });
    // there is no push service here
    PushManager.prototype.subscribe = (options) => /** @type {any} */ (Promise.resolve({ given: options }));
  });
  await page.goto(ADDRESS);
  await send(page, "from the page");
  await expect.poll(() => server.arrivals(["from the page"])).toEqual([1]);
  await page.getByRole("button", { name: "Tell me at once" }).click();
  await expect.poll(() => subscription).toMatch(/^{"given":{"userVisibleOnly":true,"applicationServerKey":"/);
});
