// What a visitor does with the demo, and what its own code answers to that, which no browser changes. Loading Python
// takes most of the time, so that those share a page that can.

import { DemoPage, expect, test } from "./demo-page.js";

/** @import { Page } from "@playwright/test" */

/** Python that never ends, as `while True: pass` does, but leaves the processor to others. */
const FOR_EVER =
  "__import__('pyodide').code.run_js('Atomics.wait(new Int32Array(new WebAssembly.Memory({ initial: 1, maximum: 1, " +
  "shared: true }).buffer), 0, 0)')";

// One keeps all that is loaded, in each test anew, and is not what these are about.
test.use({ serviceWorkers: "block" });

/** @type {DemoPage} */
let demo;

test.beforeEach(({ page }) => {
  demo = new DemoPage(page);
});

test.describe("with what keeps the page", () => {
  test.use({ serviceWorkers: "allow" });

  test("what is typed, dropped or chosen is handled", async ({ page }) => {
    const seen = await watchLoading(page);

    await test.step("loading shows how many bytes of how many are there", async () => {
      await demo.open();
      const news = await seen();
      const bytes = news.filter(({ max }) => max > 1).map(({ value }) => value);
      expect(news.some(({ text }) => /^Loading Python: \d+\.\d of \d+\.\d MB$/.test(text))).toBe(true);
      expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
      // More than one step, and all of it at the end.
      expect(new Set(bytes).size).toBeGreaterThan(2);
      expect(bytes.at(-1)).toBe(news.at(-1)?.max);
      expect(bytes.at(-1)).toBeGreaterThan(10e6);
    });

    await test.step("a typed message is handled", async () => {
      await demo.counts({ queued: 0, inflight: 0, done: 0, dead: 0 });
      await demo.message.fill("three short words");
      await demo.send.click();
      await demo.finished(1);
      await expect(demo.log).toHaveText([/three short words.*Normal.*from you.*words: 3, characters: 17/s]);
      await expect(demo.message).toHaveValue("");
      await demo.startOver();
    });

    await test.step("a message is never taken for markup", async () => {
      const text = `<img src=x onerror="console.error('ran')"><b>bold</b> & "more"`;
      await demo.type(text);
      await expect(demo.texts()).toHaveText([text]);
      await expect(page.locator(".log img, .log b")).toHaveCount(0);
      await demo.startOver();
    });

    await test.step("each line of a dropped file is a message", async () => {
      await demo.drop("notes.txt", "one\r\n\r\nthree, without an end");
      await expect(demo.notice).toHaveText("3 lines of notes.txt stored.");
      await demo.finished(3);
      await expect(demo.texts()).toHaveText(["three, without an end", "(a blank line)", "one"]);
      await expect(demo.log.first()).toContainText("from notes.txt");
      await demo.startOver();
    });

    await test.step("a file that is no text is refused, an empty one stores nothing", async () => {
      await demo.choose("picture.png", Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0a, 0, 0, 0]));
      await expect(demo.notice).toContainText("picture.png could not be read");
      await demo.choose("empty.txt", "");
      await expect(demo.notice).toContainText("empty.txt is empty");
      await demo.counts({ queued: 0, inflight: 0, done: 0 });
    });

    await test.step("chosen files are read one after the other, and high messages go before normal ones", async () => {
      await demo.pauseActor();
      await demo
        .part("file")
        .setInputFiles(
          ["a", "b"].map((name) => ({ name, mimeType: "text/plain", buffer: Buffer.from(`${name}1\n${name}2\n`) })),
        );
      await demo.counts({ queued: 4 });
      await demo.type("urgent", { high: true });
      await demo.type("more urgent", { high: true });
      await demo.counts({ queued: 6, inflight: 0, done: 0 });
      await demo.pause.click();
      await demo.finished(6);
      await expect(demo.texts()).toHaveText(["b2", "b1", "a2", "a1", "more urgent", "urgent"]);
    });

    await test.step("work takes as long as the visitor has chosen", async () => {
      await demo.setPace(500);
      const before = Date.now();
      await demo.type("slowly");
      await demo.finished(7);
      expect(Date.now() - before).toBeGreaterThan(500);
      await demo.setPace(0);
    });

    await test.step("starting over leaves nothing behind", async () => {
      await demo.pauseActor();
      await demo.type("never done");
      await demo.counts({ queued: 1 });
      await demo.startOver();
      await demo.pause.click();
      await demo.type("done now");
      await demo.finished(1);
    });

    await test.step("a handler that crashes is tried again", async () => {
      await page.getByRole("button", { name: "Crash" }).click();
      await demo.finished(2);
      await expect(demo.audit).toContainText("Messages were handed out again 2 times");
    });

    await test.step("poison is a dead letter with its traceback, until it is redriven to a mended actor", async () => {
      await page.getByRole("button", { name: "Poison" }).click();
      await demo.counts({ queued: 0, inflight: 0, done: 2, dead: 1 });
      await demo.inspector.getByRole("tab", { name: "Dead letters" }).click();
      await demo.inspector.getByRole("button", { name: "poison!" }).click();
      await expect(demo.inspector.locator(".detail")).toContainText("ValueError: the handler has a mistake");
      await page.getByLabel("Mended").check();
      await demo.inspector.getByRole("button", { name: "Redrive", exact: true }).click();
      await demo.finished(3);
    });
  });
});

