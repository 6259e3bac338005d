// The documentation's examples of JavaScript, each where it belongs: page, worker, service worker, beside Python.

import { expect, test } from "./page.js";

/** @import { Page } from "@playwright/test" */

/** Compared with the existing examples by the last test. */
const driven = ["worker.js", "service-worker.js"];

/** @param {string} name @param {string} title @param {Parameters<typeof test>[2]} body */
function testExample(name, title, body) {
  driven.push(`${name}.js`);
  test(title, body);
}

/**
 * What a page logs from now on; not that a mailbox was never closed, which it is told whenever that is collected.
 *
 * @param {Page} page
 */
function logOf(page) {
  /** @type {string[]} */
  const lines = [];
  page.on("console", (message) => message.type() === "log" && lines.push(message.text()));
  return lines;
}

/**
 * Runs an example on a page of its own. What it logs may come after its title.
 *
 * @param {Page} page @param {string} name
 */
async function runExample(page, name) {
  const example = await page.context().newPage();
  const lines = logOf(example);
  await example.goto(new URL(`/example.html?name=${name}`, page.url()).href);
  await expect(example).toHaveTitle("done");
  return { example, lines };
}

/** What is queued, taken and acknowledged. @param {Page} page @param {string} name @param {number} count */
function take(page, name, count) {
  return page.evaluate(
    async ([name, count]) => {
      const mailbox = await pymailbox.openMailbox(name);
      const text = new TextDecoder();
      const taken = [];
      while (taken.length < count) {
        for (const { id, sender, payload } of await mailbox.dequeue({ wait: Infinity })) {
          taken.push(`${text.decode(sender)}: ${text.decode(payload)}`);
          await mailbox.ack(id);
        }
      }
      await mailbox.close();
      return taken;
    },
    /** @type {const} */ ([name, count]),
  );
}

testExample("page", "a page stores messages", async ({ page }) => {
  const { example, lines } = await runExample(page, "page");
  await expect
    .poll(() => lines)
    .toEqual([expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} is stored$/)]);
  await example.close();
  expect(await take(page, "inbox", 2)).toEqual(["bob: fire!", "alice: hello"]);
});

testExample("json", "JSON is stored once, with its headers", async ({ page }) => {
  const { lines } = await runExample(page, "json");
  await expect.poll(() => lines).toEqual(["4bf92f35 tea"]);
});

testExample("watch", "a page watches a mailbox", async ({ page }) => {
  const watching = await page.context().newPage();
  await watching.goto(new URL("/example.html?name=watch", page.url()).href);
  await expect(watching).toHaveTitle("0 waiting, 0 of them delayed, the oldest for 0 s");
  await runExample(page, "page");
  await expect(watching).toHaveTitle(/^2 waiting, 0 of them delayed, the oldest for /);
  await watching.close();
});

testExample("files", "a mailbox becomes a file, and a file a mailbox", async ({ page }) => {
  await runExample(page, "page");
  const { lines } = await runExample(page, "files");
  await expect.poll(() => lines).toEqual(["2 0 0 true"]);
});

testExample("inspect", "an inspector shows what a page has stored", async ({ page }) => {
  await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("inbox");
    await mailbox.enqueue(new Uint8Array(), new TextEncoder().encode("look at me"));
  });
  const { example } = await runExample(page, "inspect");
  await expect(
    example.getByRole("region", { name: "Mailbox inbox" }).getByRole("button", { name: "look at me" }),
  ).toBeVisible();
});

testExample("start-worker", "a worker answers", async ({ page }) => {
  const { example } = await runExample(page, "start-worker");
  await runExample(page, "page");
  expect((await take(page, "outbox", 2)).sort()).toEqual(["worker: FIRE!", "worker: HELLO"]);
  // an existing answer is to a finished message
  const { queuedMessages, inflightMessages } = await page.evaluate(async () =>
    (await pymailbox.openMailbox("inbox")).status(),
  );
  expect([queuedMessages, inflightMessages]).toEqual([0, 0]);
  await example.close();
});

