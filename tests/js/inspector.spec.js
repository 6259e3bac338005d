// What a visitor sees and does in <mailbox-inspector>.

import { Inspector, bury, enqueue, expect, test } from "./inspector-page.js";

const MARKUP = '<img src="x" onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>';

/** How many handles live, according to their locks. @param {import("@playwright/test").Page} page */
const holders = (page) =>
  page.evaluate(
    async () =>
      (await navigator.locks.query()).held?.filter(({ name }) => name?.startsWith("pymailbox/holder/")).length,
  );

test("looking creates no mailbox, claims nothing, and finds one that is opened later", async ({ page }) => {
  const inspector = new Inspector(page, "later");
  await inspector.show();
  await expect(inspector.region).toContainText("There is no mailbox with this name here yet.");
  expect(await page.evaluate(() => pymailbox.listMailboxes())).toEqual([]);
  await enqueue(page, "later", ["one", "two"]);
  await inspector.counts({ queued: 2, inflight: 0, dead: 0 });
  await expect(inspector.rows).toHaveCount(2);
  await inspector.rows.first().click();
  await expect(inspector.detail.getByLabel("Payload", { exact: true })).toHaveText("one");
  const deliveries = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("later");
    return (await mailbox.peek()).map(({ deliveryCount }) => deliveryCount);
  });
  expect(deliveries).toEqual([0, 0]);
  await page.evaluate(() => pymailbox.deleteMailbox("later"));
  await expect(inspector.region).toContainText("There is no mailbox with this name here yet.");
});

test("counts and messages follow what happens", async ({ page }) => {
  await enqueue(page, "live", ["a", "b"]);
  const inspector = new Inspector(page, "live");
  await inspector.show();
  await inspector.counts({ queued: 2, inflight: 0, dead: 0 });
  const held = await page.evaluateHandle(async () => {
    const mailbox = await pymailbox.openMailbox("live", { maxDeliveries: 1 });
    await mailbox.enqueue(new Uint8Array(), new Uint8Array(3), { priority: "high" });
    return { mailbox, batch: await mailbox.dequeue({ limit: 2 }) };
  });
  await inspector.counts({ queued: 1, inflight: 2, dead: 0 });
  await expect(inspector.rows).toHaveText([/somebody.*b/]);
  await inspector.tab("In flight").click();
  await expect(inspector.rows).toHaveText([/high.*hex 00 00 00/, /somebody.*a/]);
  await held.evaluate(async ({ mailbox, batch }) => {
    await mailbox.ack(batch[0].id);
    await mailbox.nack(batch[1].id, { error: "on purpose" });
  });
  await inspector.counts({ queued: 1, inflight: 0, dead: 1 });
  await expect(inspector.rows).toHaveCount(0);
  await expect(inspector.region).toContainText("Nothing is in flight.");
});

test("it says who holds a message: this tab, another one, or nobody any more", async ({ page }) => {
  await enqueue(page, "held", ["a", "b", "c"]);
  const inspector = new Inspector(page, "held");
  await inspector.show();
  await inspector.counts({ queued: 3, inflight: 0, dead: 0 });
  await inspector.tab("In flight").click();
  await page.evaluate(async () => {
    // in the inspector's own engine, and in another one in this page, as Python may have loaded
    const other = /** @type {typeof pymailbox} */ (await import(/** @type {string} */ ("/js/index.js")));
    const handles = [await pymailbox.openMailbox("held"), await other.openMailbox("held")];
    for (const handle of handles) await handle.dequeue({ limit: 1 });
    Object.assign(globalThis, { handles });
  });
  const worker = await page.evaluateHandle(async () => {
    // the page's policy does not accept plain text as the address of a script
    const policy = globalThis.trustedTypes?.createPolicy("tests", { createScriptURL: (url) => url });
    const worker = new Worker(policy?.createScriptURL("/holder.js") ?? "/holder.js", { type: "module" });
    await new Promise((resolve) => {
      worker.onmessage = resolve;
      worker.postMessage("held");
    });
    return worker;
  });
  await inspector.counts({ queued: 0, inflight: 3, dead: 0 });
  await expect(inspector.rows.locator(".holder")).toHaveText(["this tab", "this tab", "another tab or worker"]);
  await inspector.rows.nth(2).click();
  const heldBy = inspector.detail.locator("dt", { hasText: "Held by" }).locator("+ dd");
  await expect(heldBy).toHaveText("another tab or worker");
  // it gives nothing back, and nobody here listens for its death
  await worker.evaluate((worker) => worker.terminate());
  await expect(inspector.rows.locator(".holder")).toHaveText(["this tab", "this tab", "nobody: gone"]);
  await expect(heldBy).toHaveText(/^nobody: gone\. It goes back to the queue/);
  await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("held");
    await mailbox.recover();
    await mailbox.close();
  });
  await inspector.counts({ queued: 1, inflight: 2, dead: 0 });
  await expect(inspector.rows.locator(".holder")).toHaveText(["this tab", "this tab"]);
});

