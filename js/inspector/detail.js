/** One message in full: what is known about it, its payload in three forms, and why it died. */

import { button, html, isolated, setChildren, setText } from "./dom.js";
import { factsOf, headersOf } from "./facts.js";
import { likelyMode, shown, whole } from "./preview.js";

/** @typedef {import("./facts.js").Fact} Fact */
/** @typedef {import("./facts.js").Item} Item */
/** @typedef {import("./preview.js").Mode} Mode */

/** @type {[Mode, string][]} */
const MODES = [
  ["text", "Text"],
  ["json", "JSON"],
  ["hex", "Hex"],
];

/**
 * @typedef {object} Actions
 * @property {(item: Item) => void} redrive
 * @property {(item: Item) => void} discard
 * @property {() => void} close
 */

export class Detail {
  #actions;
  #title = html("h3", { tabindex: -1, id: "detail-title" }, "Message");
  #notice = html("p", { class: "note", role: "status" });
  #facts = html("dl", { class: "facts" });
  #headers = html("dl", { class: "facts headers" });
  #headersPart = html("section", { "aria-labelledby": "headers-title" });
  #death = html("div", { class: "death" });
  #payload = html("pre", { tabindex: 0, role: "group", "aria-label": "Payload", dir: "auto" });
  #note = html("p", { class: "note" });
  /** @type {Map<Mode, HTMLInputElement>} */
  #modes = new Map();
  #buttons = html("div", { class: "buttons" });
  /** The values that each part of the view shows. @type {Map<string, string>} */
  #drawn = new Map();
  /** @type {Item | undefined} */
  #item;

  /** @param {Actions} actions */
  constructor(actions) {
    this.#actions = actions;
    const modes = MODES.map(([mode, label]) => {
      const input = html("input", { type: "radio", name: "mode", value: mode });
      input.addEventListener("change", () => this.#showPayload(mode));
      this.#modes.set(mode, input);
      return html("label", {}, input, html("span", {}, label));
    });
    setChildren(this.#headersPart, html("h4", { id: "headers-title" }, "Headers"), this.#headers);
    this.element = html(
      "section",
      { class: "detail", "aria-labelledby": "detail-title", hidden: true },
      html("div", { class: "bar" }, this.#title, button("Close", actions.close, { class: "quiet" })),
      this.#notice,
      this.#buttons,
      this.#death,
      html("fieldset", { class: "modes" }, html("legend", {}, "Payload as"), ...modes),
      this.#payload,
      this.#note,
      this.#headersPart,
      this.#facts,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      actions.close();
    });
  }

  /** The message that is shown. */
  get item() {
    return this.#item;
  }

  /** @param {Item} item */
  show(item) {
    const { record, letter } = item;
    this.#item = item;
    this.element.hidden = false;
    setText(this.#title, letter === undefined ? "Message" : "Dead letter");
    setText(this.#notice, "");
    this.#tell(this.#facts, "facts", factsOf(item));
    if (this.#has("message", [record.id, letter?.diedAt])) return;
    const headers = headersOf(record);
    this.#tell(this.#headers, "headers", headers);
    this.#headersPart.hidden = headers.length === 0;
    setChildren(this.#death, ...(letter === undefined ? [] : deathOf(letter.reason, letter.error)));
    setChildren(
      this.#buttons,
      ...(letter === undefined
        ? []
        : [
            button("Redrive", () => this.#actions.redrive(item), { title: "Puts it at the end of the queue, as new" }),
            button("Discard", () => this.#actions.discard(item), { class: "danger", title: "Deletes it for good" }),
          ]),
    );
    const mode = likelyMode(record.payload);
    for (const [each, input] of this.#modes) input.checked = each === mode;
    this.#showPayload(mode);
  }

  /** Says that the message has moved; what was last seen of it stays. */
  leftList() {
    setText(this.#notice, "It is no longer on this page; this is how it was last seen.");
  }

  hide() {
    this.#item = undefined;
    this.#drawn.clear();
    this.element.hidden = true;
  }

  focus() {
    this.#title.focus();
  }

  /**
   * Shows facts, without touching those that stay: somebody may be selecting them.
   * @param {Element} list @param {string} part its name @param {Fact[]} facts
   */
  #tell(list, part, facts) {
    if (this.#has(part, facts)) return;
    setChildren(
      list,
      ...facts.flatMap(([term, value]) => [html("dt", {}, isolated(term)), html("dd", {}, isolated(value))]),
    );
  }

  /**
   * Whether a part of the view already shows these values; from now on it does.
   * @param {string} part @param {unknown} values
   */
  #has(part, values) {
    const text = JSON.stringify(values);
    const same = this.#drawn.get(part) === text;
    this.#drawn.set(part, text);
    return same;
  }

  /** @param {Mode} mode */
  #showPayload(mode) {
    const { text, note } = shown(this.#item?.record.payload ?? new Uint8Array(), mode);
    setText(this.#payload, text);
    this.#payload.classList.toggle("empty", text === "");
    this.#payload.classList.toggle("hex", mode === "hex");
    setText(this.#note, text === "" ? "The payload is empty." : note);
  }
}

/** @param {string} reason @param {string | null} error */
function deathOf(reason, error) {
  const why = html("p", { class: "why" }, html("b", {}, "Reason: "), isolated(whole(reason)));
  if (error === null) return [why];
  return [
    why,
    html("pre", { class: "traceback", tabindex: 0, role: "group", "aria-label": "Error and traceback" }, whole(error)),
  ];
}