test("the handler can be edited: a kill and a mistake lose no message", async () => {
  await demo.open();
  const original = await demo.handler.inputValue();
  expect(original).toMatch(/^async def handle\(message: MessageRecord\) -> str:\n(?: {4}.*\n)* {4}return [^\n]*$/);

  await test.step("what is no handler is refused, and the one before stays", async () => {
    await demo.handler.fill("async def handle(message):\n    return (");
    await demo.apply.click();
    await expect(demo.handlerStatus).toHaveText(/^SyntaxError: '\(' was never closed \(line 2\)$/);
    await demo.handler.fill("def handle(message):\n    return 'done'");
    await demo.apply.click();
    await expect(demo.handlerStatus).toContainText("There is no `async def handle(message)`");
    for (const text of ["raise SystemExit", "async def handle(): return 'x'"]) {
      await demo.handler.fill(text);
      await demo.apply.click();
      await expect(demo.handlerStatus).toHaveText(/^SystemExit|^There is no `async def handle\(message\)`/);
    }
    await demo.type("as before");
    await expect(demo.log.first()).toContainText("words: 2, characters: 9");
  });

  await test.step("what it raises is shown, and its message goes back, at last as a dead letter", async () => {
    await demo.handler.fill("async def handle(message):\n    return 1 / 0");
    await demo.apply.click();
    await expect(demo.handlerStatus).toHaveText("Applied: the next messages are handled by it.");
    await demo.type("divided");
    await expect(demo.handlerStatus).toHaveText(
      "Peer 1: ZeroDivisionError: division by zero (line 2). Its message went back.",
    );
    await expect(demo.log.first()).toContainText(/divided.*Failed.*ZeroDivisionError/s);
    await demo.counts({ queued: 0, inflight: 0, done: 1, dead: 1 });
  });

  await test.step("an exit and an answer that is no text fail like others; a long answer is cut", async () => {
    for (const [body, said] of [
      ["raise SystemExit", "SystemExit (line 2)"],
      ["return '\\udc80'", "UnicodeEncodeError"],
    ]) {
      await demo.handler.fill(`async def handle(message):\n    ${body}`);
      await demo.apply.click();
      await demo.type("tried");
      await expect(demo.handlerStatus).toContainText(`Peer 1: ${said}`);
      await expect(demo.log.first()).toContainText(said);
    }
    await demo.counts({ queued: 0, inflight: 0, done: 1, dead: 3 });
    await demo.handler.fill("async def handle(message):\n    return 'é' * 300_000");
    await demo.apply.click();
    await demo.type("tell me all");
    await demo.counts({ queued: 0, inflight: 0, done: 2 });
    await expect(demo.log.first()).toContainText("tell me all");
    expect((await demo.log.first().locator(".result").textContent())?.length).toBe(160);
  });

  await test.step("what a killed worker had in hand waits until there is a handler again, and is named", async () => {
    await demo.page.locator("#reset").click();
    await expect(demo.handler).toHaveValue(original);
    await demo.choose("lines.txt", "hang! 1\nhang! \u202e2\nhang! 3\n");
    await demo.counts({ inflight: 3 });
    await demo.handler.fill("async def handle(message):");
    await demo.kill.click();
    await expect(demo.returned).toHaveText(
      "The killed worker had 3 messages in hand: “hang! 1”, “hang! ⟨U+202E⟩2” and 1 more. They will be handled again.",
    );
    await expect(demo.state).toHaveText("Waits for a handler that runs");
    await expect(demo.handlerStatus).toContainText("Peer 1: IndentationError");
    await demo.handler.fill("async def handle(message):\n    return 'by the new one'");
    await demo.apply.click();
    await expect(demo.returned).toHaveText(
      "All 3 messages that the killed worker had in hand are done now: “hang! 1”, “hang! ⟨U+202E⟩2” and 1 more.",
    );
    await expect(demo.log.first()).toContainText(/Came back.*by the new one/s);
  });

  await test.step("a dead letter is redriven", async () => {
    await demo.part("redrive").click();
    await demo.finished(8);
    await expect(demo.part("redrive")).toBeHidden();
  });

  await test.step("starting over does not wait for a handler that never ends", async () => {
    await demo.handler.fill(`async def handle(message):\n    ${FOR_EVER}`);
    await demo.apply.click();
    await expect(demo.handlerStatus).toHaveText("Applied: the next messages are handled by it.");
    await demo.type("for ever");
    await demo.counts({ inflight: 1 });
    await demo.type("behind it");
    await demo.startOver();
    await demo.page.locator("#reset").click();
    await demo.type("after that");
    await demo.finished(1);
    await expect(demo.returned).toBeHidden();
  });

  await test.step("the text outlives its page; one that never ends keeps no other peer from beginning", async () => {
    const [text, second] = [FOR_EVER, new DemoPage(demo.page, 1)];
    await demo.handler.fill(text);
    await demo.page.goto("/");
    await expect(demo.handler).toHaveValue(text);
    await demo.loaded();
    await second.loaded();
    await expect(demo.handlerStatus).toContainText("The actor does not answer.");
    await expect(second.kill).toBeEnabled();
  });
});