test("a message's headers and due time are shown, if it has them", async ({ page }) => {
  await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("told");
    const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text);
    const headers = { "content-type": "text/plain", "\u202ex": "two\nlines" };
    await mailbox.enqueue(bytes("me"), bytes("without"));
    await mailbox.enqueue(bytes("me"), bytes("with"), {
      headers,
      delay: new Date("2099-01-02T03:04:05Z").getTime() - Date.now(),
    });
    await mailbox.close();
  });
  const inspector = new Inspector(page, "told");
  await inspector.show();
  await expect(inspector.rows).toHaveText([/without/, /in [\d,]+ d/]);
  await expect(inspector.rows.locator(".due").first()).toBeHidden();
  await inspector.rows.nth(1).click();
  const headers = inspector.detail.getByRole("region", { name: "Headers" });
  await expect(headers.locator("dt")).toHaveText(["content-type", "⟨U+202E⟩x"]);
  await expect(headers.locator("dd")).toHaveText(["text/plain", /^two\s+lines$/]);
  await expect(inspector.detail.locator("dt", { hasText: "Due" }).locator("+ dd")).toContainText("2099");
  await inspector.rows.first().click();
  await expect(headers).toBeHidden();
  await expect(inspector.detail.locator("dt", { hasText: "Due" })).toHaveCount(0);
});

test("the charts say in words what they draw", async ({ page }) => {
  await enqueue(page, "charts", ["a", "b", "c"]);
  const inspector = new Inspector(page, "charts");
  await inspector.show();
  await expect(
    inspector.region.getByRole("img", { name: /^Depth over the last 2 minutes\. queued: now 3, at most 3\./ }),
  ).toBeVisible();
  await expect(
    inspector.region.getByRole("img", { name: /^Throughput per second over the last 2 minutes\./ }),
  ).toBeVisible();
});

test("nothing in a message is markup", async ({ page }) => {
  await page.evaluate(async (markup) => {
    const bytes = new TextEncoder().encode(markup);
    const mailbox = await pymailbox.openMailbox("markup");
    await mailbox.enqueueMany([1, 2].map(() => ({ sender: bytes, payload: bytes })));
    const [{ id }] = await mailbox.dequeue({ limit: 1 });
    await mailbox.nack(id, { error: markup });
    const [again] = await mailbox.dequeue({ limit: 1 });
    await mailbox.deadLetter(again.id, markup);
  }, MARKUP);
  const inspector = new Inspector(page, "markup");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 1 });
  for (const label of /** @type {const} */ (["Queued", "Dead letters"])) {
    await inspector.tab(label).click();
    // the other tab has one row, too
    await expect(inspector.region.getByRole("table", { name: new RegExp(`^${label}.*, 1–1 of 1`) })).toBeVisible();
    await inspector.rows.first().click();
    await expect(inspector.detail.getByLabel("Payload", { exact: true })).toHaveText(MARKUP);
    for (const mode of ["JSON", "Hex", "Text"]) await inspector.detail.getByRole("radio", { name: mode }).check();
  }
  await expect(inspector.detail.locator(".why")).toContainText(MARKUP);
  await expect(inspector.detail.locator(".traceback")).toHaveText(MARKUP);
  await expect(inspector.element.locator("img, script")).toHaveCount(0);
  expect(await page.evaluate(() => "hacked" in globalThis)).toBe(false);
});

