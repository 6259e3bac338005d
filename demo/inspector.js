/** The inspector of the actors' mailboxes, which comes with pymailbox. */

import "../js/inspector/index.js";
import { element } from "./page.js";

/** @import { Peer } from "./types.js" */

const place = element("inspector-place", HTMLElement);
const choice = element("inspected", HTMLSelectElement);

/** @param {Peer[]} peers one of which is looked at */
export function openInspector(peers) {
  const inspector = document.createElement("mailbox-inspector");
  choice.append(...peers.map(({ number, mailbox }) => new Option(`Peer ${number}`, mailbox)));
  choice.addEventListener("change", () => void (inspector.name = choice.value));
  inspector.name = choice.value;
  place.append(inspector);
}

/**
 * Does what a visitor would do to see a mailbox's newest dead letter in full.
 * @param {Peer} peer
 * @returns {boolean} whether it is listed yet
 */
export function openDeadLetter({ mailbox }) {
  if (choice.value !== mailbox) {
    choice.value = mailbox;
    choice.dispatchEvent(new Event("change"));
  }
  const inside = place.querySelector("mailbox-inspector")?.shadowRoot;
  /** @type {HTMLElement | null | undefined} */
  const tab = inside?.querySelector("#tab-dead");
  tab?.click();
  const letter = inside?.querySelector("table.dead tbody tr");
  letter?.dispatchEvent(new MouseEvent("click", { bubbles: true, detail: 1 }));
  return letter instanceof Element;
}
