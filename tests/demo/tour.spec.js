// The guided tour, from its first step to its last.

import { DemoPage, expect, lines, test } from "./demo-page.js";

/** @import { Page } from "@playwright/test" */

/** @type {DemoPage} */
let demo;

test.beforeEach(({ page }) => {
  demo = new DemoPage(page);
});

test("the tour shows everything, and nothing is lost or doubled on the way", async ({ page, context }) => {
  await demo.open("/?flood=2000");
  const tour = new TourCard(page);
  await page.getByRole("button", { name: "Take the tour" }).click();

  await tour.at(1, "A message's way", "counters");
  await expect(tour.news).toContainText("The actor has answered");
  await demo.finished(1);
  await expect(demo.texts()).toHaveText(["hello from the tour"]);

  await tour.next();
  await tour.at(2, "a death in the middle", "counters");
  await expect(tour.news).toHaveText("All of it is done.");
  await demo.finished(2_001);

  await tour.next();
  await tour.at(3, "The ledger", "ledger");
  await expect(tour.news).toContainText("The sum is right");

  await tour.next();
  await tour.at(4, "A handler that crashes", "log-panel");
  await expect(tour.news).toHaveText("It was handled at its third delivery.");
  await expect(demo.texts().first()).toContainText("crash!");
  await demo.finished(2_002);
  await expect(demo.audit).toContainText("Messages were handed out again");

  await tour.next();
  await tour.at(5, "Poison", "inspector");
  await expect(tour.news).toContainText("among the dead letters");
  await expect(demo.inspector.getByRole("tab", { name: "Dead letters" })).toHaveAttribute("aria-selected", "true");
  await expect(demo.inspector.locator(".detail")).toContainText("ValueError: the handler has a mistake");
  await demo.counts({ queued: 0, inflight: 0, done: 2_002, dead: 1 });
  await expect(demo.balance).toContainText("+ 1 dead letter. Nothing is lost.");

  await tour.next();
  await tour.at(6, "Mended", "inspector");
  await expect(tour.news).toContainText("Nothing is dead any more.");
  await demo.finished(2_003);

  await tour.next();
  await tour.at(7, "Two peers", "counters");
  await expect(tour.news).toHaveText("Peer 2 has answered.");
  // what comes from here on is looked at, and handles nothing
  await demo.withoutPython(context);
  const opened = context.waitForEvent("page");
  await tour.extra.click();
  await expect(demo.others.nth(1)).toContainText("peer 3");
  await (await opened).close();

  await tour.next();
  await tour.at(8, "Your own handler", "code");

  await tour.next();
  await tour.at(9, "Leave and come back", "counters");
  await tour.extra.click();

  await tour.at(10, "Everything is where it was", "ledger");
  await demo.finished(2_003);
  await tour.next();
  await expect(tour.card).toBeHidden();
});