testExample("actor", "an actor asks a server, and answers", async ({ page }) => {
  let asked = 0;
  await page.context().route(/\/price\?/, async (route) => {
    asked += 1;
    const item = new URL(route.request().url()).searchParams.get("item");
    if (item === "gone") await route.fulfill({ status: 503 });
    else await route.fulfill({ body: `${item}: 5 EUR` });
  });
  const { example } = await runExample(page, "actor");
  await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("orders");
    const text = new TextEncoder();
    for (const order of ['{"item":"tea"}', "tea", '{"item":"gone"}'])
      await mailbox.enqueue(text.encode("page"), text.encode(order));
    await mailbox.close();
  });
  expect(await take(page, "invoices", 1)).toEqual(["actor: tea: 5 EUR"]);
  await expect.poll(() => asked).toBe(2);
  // postponed messages go back when the actor stops, as if never handed out
  await example.evaluate(() => window.postMessage("stop"));
  const left = () =>
    page.evaluate(async () => {
      const mailbox = await pymailbox.openMailbox("orders");
      const { queuedMessages, inflightMessages } = await mailbox.status();
      const [queued] = await mailbox.peek();
      const reasons = (await mailbox.deadLetters()).map(({ reason }) => reason.split("\n")[0]);
      await mailbox.close();
      return [queuedMessages, inflightMessages, queued?.deliveryCount, reasons];
    });
  await expect.poll(left).toEqual([1, 0, 0, ["this is not JSON"]]);
  await example.close();
});

test("a service worker stores what arrives while Python is not loaded and nobody has opened a mailbox", async ({
  page,
  baseURL,
  browserName,
}) => {
  await page.goto(`${baseURL}/blank.html`);
  await page.evaluate(async () => {
    await navigator.serviceWorker.register("/service-worker.js", { type: "module" });
    await navigator.serviceWorker.ready;
  });
  await page.reload();
  const { statuses, ids, counts } = await page.evaluate(async () => {
    /** @type {number[]} */
    const statuses = [];
    /** @param {string | undefined} key @returns {Promise<string>} the message's id */
    const send = async (key) => {
      const headers = new Headers(key === undefined ? [] : [["Idempotency-Key", key]]);
      const response = await fetch("/messages", { method: "POST", body: `posted ${key}`, headers });
      statuses.push(response.status);
      return (await response.json()).id;
    };
    const module = "/pymailbox/index.js";
    const inbox = await (await import(module)).openMailbox("inbox");
    /** @type {number[]} */
    const counts = [];
    const count = async () => counts.push((await inbox.status()).queuedMessages);
    const ids = [await send("order 4711"), await send("order 4711")];
    await count();
    const [message] = await inbox.dequeue();
    await inbox.ack(message.id);
    ids.push(message.id, await send("order 4711"));
    await count();
    ids.push(await send("order 4712"), await send(undefined), await send(undefined));
    await count();
    await inbox.close();
    return { statuses, ids, counts };
  });
  expect(statuses).toEqual(Array(6).fill(202));
  expect(counts).toEqual([1, 0, 3]);
  expect(new Set(ids.slice(0, 4)).size).toBe(1);
  expect(new Set(ids).size).toBe(4);
  const stored = ["fetch: posted order 4712", "fetch: posted undefined", "fetch: posted undefined"];
  if (browserName === "chromium") {
    // events that only the browser itself can bring about
    const devtools = await page.context().newCDPSession(page);
    /** @type {string | undefined} */
    let registrationId;
    devtools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      registrationId = registrations.find(({ isDeleted }) => !isDeleted)?.registrationId;
    });
    await devtools.send("ServiceWorker.enable");
    await expect.poll(() => registrationId).toBeDefined();
    const registration = {
      origin: new URL(page.url()).origin,
      registrationId: /** @type {string} */ (/** @type {unknown} */ (registrationId)),
    };
    await devtools.send("ServiceWorker.deliverPushMessage", { ...registration, data: "pushed" });
    await devtools.send("ServiceWorker.dispatchSyncEvent", { ...registration, tag: "synced", lastChance: false });
    stored.push("push: pushed", "sync: synced");
  }
  await page.goto(`${baseURL}/`);
  await page.waitForFunction(() => "pymailbox" in globalThis);
  expect((await take(page, "inbox", stored.length)).sort()).toEqual(stored.sort());
});

