/** A guided tour: shows one part of the page after the other, says what to look at, and does something there. */

import { element } from "./page.js";
import { rememberTourStep } from "./web-storage.js";

/** @import { TourStep } from "./types.js" */

const card = {
  root: element("tour", HTMLElement),
  count: element("tour-count", HTMLElement),
  title: element("tour-title", HTMLElement),
  text: element("tour-text", HTMLElement),
  news: element("tour-news", HTMLElement),
  back: element("tour-back", HTMLButtonElement),
  extra: element("tour-extra", HTMLButtonElement),
  next: element("tour-next", HTMLButtonElement),
  end: element("tour-end", HTMLButtonElement),
};

/** Pixels around what is shown. */
const MARGIN = 16;
/** Pixels of it that are to be seen on the smallest screen. */
const LEAST = 80;

export class Tour {
  #steps;
  #step = -1;
  /** Steps that do or have done what they do; going back does it no second time. @type {Set<number>} */
  #acted = new Set();
  /** What steps do waits for its turn, however fast the visitor is. */
  #before = Promise.resolve();
  /** @type {HTMLElement | null} */
  #shown = null;
  /** Where it was when it was brought into sight, and where the card was. */
  #placed = "";
  /** What may push it out, or grow in front of it. */
  #resizes = new ResizeObserver(() => this.#keepInSight());
  /** @type {Element | null} */
  #focusedBefore = null;

  /** @param {TourStep[]} steps */
  constructor(steps) {
    this.#steps = steps;
    card.next.addEventListener("click", () => this.#go(this.#step + 1));
    card.back.addEventListener("click", () => this.#go(this.#step - 1));
    card.end.addEventListener("click", () => this.end());
    card.extra.addEventListener("click", () => this.#steps[this.#step]?.extra?.perform());
    for (const grows of [document.body, card.root]) this.#resizes.observe(grows);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#step >= 0 && !event.defaultPrevented) this.end();
    });
    card.root.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowRight") this.#go(this.#step + 1);
      if (key === "ArrowLeft" && this.#step > 0) this.#go(this.#step - 1);
    });
  }

  /** @param {number} [step] where to begin */
  begin(step = 0) {
    this.#focusedBefore = document.activeElement;
    this.#acted = new Set();
    this.#go(step);
  }

  end() {
    this.#highlight(undefined);
    this.#step = -1;
    this.#acted = new Set();
    card.root.hidden = true;
    document.body.classList.remove("touring");
    if (this.#focusedBefore instanceof HTMLElement) this.#focusedBefore.focus();
  }

  /** Has the tour go on after a reload, at the step after this one. */
  goOnAfterReload() {
    rememberTourStep(this.#step + 1);
  }

  /** @param {number} number of a step */
  #go(number) {
    if (number >= this.#steps.length) return this.end();
    const step = this.#steps[number];
    this.#step = number;
    card.root.hidden = false;
    document.body.classList.add("touring");
    card.count.textContent = `${number + 1} of ${this.#steps.length}`;
    card.title.textContent = step.title;
    card.text.textContent = step.text;
    card.news.textContent = "";
    if (number === 0 && document.activeElement === card.back) card.next.focus();
    card.back.disabled = number === 0;
    card.next.textContent = number === this.#steps.length - 1 ? "Finish" : "Next";
    card.end.hidden = number === this.#steps.length - 1;
    card.extra.hidden = step.extra === undefined;
    card.extra.textContent = step.extra?.label ?? "";
    // before it is shown: what the card says of it takes room
    if (!this.#acted.has(number)) this.#act(number);
    this.#highlight(step);
    // What is new is read aloud; Enter goes on.
    if (!card.root.contains(document.activeElement)) card.next.focus({ preventScroll: true });
  }

  /** @param {number} number */
  #act(number) {
    const { act } = this.#steps[number];
    const acted = this.#acted;
    acted.add(number);
    if (act === undefined) return;
    const say = (/** @type {string} */ text) => {
      if (this.#step === number) card.news.textContent = text;
    };
    say("A step before this one is not through yet.");
    this.#before = this.#before.then(async () => {
      // not for a visitor who has left meanwhile
      if (this.#acted !== acted) return;
      say("");
      await act(say);
      // what it did may have made the end move
      if (this.#step === number && this.#steps[number].atEnd) this.#highlight(this.#steps[number]);
    });
  }

  /** @param {TourStep | undefined} step */
  #highlight(step) {
    if (this.#shown !== null) {
      this.#resizes.unobserve(this.#shown);
      this.#shown.classList.remove("shown");
      this.#shown.style.maxHeight = "";
    }
    this.#shown = step?.part ?? null;
    if (this.#shown === null) return;
    this.#shown.classList.add("shown");
    this.#resizes.observe(this.#shown);
    this.#scrollTo(this.#shown);
  }

  /**
   * Brings a part into the room above the card, or beside it; one that is higher than that is scrolled inside.
   * @param {HTMLElement} part
   */
  #scrollTo(part) {
    const place = card.root.getBoundingClientRect();
    const isBeside = part.getBoundingClientRect().right <= place.left;
    const room = isBeside ? innerHeight - 2 * MARGIN : Math.max(LEAST, place.top - 2 * MARGIN);
    const height = part.scrollHeight + part.offsetHeight - part.clientHeight;
    part.style.maxHeight = height > room ? `${room}px` : "";
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    part.scrollIntoView({ block: "start", behavior: calm ? "instant" : "smooth" });
    if (this.#steps[this.#step]?.atEnd) part.scrollTop = part.scrollHeight;
    this.#placed = placeOf(part);
  }

  /** What is above a part may grow after it came into view, and push it out; so may the part itself, and the card. */
  #keepInSight() {
    if (this.#shown !== null && placeOf(this.#shown) !== this.#placed) this.#scrollTo(this.#shown);
  }
}

/** Where a part is on the page, wherever that is scrolled to, and what room it has. @param {HTMLElement} part */
function placeOf(part) {
  const { top, right, height } = part.getBoundingClientRect();
  const { top: above, left } = card.root.getBoundingClientRect();
  return String([top + scrollY, height, right, above, left, innerHeight].map(Math.round));
}
