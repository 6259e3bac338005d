/** The tabs, following the ARIA pattern: arrow keys move among them, and Tab moves to the chosen panel. */

import { html, setAttributes, setText } from "./dom.js";
import * as format from "./format.js";

/** @typedef {"queued" | "inflight" | "dead"} Kind */

/** @type {[Kind, string][]} */
const KINDS = [
  ["queued", "Queued"],
  ["inflight", "In flight"],
  ["dead", "Dead letters"],
];

export class Tabs {
  /** @type {Kind} */
  chosen = "queued";
  /** @type {Map<Kind, {tab: HTMLButtonElement, count: HTMLElement, more: HTMLElement}>} */
  #tabs = new Map();
  #onChange;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    this.element = html("div", { role: "tablist", "aria-label": "Messages by status" });
    for (const [kind, label] of KINDS) {
      const count = html("b", { class: "count" }, "–");
      const more = html("small");
      const tab = html(
        "button",
        { type: "button", role: "tab", id: `tab-${kind}`, "aria-controls": "panel", class: kind },
        html("span", {}, label),
        " ",
        count,
        " ",
        more,
      );
      tab.addEventListener("click", () => this.choose(kind));
      this.#tabs.set(kind, { tab, count, more });
      this.element.append(tab);
    }
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.#mark();
  }

  /** The id of the chosen tab, which names the panel. */
  get chosenId() {
    return `tab-${this.chosen}`;
  }

  /** @param {Kind} kind */
  choose(kind) {
    if (kind === this.chosen) return;
    this.chosen = kind;
    this.#mark();
    this.#onChange();
  }

  /** @param {Kind} kind @param {number | undefined} count undefined if it is not known @param {string} [more] */
  count(kind, count, more = "") {
    const tab = this.#tabs.get(kind);
    if (tab === undefined) return;
    setText(tab.count, count === undefined ? "–" : format.number(count));
    setText(tab.more, more);
    tab.tab.classList.toggle("some", count !== undefined && count > 0);
    // all are as wide as the longest can become
    const lengths = [...this.#tabs.values()].map(({ count }) => count.textContent.length);
    this.element.style.setProperty("--_characters", String(Math.max(...lengths)));
  }

  #mark() {
    for (const [kind, { tab }] of this.#tabs) {
      const chosen = kind === this.chosen;
      setAttributes(tab, { "aria-selected": String(chosen), tabindex: chosen ? 0 : -1 });
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const at = KINDS.findIndex(([kind]) => kind === this.chosen);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: KINDS.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const [kind] = KINDS[(to + KINDS.length) % KINDS.length];
    this.choose(kind);
    this.#tabs.get(kind)?.tab.focus();
  }
}