test("invisible characters, and those that turn text around, are always written out", async ({ page }) => {
  // an override, a zero-width space and a control character, whatever is around them
  const tricky = "a\u202ecba\u200b\u0007";
  const name = "tricky \u202eliam";
  await page.evaluate(
    async ([name, tricky]) => {
      const bytes = new TextEncoder().encode(tricky.replace("\u0007", ""));
      const mailbox = await pymailbox.openMailbox(name);
      await mailbox.enqueueMany([1, 2, 3].map(() => ({ sender: bytes, payload: bytes })));
      const [{ id }] = await mailbox.dequeue({ limit: 1 });
      await mailbox.nack(id, { error: tricky });
      const [again] = await mailbox.dequeue({ limit: 2 });
      await mailbox.deadLetter(again.id, tricky);
      Object.assign(globalThis, { mailbox });
    },
    [name, tricky],
  );
  const inspector = new Inspector(page, name);
  await inspector.show();
  const region = page.getByRole("region", { name: "Mailbox tricky ⟨U+202E⟩liam" });
  await expect(region.locator(".count")).toHaveText(["1", "1", "1"]);
  /** All texts and attributes in the element that have such a character. */
  const acting = () =>
    inspector.element.evaluate(({ shadowRoot }) => {
      const found = [];
      const walker = document.createTreeWalker(/** @type {ShadowRoot} */ (shadowRoot));
      for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
        const texts = node instanceof Element ? [...node.attributes].map(({ value }) => value) : [node.nodeValue ?? ""];
        found.push(...texts.filter((text) => /[\u202e\u200b\u0007]/.test(text)).map((text) => JSON.stringify(text)));
      }
      return found;
    });
  const rows = region.locator("tbody tr");
  const detail = region.locator(".detail");
  for (const label of /** @type {const} */ (["Queued", "In flight", "Dead letters"])) {
    await region.getByRole("tab", { name: label }).click();
    await expect(region.getByRole("table", { name: new RegExp(label.toLowerCase(), "i") })).toBeVisible();
    await rows.first().click();
    for (const mode of ["JSON", "Hex", "Text"]) {
      await detail.getByRole("radio", { name: mode }).check();
      expect(await acting()).toEqual([]);
    }
  }
  await expect(rows.locator(".reason")).toHaveText("a⟨U+202E⟩cba⟨U+200B⟩⟨U+0007⟩");
  await expect(detail.locator(".why")).toHaveText("Reason: a⟨U+202E⟩cba⟨U+200B⟩⟨U+0007⟩");
  for (const button of ["Purge…", "Discard all…"]) {
    await region.getByRole("button", { name: button }).click();
    await expect(region.getByRole("dialog")).toContainText("“tricky ⟨U+202E⟩liam”");
    expect(await acting()).toEqual([]);
    await page.keyboard.press("Escape");
    await expect(region.getByRole("dialog")).toBeHidden();
  }
  await inspector.element.evaluate((element) => element.setAttribute("name", "sqlite:///\u202e"));
  await expect(page.getByRole("alert")).toContainText("⟨U+202E⟩");
  expect(await acting()).toEqual([]);
});

test("where a look shows only some, as with large messages, the next one goes on behind them", async ({ page }) => {
  await enqueue(page, "parts", ["a", "b", "c", "d", "e", "f"]);
  await bury(page, "parts", "on purpose");
  await enqueue(page, "parts", ["g", "h", "i", "j", "k", "l"]);
  await page.evaluate(() => {
    const { prototype } = pymailbox.Mailbox;
    const { peek, deadLetters } = prototype;
    prototype.peek = async function (options) {
      return (await peek.call(this, options)).slice(0, 4);
    };
    prototype.deadLetters = async function (options) {
      return (await deadLetters.call(this, options)).slice(0, 4);
    };
  });
  const inspector = new Inspector(page, "parts");
  await inspector.show();
  await inspector.counts({ queued: 6, inflight: 0, dead: 6 });
  await expect(inspector.rows).toHaveCount(6);
  await inspector.tab("Dead letters").click();
  await expect(inspector.rows).toHaveCount(6);
  await inspector.button("Discard all…").click();
  await inspector.dialog.getByRole("button", { name: "Discard all" }).click();
  await inspector.counts({ queued: 6, inflight: 0, dead: 0 });
});

