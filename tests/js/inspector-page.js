// The page in which <mailbox-inspector> is tested, under a policy that forbids inline styles and text treated as
// markup.

import { expect, testInSharedWindow } from "./page.js";

export { expect };

/** Tests whose page has both modules loaded; an error in its console fails them. */
export const test = testInSharedWindow.extend({
  page: async ({ page, baseURL }, use) => {
    /** @type {string[]} */
    const errors = [];
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(`${baseURL}/inspector.html`);
    await expect(page.locator("body")).toHaveAttribute("data-ready", "yes");
    const size = page.viewportSize();
    await use(page);
    if (size) await page.setViewportSize(size);
    expect(errors).toEqual([]);
  },
});

/** An inspector in a page, and what a visitor finds in it. */
export class Inspector {
  /** @param {import("@playwright/test").Page} page @param {string} name of its mailbox */
  constructor(page, name) {
    this.page = page;
    this.name = name;
    this.element = page.locator("mailbox-inspector");
    this.region = page.getByRole("region", { name: `Mailbox ${name}` });
    this.tabs = this.region.getByRole("tab");
    this.rows = this.region.getByRole("table").locator("tbody tr");
    this.detail = this.region.locator(".detail");
    this.dialog = this.region.getByRole("dialog");
    this.outcome = this.region.locator(".outcome");
    this.range = this.region.locator(".range");
  }

  /** @param {string} name */
  button(name) {
    return this.region.getByRole("button", { name, exact: true });
  }

  /** @param {"Queued" | "In flight" | "Dead letters"} label */
  tab(label) {
    return this.region.getByRole("tab", { name: label });
  }

  async show() {
    await this.page.evaluate((name) => {
      const inspector = document.createElement("mailbox-inspector");
      inspector.name = name;
      document.body.append(inspector);
    }, this.name);
  }

  /** @param {{queued: number, inflight: number, dead: number}} counts @param {number} [which] of several on the page */
  async counts({ queued, inflight, dead }, which = 0) {
    const texts = [queued, inflight, dead].map((count) => count.toLocaleString("en"));
    await expect(this.region.nth(which).locator(".count")).toHaveText(texts);
  }
}

/**
 * Enqueues texts from one sender.
 * @param {import("@playwright/test").Page} page @param {string} name @param {string[]} payloads
 * @param {string} [sender]
 */
export async function enqueue(page, name, payloads, sender = "somebody") {
  await page.evaluate(
    async ([name, sender, ...payloads]) => {
      const utf8 = new TextEncoder();
      const mailbox = await pymailbox.openMailbox(name);
      await mailbox.enqueueMany(
        payloads.map((payload) => ({ sender: utf8.encode(sender), payload: utf8.encode(payload) })),
      );
      await mailbox.close();
    },
    [name, sender, ...payloads],
  );
}

/**
 * Turns everything queued into dead letters.
 * @param {import("@playwright/test").Page} page @param {string} name @param {string} error
 */
export async function bury(page, name, error) {
  await page.evaluate(
    async ([name, error]) => {
      const mailbox = await pymailbox.openMailbox(name, { maxDeliveries: 1 });
      const batch = await mailbox.dequeue({ limit: 1000 });
      await Promise.all(batch.map(({ id }) => mailbox.nack(id, { error })));
      await mailbox.close();
    },
    [name, error],
  );
}