test("what is changed while Python loads counts once it is there, and the page says so", async ({ page }) => {
  // The visitor is as quick as can be: in the moment at which the worker is told of it.
  await page.addInitScript(() => {
    // which would load what is held up here
    Object.defineProperty(Navigator.prototype, "serviceWorker", { value: undefined });
    const post = Worker.prototype.postMessage;
    /** @type {unknown[]} */
    const paces = [];
    Object.assign(globalThis, { paces });
    /** @param {any[]} parameters */
    Worker.prototype.postMessage = function (...parameters) {
      Reflect.apply(post, this, parameters);
      const { request, arguments: given } = parameters[0];
      if (request !== "setPace") return;
      if (paces.push(...given) > 1) return;
      /** @type {HTMLInputElement} */ (document.querySelector('[data-part="mended"]')).click();
      const pace = /** @type {HTMLInputElement} */ (document.querySelector("#pace"));
      pace.value = "0";
      pace.dispatchEvent(new Event("change"));
    };
  });
  let goOn = () => {};
  const applied = new Promise((resolve) => void (goOn = () => resolve(undefined)));
  await page.route(/\/handler\.py$/, (route) => applied.then(() => route.continue()));
  await page.goto("/?peers=1");
  await demo.handler.fill("async def handle(message):\n    return 'as it is now'");
  await demo.apply.click();
  await expect(demo.handlerStatus).toHaveText("Peer 1 takes it once Python is loaded.");
  goOn();
  await expect(demo.handlerStatus).toHaveText("Applied: the next messages are handled by it.");
  expect(await page.evaluate("paces")).toEqual([50, 0]);
  await page.getByRole("button", { name: "Poison" }).click();
  await demo.finished(1);
  await expect(demo.log.first()).toContainText("as it is now");
});

test("the ledger notices what is lost and what is doubled", async ({ page }) => {
  await demo.openPaused();
  await demo.type("one");
  await demo.type("two");
  await expect(demo.balance).toContainText("Stored 2 = 0 done + 2 waiting");
  await page.evaluate(async () => {
    /** @type {typeof import("../../js/index.js")} */
    const { openMailbox } = await import(/** @type {string} */ ("/js/index.js"));
    const inbox = await openMailbox("demo");
    await inbox.ackMany((await inbox.dequeue()).map(({ id }) => id));
    await inbox.close();
  });
  await expect(demo.balance).toContainText("+ 2 gone: discarded or purged by hand, or lost.");
  await page.evaluate(async () => {
    /** @type {typeof import("../../js/index.js")} */
    const { openMailbox } = await import(/** @type {string} */ ("/js/index.js"));
    const done = await openMailbox("demo-done");
    const record = { sender: new Uint8Array(), payload: new TextEncoder().encode(`${crypto.randomUUID()} 1 words: 1`) };
    await done.enqueueMany([record, record, record]);
    await done.close();
  });
  await expect(demo.balance).toContainText("which is 1 more than were stored.");
  await expect(demo.audit).toContainText("3 done, 2 of them twice.");
});

