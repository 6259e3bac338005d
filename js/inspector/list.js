/**
 * A page of messages as a table: one row each, kept while its message is there, so that the focus stays where it is.
 */

import { html, isolated, setAttributes, setText } from "./dom.js";
import { HOLDERS } from "./facts.js";
import { line, lineOf } from "./preview.js";
import * as format from "./format.js";

/** @typedef {import("./facts.js").Item} Item */
/** @typedef {import("./tabs.js").Kind} Kind */

/**
 * @typedef
 * {{row: HTMLTableRowElement, opener: HTMLButtonElement, age: HTMLElement, due: HTMLElement, reason: HTMLElement,
 *   holder: HTMLElement, deliveries: HTMLElement, item: Item}}
 * Row
 */

export class MessageList {
  #caption = html("caption");
  #heads = {
    age: html("th", { scope: "col", class: "age" }, "Age"),
    reason: html("th", { scope: "col", class: "reason" }, "Reason"),
  };
  #body = html("tbody");
  /** In order. @type {Row[]} */
  #rows = [];
  /** The id of the row that the Tab key reaches. */
  #reachable = "";
  #selected = "";
  #onOpen;

  /** @param {(item: Item, byKeyboard: boolean) => void} onOpen */
  constructor(onOpen) {
    this.#onOpen = onOpen;
    const head = html(
      "tr",
      {},
      this.#heads.age,
      html("th", { scope: "col", class: "sender" }, "Sender"),
      html("th", { scope: "col", class: "preview" }, "Message"),
      this.#heads.reason,
      html("th", { scope: "col", class: "holder" }, "Held by"),
      html("th", { scope: "col", class: "size" }, "Size"),
      html("th", { scope: "col", class: "deliveries" }, "Handed out"),
    );
    this.element = html("table", {}, this.#caption, html("thead", {}, head), this.#body);
    this.#body.addEventListener("keydown", (event) => this.#key(event));
  }

  get isEmpty() {
    return this.#rows.length === 0;
  }

  /** The listed message at a position, or the last before it. @param {number} index @returns {Item | undefined} */
  near(index) {
    return this.#rows[Math.min(index, this.#rows.length - 1)]?.item;
  }

  /** The position of a message; -1 if it is not listed. @param {string} id */
  indexOf(id) {
    return this.#rows.findIndex(({ item }) => item.record.id === id);
  }

  /** @param {Item[]} items @param {string} caption @param {Kind} kind */
  show(items, caption, kind) {
    setText(this.#caption, caption);
    setText(this.#heads.age, kind === "dead" ? "Died" : "Age");
    setAttributes(this.element, { class: kind });
    const focused = this.#rows.findIndex(({ opener }) => opener.matches(":focus"));
    const before = new Map(this.#rows.map((row) => [row.item.record.id, row]));
    this.#rows = items.map((item) => {
      const row = before.get(item.record.id) ?? this.#made(item);
      row.item = item;
      setText(row.reason, item.letter === undefined ? "" : lineOf(item.letter.reason));
      setText(row.holder, item.held === undefined ? "" : HOLDERS[item.held]);
      setText(row.deliveries, `${format.number(item.record.deliveryCount)}×`);
      return row;
    });
    // rows that stay must not be moved, or they would lose the focus
    const staying = new Set(this.#rows.map(({ row }) => row));
    for (const row of [...this.#body.rows]) if (!staying.has(row)) row.remove();
    this.#rows.forEach(({ row }, i) => {
      if (this.#body.rows[i] !== row) this.#body.insertBefore(row, this.#body.rows[i] ?? null);
    });
    if (this.indexOf(this.#reachable) === -1) this.#reachable = this.near(Math.max(0, focused))?.record.id ?? "";
    if (focused !== -1 && !this.#rows.some(({ opener }) => opener.matches(":focus"))) this.focus(this.#reachable);
    this.#mark();
    this.tick();
  }

  /** Updates what changes with time. */
  tick() {
    const now = Date.now();
    for (const { age, due, item } of this.#rows) {
      const { dueAt } = item.record;
      setText(age, format.age(bornOf(item), now));
      setText(due, dueAt === undefined ? "" : format.until(dueAt, now));
      setAttributes(due, { title: dueAt && `Not handed out before ${format.moment(dueAt)}` });
    }
  }

  /** @param {string} id of the message that is shown in full; "" for none */
  select(id) {
    this.#selected = id;
    if (this.indexOf(id) !== -1) this.#reachable = id;
    this.#mark();
  }

  /** @param {string} id @returns {boolean} whether it is listed */
  focus(id) {
    const row = this.#rows.find(({ item }) => item.record.id === id);
    row?.opener.focus();
    return row !== undefined;
  }

  #mark() {
    for (const { row, opener, item } of this.#rows) {
      const { id } = item.record;
      setAttributes(opener, {
        tabindex: id === this.#reachable ? 0 : -1,
        "aria-expanded": String(id === this.#selected),
      });
      row.classList.toggle("selected", id === this.#selected);
    }
  }

  /** @param {Item} item @returns {Row} */
  #made(item) {
    const { sender, payload, priority } = item.record;
    const opener = html("button", { type: "button", class: "open" }, isolated(line(payload)));
    const urgent = priority === "high" ? [html("span", { class: "tag high" }, "high")] : [];
    const due = html("span", { class: "tag due" });
    const age = html("time", { datetime: isoOf(bornOf(item)), title: format.moment(bornOf(item)) });
    const reason = isolated("");
    const holder = html("td", { class: "holder" });
    const deliveries = html("td", { class: "deliveries" });
    const row = html(
      "tr",
      {},
      html("td", { class: "age" }, age),
      html("td", { class: "sender" }, isolated(line(sender))),
      html("td", { class: "preview" }, html("div", {}, ...urgent, due, opener)),
      html("td", { class: "reason" }, reason),
      holder,
      html("td", { class: "size" }, format.size(payload.length)),
      deliveries,
    );
    const made = { row, opener, age, due, reason, holder, deliveries, item };
    row.addEventListener("click", (event) => {
      // a click made with the keyboard has no count
      const byKeyboard = event.detail === 0;
      this.#onOpen(made.item, byKeyboard);
    });
    return made;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const at = this.#rows.findIndex(({ opener }) => opener === event.target);
    const last = this.#rows.length - 1;
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: last }[event.key];
    if (at === -1 || to === undefined) return;
    event.preventDefault();
    this.#reachable = this.#rows[Math.min(Math.max(to, 0), last)].item.record.id;
    this.#mark();
    this.focus(this.#reachable);
  }
}

/** The time that a message's age counts from. @param {Item} item */
const bornOf = ({ record, letter }) => letter?.diedAt ?? record.createdAt;

/** @param {Date} moment */
const isoOf = (moment) => (Number.isNaN(moment.getTime()) ? undefined : moment.toISOString());
