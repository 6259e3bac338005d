/** Asks before something is deleted for good. */

import { button, html, setChildren, setText } from "./dom.js";

export class ConfirmDialog {
  #title = html("h2", { id: "question-title" });
  #text = html("p", { id: "question-text" });
  #yes = html("button", { type: "submit", value: "yes", class: "danger" });
  #no = button("Cancel", () => this.element.close("no"), { autofocus: true });

  constructor() {
    const form = html(
      "form",
      { method: "dialog" },
      this.#title,
      this.#text,
      html("div", { class: "buttons" }, this.#no, this.#yes),
    );
    this.element = html("dialog", { "aria-labelledby": "question-title", "aria-describedby": "question-text" }, form);
  }

  /**
   * @param {string} title @param {(Node | string)[]} text @param {string} yes the label of the button that does it
   * @returns {Promise<boolean>}
   */
  async ask(title, text, yes) {
    if (this.element.open) return false;
    setText(this.#title, title);
    setChildren(this.#text, ...text);
    setText(this.#yes, yes);
    this.element.returnValue = "";
    this.element.showModal();
    await new Promise((resolve) => this.element.addEventListener("close", resolve, { once: true }));
    return this.element.returnValue === "yes";
  }

  dismiss() {
    if (this.element.open) this.element.close("no");
  }
}