test("dead letters are redriven and discarded, one by one and all together", async ({ page }) => {
  const error = "Traceback (most recent call last):\nValueError: poison";
  await enqueue(
    page,
    "letters",
    Array.from({ length: 130 }, (_, i) => `message ${i}`),
  );
  await bury(page, "letters", error);
  const inspector = new Inspector(page, "letters");
  await inspector.show();
  await inspector.counts({ queued: 0, inflight: 0, dead: 130 });
  await inspector.tab("Dead letters").click();
  await expect(inspector.range).toHaveText("1–25 of 130");
  await inspector.rows.nth(1).click();
  await expect(inspector.detail.locator(".why")).toHaveText("Reason: 1 of at most 1 deliveries failed");
  await expect(inspector.detail.locator(".traceback")).toHaveText(error);
  await expect(inspector.detail).toContainText("message 128");
  await inspector.button("Redrive").click();
  await inspector.counts({ queued: 1, inflight: 0, dead: 129 });
  // the next one takes its place
  await expect(inspector.detail.getByLabel("Payload", { exact: true })).toHaveText("message 127");
  await inspector.button("Discard").click();
  await inspector.counts({ queued: 1, inflight: 0, dead: 128 });
  await inspector.button("Redrive all").click();
  await inspector.counts({ queued: 129, inflight: 0, dead: 0 });
  await expect(inspector.outcome).toHaveText("Redriven: 128 dead letters.");
  // the oldest are handed out first
  const order = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("letters");
    return (await mailbox.peek({ limit: 1000 })).map(({ payload }) => new TextDecoder().decode(payload));
  });
  const rest = Array.from({ length: 130 }, (_, i) => `message ${i}`).filter((text) => !/ 12[78]$/.test(text));
  expect(order).toEqual(["message 128", ...rest]);

  await bury(page, "letters", error);
  await inspector.counts({ queued: 0, inflight: 0, dead: 129 });
  await inspector.button("Discard all…").click();
  await inspector.dialog.getByRole("button", { name: "Cancel" }).click();
  await inspector.counts({ queued: 0, inflight: 0, dead: 129 });
  await inspector.button("Discard all…").click();
  await inspector.dialog.getByRole("button", { name: "Discard all" }).click();
  await inspector.counts({ queued: 0, inflight: 0, dead: 0 });
  await expect(inspector.region).toContainText("There are no dead letters.");
});

test("one is announced as one", async ({ page }) => {
  await enqueue(page, "single", ["a"]);
  await bury(page, "single", "on purpose");
  await enqueue(page, "single", ["b"]);
  const inspector = new Inspector(page, "single");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 1 });
  await inspector.button("Purge…").click();
  await expect(inspector.dialog).toContainText("1 queued message just now");
  await inspector.dialog.getByRole("button", { name: "Delete all queued messages" }).click();
  await expect(inspector.outcome).toHaveText("Deleted 1 queued message.");
  await inspector.tab("Dead letters").click();
  await inspector.button("Discard all…").click();
  await expect(inspector.dialog).toContainText("1 dead letter of the mailbox “single” is deleted for good.");
  await inspector.dialog.getByRole("button", { name: "Discard all" }).click();
  await expect(inspector.outcome).toHaveText("Discarded: 1 dead letter.");
  await enqueue(page, "single", ["c", "d"]);
  await bury(page, "single", "on purpose");
  await inspector.counts({ queued: 0, inflight: 0, dead: 2 });
  await inspector.button("Discard all…").click();
  await expect(inspector.dialog).toContainText("2 dead letters of the mailbox “single” are deleted for good.");
  await inspector.dialog.getByRole("button", { name: "Cancel" }).click();
});

