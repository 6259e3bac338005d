/** The inspector of the actor's mailbox, which comes with pymailbox. */

import "../js/inspector/index.js";
import { page } from "./page.js";

/** @param {string} name of the mailbox */
export function openInspector(name) {
  const inspector = document.createElement("mailbox-inspector");
  inspector.name = name;
  page.inspectorPlace.append(inspector);
}

/** Does what a visitor would do to see the newest dead letter in full. @returns {boolean} whether it is listed yet */
export function openDeadLetter() {
  const inside = page.inspectorPlace.querySelector("mailbox-inspector")?.shadowRoot;
  /** @type {HTMLElement | null | undefined} */
  const tab = inside?.querySelector("#tab-dead");
  tab?.click();
  const letter = inside?.querySelector("table.dead tbody tr");
  letter?.dispatchEvent(new MouseEvent("click", { bubbles: true, detail: 1 }));
  return letter instanceof Element;
}