test.describe("without what keeps the page, which the tour above goes through", () => {
  test.use({ serviceWorkers: "block" });

  test("the tour that begins amid others says that its own message is answered, and not before", async ({ page }) => {
    const count = 500;
    await page.goto("/?peers=1");
    // not so quick that nobody sees it wait
    await demo.setPace(200);
    await demo.loaded();
    await demo.pauseActor();
    await demo.choose("lines.txt", lines(count));
    await expect(demo.notice).toHaveText("500 lines of lines.txt stored.");
    const tour = new TourCard(page);
    await page.getByRole("button", { name: "Take the tour" }).click();
    await expect(tour.news).toHaveText("It waits for its turn: others were sent before it.");
    await expect(tour.news).toContainText("The actor has answered");
    expect(await demo.number("done"), "all that was sent before it").toBeGreaterThan(count / 2);
  });

  test("the tour goes by the keyboard, back too, and keeps out of the way", async ({ page }) => {
    await page.emulateMedia({ reducedMotion: "reduce" });
    await page.setViewportSize({ width: 320, height: 700 });
    await demo.openPaused("/");
    await demo.type(`a line without end ${"x".repeat(300)}`);
    const tour = new TourCard(page);
    await page.locator("#tour-start").press("Enter");
    await tour.at(1, "A message's way", "counters");
    await expect(tour.nextButton).toBeFocused();
    expect(await sticksOut(page)).toEqual([]);

    for (let step = 2; step <= 10; step++) {
      await page.keyboard.press(step % 2 === 0 ? "Enter" : "ArrowRight");
      await tour.at(step, "", null);
      await tour.inSight(`step ${step}`);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    await tour.inSight("the last step on a wide page");
    await page.keyboard.press("ArrowLeft");
    await tour.at(9, "Leave and come back", "counters");
    await page.keyboard.press("ArrowLeft");
    await tour.at(8, "Your own handler", "code");
    await tour.inSight("the code on a wide page");
    await expect(demo.apply, "beside the card there is room for all of it").toBeInViewport({ ratio: 1 });
    await page.setViewportSize({ width: 320, height: 700 });
    await page.keyboard.press("Escape");
    await expect(tour.card).toBeHidden();
    await expect(page.locator(".shown")).toHaveCount(0);
    await expect(page.locator("#tour-start")).toBeFocused();
    expect(await sticksOut(page)).toEqual([]);
  });

  test("what the tour shows makes room for a card that grows, and for itself", async ({ page }) => {
    await page.addInitScript(() => {
      // as after a reload at the step before it; not on the blank page before it, where Firefox has no storage
      if (isSecureContext) sessionStorage.setItem("pymailbox-demo-tour", "7");
    });
    await page.emulateMedia({ reducedMotion: "no-preference" });
    await page.setViewportSize({ width: 320, height: 700 });
    await demo.withoutPython();
    await page.goto("/?peers=1");
    await demo.usable();
    const tour = new TourCard(page);
    await tour.at(8, "Your own handler", "code");
    await tour.inSight("what is higher than its room");
    await page.locator("#code").evaluate((code) => code.scrollTo(0, 50));
    await tour.news.evaluate((news) => void (news.textContent = "Two lines of news, as an act says how it went."));
    await tour.inSight("when the card has grown");
    expect(await page.locator("#code").evaluate(({ scrollTop }) => scrollTop), "scrolled by the visitor").toBe(50);

    await page.keyboard.press("ArrowRight");
    await tour.at(9, "Leave and come back", "counters");
    await tour.inSight("what fits");
    await demo.part("counters").evaluate((counters) => {
      counters.insertAdjacentHTML("beforeend", `<div style="height: 600px"></div>`);
    });
    await tour.inSight("when it has grown");
  });
});

class TourCard {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.card = page.getByRole("dialog");
    this.news = page.locator("#tour-news");
    this.extra = page.locator("#tour-extra");
    this.nextButton = page.locator("#tour-next");
  }

  /** @param {number} step @param {string} title a part of it @param {string | null} part the id of what is shown */
  async at(step, title, part) {
    await expect(this.page.locator("#tour-count")).toHaveText(`${step} of 10`);
    await expect(this.page.locator("#tour-title")).toContainText(title);
    await expect(this.page.locator(".shown")).toHaveCount(1);
    if (part !== null) await expect(this.page.locator(`.shown:is(#${part}, [data-part="${part}"])`)).toBeVisible();
  }

  /** Waits until what is shown has come to rest above the card, all of it, and so is the card. @param {string} what */
  async inSight(what) {
    let before = "";
    await expect
      .poll(async () => {
        const rooms = await this.page.evaluate(roomsOfTour);
        const after = String(Object.values(rooms));
        const rests = after === before;
        before = after;
        return rests && rooms.seen > 40 && rooms.covered <= 0 && rooms.cardCutOff <= 0 ? "in sight" : rooms;
      }, what)
      .toBe("in sight");
  }

  next() {
    return this.nextButton.click();
  }
}

/** In pixels; a negative one of what is covered or cut off says how far it is from that. */
function roomsOfTour() {
  const [part, card] = [".shown", "#tour"].map((name) =>
    /** @type {Element} */ (document.querySelector(name)).getBoundingClientRect(),
  );
  return {
    seen: Math.min(part.right > card.left ? card.top : innerHeight, part.bottom) - Math.max(0, part.top),
    covered: Math.min(part.bottom - card.top, part.right - card.left),
    cardCutOff: Math.max(-card.top, card.bottom - innerHeight),
  };
}

/** What is cut off by its parent, or sticks out of it. @param {Page} page */
const sticksOut = (page) =>
  page.evaluate(() =>
    Array.from(document.querySelectorAll("body *:not(option)"), (element) => {
      const parent = /** @type {Element} */ (element.parentElement).getBoundingClientRect();
      const { left, right, width } = element.getBoundingClientRect();
      return width > 1 && (left < parent.left - 1 || right > parent.right + 1) ? element.outerHTML.slice(0, 80) : "";
    }).filter((found) => found !== ""),
  );
