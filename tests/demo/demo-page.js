// The demo as its tests see it.

import { test as base, expect } from "@playwright/test";

/** @import { Page } from "@playwright/test" */

/** What Firefox says when a worker is killed while it runs. */
const KILLED = /uncaught exception: undefined/;

/** Tests of the demo; each fails if anything in it wrote an error to the console. */
export const test = base.extend(
  /** @type {import("@playwright/test").Fixtures<{consoleErrors: string[]}, {}, import("@playwright/test").PlaywrightTestArgs, import("@playwright/test").PlaywrightWorkerArgs>} */ ({
    consoleErrors: [
      async ({ context }, use) => {
        /** @type {string[]} */
        const errors = [];
        context.on("console", (message) => {
          if (message.type() === "error") errors.push(message.text());
        });
        context.on("weberror", (error) => errors.push(String(error.error())));
        await use(errors);
        expect(
          errors.filter((error) => !KILLED.test(error)),
          "errors in the console",
        ).toEqual([]);
      },
      { auto: true },
    ],
  }),
);

export { expect };

/** For what is over soon: milliseconds between two looks. */
export const OFTEN = { intervals: [50] };

/** A tab with one peer, which has half as much to load. */
const ALONE = "/?peers=1";

/** A peer of a page, by itself the only one. */
export class DemoPage {
  /** @param {Page} page @param {number} [index] of the peer on it */
  constructor(page, index = 0) {
    this.page = page;
    this.peer = page.locator(".peer").nth(index);
    this.state = this.part("state");
    this.to = this.part("to");
    this.message = this.part("message");
    this.high = this.part("high");
    this.send = this.part("send");
    this.flood = this.part("flood");
    this.pause = this.part("pause");
    this.kill = this.part("kill");
    this.balance = this.part("balance");
    this.audit = this.part("audit");
    this.notice = this.part("notice");
    this.returned = this.part("returned");
    this.log = this.part("log").locator("li");
    this.others = this.part("others").locator("li");
    this.problem = this.part("problem");
    this.handler = page.locator("#handler");
    this.apply = page.locator("#apply");
    this.handlerStatus = page.locator("#handler-status");
    this.inspector = page.locator("mailbox-inspector");
  }

  /** @param {string} name */
  part(name) {
    return this.peer.locator(`[data-part="${name}"]`);
  }

  /** Opens the demo and waits until Python is there, with work that takes no time. */
  async open(path = ALONE) {
    await this.page.goto(path);
    await this.setPace(0);
    await this.loaded();
  }

  async loaded() {
    await this.usable();
    await expect(this.part("loading")).toBeHidden();
  }

  /** The mailbox is there, Python need not be. */
  async usable() {
    await expect(this.message).toBeEnabled();
  }

  /**
   * Has Python never come, as where the network is too slow: for what is the page's own, which need not load it. Before
   * the page is opened, or whatever a context opens from now on but for pages `withPython`.
   * @param {Page | import("@playwright/test").BrowserContext} [where]
   */
  async withoutPython(where = this.page) {
    await where.addInitScript(() => {
      const post = Worker.prototype.postMessage;
      /** @param {any[]} parameters */
      Worker.prototype.postMessage = function (...parameters) {
        const isKept = parameters[0].request === "load" && !("withPython" in globalThis);
        if (!isKept) Reflect.apply(post, this, parameters);
      };
    });
  }

  /** Has Python come in this page, though others of its context are without it. Before it is opened. */
  async withPython() {
    await this.page.addInitScript(() => void Object.assign(globalThis, { withPython: true }));
  }

  /** Opens the demo with its actor paused and without Python. */
  async openPaused(path = ALONE) {
    await this.withoutPython();
    await this.page.goto(path);
    await this.setPace(0);
    await this.usable();
    await this.pause.click();
    await expect(this.pause).toHaveAttribute("aria-pressed", "true");
  }

  /** How long work takes. @param {number} milliseconds */
  async setPace(milliseconds) {
    await this.page.locator("#pace").fill(String(milliseconds));
  }

  /** Pauses the actor, and waits until it has nothing in hand. */
  async pauseActor() {
    await this.pause.click();
    await expect(this.state).toHaveText("Paused");
  }

  /** @param {string} text @param {{high?: boolean}} [options] */
  async type(text, { high = false } = {}) {
    await this.high.setChecked(high);
    await this.message.fill(text);
    // What it says of the message before must not be taken for an answer.
    await this.notice.evaluate((notice) => void (notice.textContent = ""));
    await this.message.press("Enter");
    await expect(this.notice).toHaveText("Your message is stored.");
  }

  /** Chooses a file. @param {string} name @param {string | Buffer} content */
  async choose(name, content) {
    await this.part("file").setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from(content) });
  }

  /** Drops a file on the page. @param {string} name @param {string} content */
  async drop(name, content) {
    const dataTransfer = await this.page.evaluateHandle(
      ([name, content]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([content], name, { type: "text/plain" }));
        return transfer;
      },
      [name, content],
    );
    await this.page.dispatchEvent("main", "dragover", { dataTransfer });
    await this.page.dispatchEvent("main", "drop", { dataTransfer });
  }

  /** Starts over, and says yes. */
  async startOver() {
    this.page.once("dialog", (dialog) => void dialog.accept());
    // by the keyboard: the button is below the inspector, and moves when a row there comes or goes
    await this.page.getByRole("button", { name: "Start over" }).press("Enter");
    await expect(this.notice).toHaveText("The mailbox is empty.");
    await this.counts({ queued: 0, inflight: 0, done: 0, dead: 0 });
  }

  /** Waits for the numbers. @param {{queued?: number, inflight?: number, done?: number, dead?: number}} expected */
  async counts(expected) {
    for (const [id, count] of Object.entries(expected)) {
      await expect(this.part(id)).toHaveText(count.toLocaleString("en"));
    }
  }

  /** Waits until all messages are done, each once, and none is missing. @param {number} count */
  async finished(count) {
    const number = count.toLocaleString("en");
    await expect(this.balance).toHaveText(
      `Stored ${number} = ${number} done + 0 waiting + 0 dead letters. Nothing is lost.`,
    );
    await expect(this.audit).toContainText(`${number} done, none of them twice.`);
  }

  /** What the log shows, newest first: the messages' texts. */
  texts() {
    return this.log.locator(".text");
  }

  /** @param {"queued" | "inflight" | "done" | "dead"} id */
  async number(id) {
    const element = this.part(id);
    // Empty until it is known.
    await expect(element).toHaveText(/^[\d,]+$/);
    return Number((await element.textContent())?.replaceAll(",", ""));
  }
}

/** A text of `count` lines. @param {number} count */
export const lines = (count) => Array.from({ length: count }, (_, index) => `line ${index}\n`).join("");