test("purge deletes what is queued, after a question", async ({ page }) => {
  await enqueue(page, "purge", ["a", "b", "c"]);
  const inspector = new Inspector(page, "purge");
  await inspector.show();
  await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("purge");
    Object.assign(globalThis, { mailbox });
    await mailbox.dequeue({ limit: 1 });
  });
  await inspector.counts({ queued: 2, inflight: 1, dead: 0 });
  await inspector.button("Purge…").click();
  await expect(inspector.dialog).toHaveAccessibleName("Purge this mailbox?");
  await expect(inspector.dialog).toContainText("2 queued messages just now");
  await page.keyboard.press("Escape");
  await expect(inspector.dialog).toBeHidden();
  await inspector.counts({ queued: 2, inflight: 1, dead: 0 });
  await inspector.button("Purge…").click();
  await inspector.dialog.getByRole("button", { name: "Delete all queued messages" }).click();
  await inspector.counts({ queued: 0, inflight: 1, dead: 0 });
  await expect(inspector.outcome).toHaveText("Deleted 2 queued messages.");
  await expect(inspector.button("Purge…")).toBeDisabled();
});

test("the keyboard alone reaches everything", async ({ page }) => {
  await enqueue(page, "keys", ["one", "two", "three"]);
  await bury(page, "keys", "on purpose");
  await enqueue(page, "keys", ["alpha", "beta"]);
  const inspector = new Inspector(page, "keys");
  await inspector.show();
  await inspector.counts({ queued: 2, inflight: 0, dead: 3 });
  await expect(inspector.rows).toHaveCount(2);
  /** @param {string[]} keys */
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await press("Tab");
  await expect(inspector.button("Pause")).toBeFocused();
  await press("Tab", "Tab");
  await expect(inspector.tab("Queued")).toBeFocused();
  await press("ArrowLeft");
  await expect(inspector.tab("Dead letters")).toBeFocused();
  await expect(inspector.tab("Dead letters")).toHaveAttribute("aria-selected", "true");
  await expect(inspector.rows).toHaveCount(3);
  await press("Tab");
  await expect(inspector.region.getByRole("tabpanel", { name: "Dead letters" })).toBeFocused();
  await press("Tab", "Tab", "Tab");
  await expect(inspector.rows.nth(0).getByRole("button")).toBeFocused();
  await press("ArrowDown", "ArrowDown", "ArrowDown");
  await expect(inspector.rows.nth(2).getByRole("button")).toBeFocused();
  await press("ArrowUp", "Enter");
  await expect(inspector.detail.getByRole("heading", { name: "Dead letter" })).toBeFocused();
  await press("Escape");
  await expect(inspector.detail).toBeHidden();
  await expect(inspector.rows.nth(1).getByRole("button")).toBeFocused();
  await press("Enter", "Tab", "Tab");
  await expect(inspector.button("Redrive")).toBeFocused();
  await press("Enter");
  await inspector.counts({ queued: 3, inflight: 0, dead: 2 });
  // the next letter is shown, and the focus stays with it
  await expect(inspector.detail.getByLabel("Payload", { exact: true })).toHaveText("one");
  await expect(inspector.detail.getByRole("heading", { name: "Dead letter" })).toBeFocused();
});

test("everything has a name and a role, and every reference has a target", async ({ page }) => {
  await enqueue(
    page,
    "roles",
    Array.from({ length: 30 }, (_, i) => `${i}`),
  );
  const inspector = new Inspector(page, "roles");
  await inspector.show();
  await expect(inspector.rows).toHaveCount(25);
  await inspector.rows.first().click();
  await expect(inspector.region.getByRole("tablist", { name: "Messages by status" })).toBeVisible();
  await expect(inspector.region.getByRole("tabpanel")).toHaveAccessibleName(/^Queued/);
  await expect(inspector.region.getByRole("table")).toHaveAccessibleName(/^Queued messages, 1–25 of 30/);
  await expect(inspector.region.getByRole("columnheader")).toHaveText(["Age", "Sender", "Message", "Size"]);
  await expect(inspector.region.getByRole("region", { name: "Message", exact: true })).toBeVisible();
  await expect(inspector.region.getByRole("group", { name: "Payload as" }).getByRole("radio")).toHaveCount(3);
  await expect(inspector.region.getByRole("navigation", { name: "Pages" })).toBeVisible();
  for (const button of await inspector.region.getByRole("button").all())
    await expect(button).toHaveAccessibleName(/\w/);
  const dangling = await inspector.element.evaluate(({ shadowRoot }) =>
    ["aria-controls", "aria-labelledby", "aria-describedby"].flatMap((name) =>
      [...(shadowRoot?.querySelectorAll(`[${name}]`) ?? [])].flatMap((element) =>
        (element.getAttribute(name) ?? "")
          .split(" ")
          .filter((id) => shadowRoot?.querySelectorAll(`[id="${id}"]`).length !== 1),
      ),
    ),
  );
  expect(dangling).toEqual([]);
});