testExample("ask", "an asker is answered", async ({ page }) => {
  const { lines } = await runExample(page, "ask");
  await expect.poll(() => lines).toEqual(["4.20 EUR", "TimeoutError"]);
});

test("Python answers JavaScript, and JavaScript Python", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { loadPyodide } = await import(`${location.origin}/pyodide/pyodide.mjs`);
    const pyodide = await loadPyodide();
    await pyodide.loadPackage("micropip");
    const { page } = await (await fetch("/wheels/wheel.json")).json();
    await pyodide.pyimport("micropip").install(new URL(`/wheels/${page}`, location.href).href);
    pyodide.registerJsModule("pymailbox_js", pymailbox);
    await pyodide.runPythonAsync(`
      from pymailbox import MessagePriority, ask, open_mailbox

      python = await open_mailbox("python")
      javascript = await open_mailbox("javascript")

      def handler(message, context):
          context.reply(b"Python: " + message.payload, priority=MessagePriority.HIGH, headers={"by": "python"})

      import asyncio
      consuming = asyncio.ensure_future(python.consume(handler))
    `);
    const [python, javascript] = [await pymailbox.openMailbox("python"), await pymailbox.openMailbox("javascript")];
    const [encoder, decoder] = [new TextEncoder(), new TextDecoder()];
    javascript.consume(({ payload }, context) =>
      context.reply(encoder.encode(`JavaScript: ${decoder.decode(payload)}`), { headers: { by: "javascript" } }),
    );
    const ours = await pymailbox.ask(python, encoder.encode("tea"), { timeout: 60_000 });
    const theirs = await pyodide.runPythonAsync(`
      answer = await ask(javascript, b"coffee", timeout=60.0)
      await javascript.close()
      await python.close()
      await consuming
      f"{answer.payload.decode()}, by {answer.headers['by']}"
    `);
    await python.close();
    await javascript.close();
    const ourAnswer = `${decoder.decode(ours.payload)}, by ${ours.headers.by}, ${ours.priority}`;
    return { answers: [ourAnswer, theirs], names: await pymailbox.listMailboxes() };
  });
  expect(seen).toEqual({
    answers: ["Python: tea, by python, high", "JavaScript: coffee, by javascript"],
    names: ["javascript", "python"],
  });
});

testExample(
  "with-python",
  "Python, loaded later, takes what JavaScript stored, over the same module",
  async ({ page }) => {
    const { lines } = await runExample(page, "with-python");
    expect(lines.filter((line) => line.includes("says"))).toEqual(["page says hello from JavaScript"]);
  },
);

testExample("backpressure", "a producer is held back", async ({ page }) => {
  await runExample(page, "backpressure");
  expect(await take(page, "frames", 10)).toEqual(
    Array.from({ length: 10 }, (_, number) => `camera: ${String.fromCharCode(number)}`),
  );
});

testExample("one-by-one", "a loop acknowledges with its next dequeue", async ({ page }) => {
  const example = await page.context().newPage();
  const lines = logOf(example);
  await example.goto(new URL("/example.html?name=one-by-one", page.url()).href);
  await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("tasks");
    await mailbox.enqueueJson("wash");
    await mailbox.enqueueJson("dry");
    for await (const { queuedMessages, inflightMessages } of mailbox.changes())
      if (queuedMessages + inflightMessages === 0) break;
  });
  await expect.poll(() => lines).toEqual(["wash", "dry"]);
  await example.close();
});

testExample("tell-worker", "a page tells its worker that it is left", async ({ page }) => {
  const { example } = await runExample(page, "tell-worker");
  await runExample(page, "page");
  expect((await take(page, "outbox", 2)).sort()).toEqual(["worker: FIRE!", "worker: HELLO"]);
  await example.close();
});

test("each example of the documentation is run", async ({ page }) => {
  const { examples } = await page.evaluate(async () => (await fetch("/docs.json")).json());
  expect(driven.sort()).toEqual(examples.sort());
});