test("where the server is gone the page says what to do, and goes on when it is back", async ({
  page,
  consoleErrors,
}) => {
  await page.addInitScript(() => {
    // which would have kept them
    Object.defineProperty(Navigator.prototype, "serviceWorker", { value: undefined });
  });
  await page.route(/\/actor\.py$/, (route) => route.fulfill({ status: 404 }));
  await page.route(/\/pyodide-lock\.json$/, (route) => route.abort());
  await page.goto("/?peers=1");
  await expect(demo.handlerStatus).toContainText(/^The handler can't be shown\. Check .* Then load the page again\./);
  await expect(demo.handlerStatus).toContainText("actor.py cannot be loaded: 404");
  await expect(demo.apply).toBeDisabled();
  await expect(demo.problem).toContainText("Python could not be loaded");
  await expect(demo.problem).toContainText("whether the server still runs");
  await expect(demo.problem).toContainText(/pyodide-lock\.json cannot be loaded: /);
  await expect(demo.state).toHaveText("The actor could not start.");
  await demo.type("for later");

  await page.unroute(/\/actor\.py$/);
  await page.unroute(/\/pyodide-lock\.json$/);
  await demo.problem.getByRole("button", { name: "Try again" }).click();
  await expect(demo.problem).toBeHidden();
  await demo.finished(1);
  await expect(demo.log).toContainText("words: 2, characters: 9");
  // the browser's own words for what could not be had
  expect(consoleErrors.splice(0).filter((error) => !/Failed to load resource/.test(error))).toEqual([]);
});

test("without Web Locks and in an insecure context there are two peers that talk", async ({ page }) => {
  await page.addInitScript(() => {
    for (const of of [Navigator.prototype, Crypto.prototype])
      for (const name of ["locks", "serviceWorker", "randomUUID"])
        Object.defineProperty(of, name, { value: undefined });
  });
  await demo.open("/");
  await expect(page.locator(".peer h2")).toHaveText(["Peer 1", "Peer 2"]);
  await demo.type("are you there?");
  await expect(demo.log).toContainText(/words: 3, characters: 14.*Answer.*from peer 2/s);
});

test("a file that does not fit ends in one clear outcome", async ({ page }) => {
  // As a browser that is full does it: what needs much room is refused, what needs little still finds some.
  await page.addInitScript(() => {
    const put = IDBObjectStore.prototype.put;
    let large = 0;
    IDBObjectStore.prototype.put = function (value, key) {
      if (value.byteLength > 10_000 && ++large > 10) throw new DOMException("full on purpose", "QuotaExceededError");
      return put.call(this, value, key);
    };
  });
  await demo.openPaused();
  await demo.choose("lines.txt", `${"long ".repeat(50)}\n`.repeat(5000));
  await expect(demo.notice).toHaveText(/^The storage is full: the first [\d,]+ lines of lines.txt are stored/);
  const stored = /first (?<lines>[\d,]+) lines/.exec((await demo.notice.textContent()) ?? "")?.groups?.lines ?? "";
  await expect(demo.balance).toContainText(`Stored ${stored} = 0 done + ${stored} waiting`);
  await demo.type("small enough");
  await expect(demo.balance).toContainText("Nothing is lost.");
});

test("a flood that has failed says how far it got, and the next one goes to whom it is for", async ({ page }) => {
  await page.addInitScript(() => {
    const put = IDBObjectStore.prototype.put;
    let large = 0;
    IDBObjectStore.prototype.put = function (value, key) {
      const isFull = value.byteLength > 5000 && ++large > 5 && large < 100;
      if (isFull) throw new DOMException("full on purpose", "QuotaExceededError");
      return put.call(this, value, key);
    };
    Object.assign(globalThis, { makeRoom: () => void (large = 100) });
  });
  const second = new DemoPage(page, 1);
  await demo.openPaused("/");
  await second.pause.click();
  await demo.to.selectOption("");
  await demo.flood.click();
  await expect(demo.notice).toHaveText(
    /^The storage is full: [\d,]+ of the flood's 10,000 messages are stored, the rest is not\. Let the actor work/,
  );
  const stored = /full: (?<stored>[\d,]+) of/.exec((await demo.notice.textContent()) ?? "")?.groups?.stored ?? "";
  await expect(demo.flood).toBeEnabled();
  await page.evaluate("makeRoom()");
  await demo.to.selectOption({ index: 1 });
  await demo.flood.click();
  await expect(demo.notice).toHaveText("The flood of 10,000 messages is stored.");
  await expect(demo.others.first()).toContainText("sent 10,000,");
  await expect(demo.balance).toHaveText(
    `Stored ${stored} = 0 done + ${stored} waiting + 0 dead letters. Nothing is lost.`,
  );
});

test("thousands of dead letters are redriven and deleted in a few transactions", async ({ page }) => {
  // Each takes a few requests of the storage, and as many transactions for each thousand.
  const count = 2000;
  await page.addInitScript(() => {
    const counts = { writing: 0 };
    Object.assign(globalThis, { counts });
    const transaction = IDBDatabase.prototype.transaction;
    IDBDatabase.prototype.transaction = function (stores, mode, options) {
      if (mode === "readwrite") counts.writing++;
      return transaction.call(this, stores, mode, options);
    };
  });
  const writing = () => page.evaluate(() => /** @type {any} */ (globalThis).counts.writing);
  const kill = () =>
    page.evaluate(async (count) => {
      /** @type {typeof import("../../js/index.js")} */
      const { openMailbox } = await import(/** @type {string} */ ("/js/index.js"));
      const inbox = await openMailbox("demo");
      for (let killed = 0; killed < count; killed += 1000) {
        const claimed = await inbox.dequeue({ limit: 1000 });
        await Promise.all(claimed.map(({ id }) => inbox.deadLetter(id, "on purpose")));
      }
      await inbox.close();
    }, count);
  await demo.openPaused();
  await demo.flood.click();
  await expect(demo.notice).toHaveText("The flood of 10,000 messages is stored.");
  await kill();
  await demo.counts({ queued: 10_000 - count, dead: count });
  let before = await writing();
  await demo.part("redrive").click();
  await demo.counts({ queued: 10_000, dead: 0 });
  expect((await writing()) - before).toBeLessThan(count / 20);
  await kill();
  await demo.counts({ queued: 10_000 - count, dead: count });
  before = await writing();
  await demo.startOver();
  expect((await writing()) - before).toBeLessThan(count / 20);
});

test("a storage that fails is announced once, not at every look", async ({ page }) => {
  await demo.openPaused();
  await page.evaluate(() => {
    const counts = { looks: 0, changes: 0 };
    Object.assign(globalThis, { counts });
    IDBDatabase.prototype.transaction = () => {
      counts.looks++;
      throw new DOMException("gone on purpose", "InvalidStateError");
    };
    const problem = /** @type {HTMLElement} */ (document.querySelector('[data-part="problem"]'));
    new MutationObserver(() => counts.changes++).observe(problem, {
      attributes: true,
      characterData: true,
      childList: true,
      subtree: true,
    });
  });
  await expect(demo.problem).toBeVisible();
  const counts = () => page.evaluate(() => /** @type {any} */ (globalThis).counts);
  const { looks, changes } = await counts();
  await expect.poll(async () => (await counts()).looks).toBeGreaterThan(looks + 10);
  expect((await counts()).changes).toBe(changes);
});

/**
 * Notes what the page shows while Python loads.
 * @param {Page} page before it is opened
 */
async function watchLoading(page) {
  await page.addInitScript(() => {
    /** @type {{text: string, value: number, max: number}[]} */
    const seen = [];
    Object.assign(globalThis, { seen });
    document.addEventListener("DOMContentLoaded", () => {
      new MutationObserver(() => {
        const text = document.querySelector('[data-part="loading-text"]')?.textContent;
        const progress = document.querySelector("progress");
        if (text && progress) seen.push({ text, value: progress.value, max: progress.max });
      }).observe(/** @type {HTMLElement} */ (document.getElementById("peers")), {
        attributes: true,
        childList: true,
        subtree: true,
      });
    });
  });
  return () =>
    page.evaluate(
      () =>
        /** @type {{seen: {text: string, value: number, max: number}[]}} */ (/** @type {unknown} */ (globalThis)).seen,
    );
}