test("a list that changes keeps the focus on its message, or near it", async ({ page }) => {
  await enqueue(page, "focus", ["one", "two", "three"]);
  const inspector = new Inspector(page, "focus");
  await inspector.show();
  await expect(inspector.rows).toHaveCount(3);
  await inspector.rows.nth(1).getByRole("button").focus();
  const ack = () =>
    page.evaluate(async () => {
      const mailbox = await pymailbox.openMailbox("focus");
      const [{ id }] = await mailbox.peek({ limit: 1 });
      await mailbox.ack(id);
      await mailbox.close();
    });
  await ack();
  await expect(inspector.rows).toHaveCount(2);
  await expect(inspector.region.getByRole("button", { name: "two" })).toBeFocused();
  await ack();
  await expect(inspector.rows).toHaveCount(1);
  await expect(inspector.region.getByRole("button", { name: "three" })).toBeFocused();
});

test("a backlog of 100,000 is paged through, a page at a time", async ({ page }) => {
  await page.evaluate(async () => {
    const utf8 = new TextEncoder();
    const mailbox = await pymailbox.openMailbox("backlog", { durability: "relaxed" });
    const sender = utf8.encode("flood");
    for (let from = 0; from < 100_000; from += 10_000) {
      await mailbox.enqueueMany(
        Array.from({ length: 10_000 }, (_, i) => ({ sender, payload: utf8.encode(`number ${from + i}`) })),
      );
    }
  });
  const inspector = new Inspector(page, "backlog");
  await inspector.show();
  await inspector.counts({ queued: 100_000, inflight: 0, dead: 0 });
  await expect(inspector.rows).toHaveCount(25);
  await inspector.button("Last page").click();
  await expect(inspector.range).toHaveText("99,976–100,000 of 100,000");
  await expect(inspector.rows.last()).toContainText("number 99999");
  await inspector.button("Previous page").click();
  await expect(inspector.rows.first()).toContainText("number 99950");
  await expect(inspector.rows).toHaveCount(25);
  await inspector.button("First page").click();
  await expect(inspector.rows.first()).toContainText("number 0");
  // there are few elements, however long the backlog
  expect(await inspector.element.evaluate(({ shadowRoot }) => shadowRoot?.querySelectorAll("*").length)).toBeLessThan(
    500,
  );
  await inspector.button("Purge…").click();
  await inspector.dialog.getByRole("button", { name: "Delete all queued messages" }).click();
  await inspector.counts({ queued: 0, inflight: 0, dead: 0 });
});

test("pausing freezes the counts, and resuming catches up", async ({ page }) => {
  await enqueue(page, "pause", ["a"]);
  const inspector = new Inspector(page, "pause");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
  await inspector.button("Pause").click();
  await expect(inspector.button("Pause")).toHaveAttribute("aria-pressed", "true");
  await expect(inspector.region.locator(".state")).toHaveText("Paused");
  await enqueue(page, "pause", ["b"]);
  // another one, which is not paused, has seen it twice, but this one has not
  await inspector.show();
  await expect(inspector.region.nth(1).locator(".count").first()).toHaveText("2");
  await enqueue(page, "pause", ["c"]);
  await expect(inspector.region.nth(1).locator(".count").first()).toHaveText("3");
  await expect(inspector.region.nth(0).locator(".count").first()).toHaveText("1");
  await inspector.element.nth(1).evaluate((element) => element.remove());
  await inspector.button("Pause").click();
  await inspector.counts({ queued: 3, inflight: 0, dead: 0 });
});

test("a message that dies while it is listed is a dead letter with its reason", async ({ page }) => {
  await enqueue(page, "dying", ["frail"]);
  const inspector = new Inspector(page, "dying");
  await inspector.show();
  await expect(inspector.rows).toHaveCount(1);
  // so that it is still listed as queued
  await inspector.button("Pause").click();
  await bury(page, "dying", "on purpose");
  await inspector.tab("Dead letters").click();
  await expect(inspector.rows.locator(".reason")).toHaveText("1 of at most 1 deliveries failed");
});

test("it looks only while it can be seen", async ({ page }) => {
  await enqueue(page, "unseen", ["a"]);
  const inspector = new Inspector(page, "unseen");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
  await page.evaluate(() => {
    const far = document.createElement("mailbox-inspector");
    far.name = "unseen";
    far.style.marginBlockStart = "3000px";
    document.body.append(far);
  });
  await enqueue(page, "unseen", ["b"]);
  await inspector.counts({ queued: 2, inflight: 0, dead: 0 }, 0);
  await expect.poll(() => holders(page)).toBe(1);
  await inspector.element.nth(1).scrollIntoViewIfNeeded();
  await inspector.counts({ queued: 2, inflight: 0, dead: 0 }, 1);
  // the first may end a look that was under way when it was scrolled away, but begins no other
  for (const queued of [3, 4]) {
    await enqueue(page, "unseen", ["more"]);
    await inspector.counts({ queued, inflight: 0, dead: 0 }, 1);
  }
  await expect(inspector.region.first().locator(".count").first()).toHaveText(/^[23]$/);
  await expect(inspector.region.first().locator(".state")).toHaveText("Paused");
  await expect(inspector.region.nth(1).locator(".state")).toHaveText("Live");
  // back in view it catches up, and only then says that it is live
  await inspector.element.first().scrollIntoViewIfNeeded();
  await inspector.counts({ queued: 4, inflight: 0, dead: 0 }, 0);
  await expect(inspector.region.first().locator(".state")).toHaveText("Live");
  await expect(inspector.region.nth(1).locator(".state")).toHaveText("Paused");
});

test("it is paused while its document is hidden, and catches up when that is shown again", async ({ page }) => {
  await enqueue(page, "hidden", ["a"]);
  const inspector = new Inspector(page, "hidden");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
  const state = inspector.region.locator(".state");
  await expect(state).toHaveText("Live");
  // Playwright cannot hide a page, so the page says that it is hidden
  const become = (/** @type {string} */ visibility) =>
    page.evaluate((visibility) => {
      Object.defineProperty(document, "visibilityState", { value: visibility, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, visibility);
  await become("hidden");
  await expect(state).toHaveText("Paused");
  await expect(inspector.button("Pause")).toHaveAttribute("aria-pressed", "false");
  await enqueue(page, "hidden", ["b"]);
  await become("visible");
  await inspector.counts({ queued: 2, inflight: 0, dead: 0 });
  await expect(state).toHaveText("Live");
  // if it was paused by hand, it stays paused
  await inspector.button("Pause").click();
  await become("hidden");
  await become("visible");
  await expect(state).toHaveText("Paused");
  await inspector.button("Pause").click();
  await expect(state).toHaveText("Live");
});

test("long words make nothing wider than a narrow screen", async ({ page }) => {
  const long = "x".repeat(3000);
  await enqueue(page, "n".repeat(200), [long, `{"${long}":"${long}"}`], long);
  await bury(page, "n".repeat(200), long);
  await page.setViewportSize({ width: 320, height: 800 });
  const inspector = new Inspector(page, "n".repeat(200));
  await inspector.show();
  await inspector.counts({ queued: 0, inflight: 0, dead: 2 });
  await inspector.tab("Dead letters").click();
  for (const row of [0, 1]) {
    await inspector.rows.nth(row).click();
    for (const mode of ["Text", "JSON", "Hex"]) {
      await inspector.detail.getByRole("radio", { name: mode }).check();
      const { scrollWidth, clientWidth } = await page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        return { scrollWidth, clientWidth };
      });
      expect(scrollWidth).toBeLessThanOrEqual(clientWidth);
    }
  }
});

test("seven digits fit into a tab of a narrow screen", async ({ page }) => {
  await enqueue(page, "digits", ["a"]);
  const inspector = new Inspector(page, "digits");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
  await inspector.element.evaluate(async ({ shadowRoot }) => {
    const { Tabs } = await import("/pymailbox/inspector/tabs.js");
    const tabs = new Tabs(() => {});
    tabs.count("queued", 8_888_888, "8,888,888 high");
    tabs.count("inflight", 8_888_888);
    tabs.count("dead", 8_888_888);
    shadowRoot?.querySelector("[role=tablist]")?.replaceWith(tabs.element);
  });
  for (const width of [1280, 390, 320]) {
    await page.setViewportSize({ width, height: 800 });
    const broken = await inspector.element.evaluate(({ shadowRoot }) =>
      [...(shadowRoot?.querySelectorAll("[role=tab] > *") ?? [])].flatMap((part) => {
        const range = document.createRange();
        range.selectNodeContents(part);
        const lines = [...range.getClientRects()];
        const tab = /** @type {HTMLElement} */ (part.parentElement).getBoundingClientRect();
        const isInside = lines.every(({ left, right }) => left >= tab.left && right <= tab.right);
        return isInside && (part.localName !== "b" || lines.length === 1) ? [] : [part.textContent];
      }),
    );
    expect(broken).toEqual([]);
  }
});

test("another name is another mailbox, and the error for a bad one says what to do", async ({ page }) => {
  await enqueue(page, "first", ["a"]);
  await enqueue(page, "second", ["b", "c"]);
  const inspector = new Inspector(page, "first");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
  await inspector.element.evaluate((element) => element.setAttribute("name", "indexeddb://second"));
  const second = new Inspector(page, "indexeddb://second");
  await second.counts({ queued: 2, inflight: 0, dead: 0 });
  await inspector.element.evaluate((element) => element.setAttribute("name", "sqlite:///file.db"));
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("is not in IndexedDB");
  await expect(alert.getByRole("button", { name: "Look again" })).toBeVisible();
  await inspector.element.evaluate((element) => element.removeAttribute("name"));
  await expect(page.getByRole("region", { name: "Mailbox inspector" })).toContainText("give it the name of one");
  await inspector.element.evaluate((element) => element.setAttribute("name", "first"));
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
});

test("the error for unreadable storage says what to do, and it looks again on request", async ({ page }) => {
  await enqueue(page, "broken", ["a"]);
  const inspector = new Inspector(page, "broken");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
  await page.evaluate(async () => {
    const database = await new Promise((resolve) => {
      const request = indexedDB.open("pymailbox");
      request.onsuccess = () => resolve(request.result);
    });
    database.transaction("mailboxes", "readwrite").objectStore("mailboxes").put("no state", "broken");
    database.close();
  });
  const alert = inspector.region.getByRole("alert");
  await expect(alert).toContainText('The record of mailbox "broken" cannot be read');
  await expect(alert).toContainText("Deleting the mailbox makes its name usable again.");
  await page.evaluate(() => pymailbox.deleteMailbox("broken"));
  await enqueue(page, "broken", ["b", "c"]);
  await alert.getByRole("button", { name: "Look again" }).click();
  await inspector.counts({ queued: 2, inflight: 0, dead: 0 });
  await expect(alert).toBeHidden();
});

test("a removed inspector releases its mailbox, and looks again when it is put back", async ({ page }) => {
  await enqueue(page, "gone", ["a"]);
  const inspector = new Inspector(page, "gone");
  await inspector.show();
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
  await expect.poll(() => holders(page)).toBe(1);
  const element = await inspector.element.elementHandle();
  await element?.evaluate((element) => /** @type {Element} */ (element).remove());
  await expect.poll(() => holders(page)).toBe(0);
  await page.evaluate((element) => document.body.append(/** @type {Element} */ (element)), element);
  await inspector.counts({ queued: 1, inflight: 0, dead: 0 });
});
