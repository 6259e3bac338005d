/** The list of the last messages that the actor has handled, and of the answers that came from other peers. */

import { visible } from "../js/inspector/escape.js";

/** @import { Entry } from "./types.js" */

const LENGTH = 50;

/** @type {Record<Entry["kind"], string>} */
const TAGS = { normal: "Normal", high: "High", back: "Came back", failed: "Failed", answer: "Answer" };

/**
 * Puts messages on top of the list and lets the oldest go.
 * @param {HTMLElement} list
 * @param {Entry[]} entries oldest first
 */
export function addToLog(list, entries) {
  list.prepend(...entries.slice(-LENGTH).reverse().map(entry));
  while (list.childElementCount > LENGTH) list.lastElementChild?.remove();
}

/** @param {Entry} entry */
function entry({ from, kind, text, result }) {
  const item = document.createElement("li");
  const isBlank = text.trim() === "";
  const about = part("div", "about", "");
  about.append(part("span", "sender", `from ${visible(from)}`), part("span", "result", result));
  item.append(
    part("span", isBlank ? "text blank" : "text", isBlank ? "(a blank line)" : text),
    part("span", `tag ${kind}`, TAGS[kind]),
    about,
  );
  return item;
}

/**
 * An element with text in it; text only, since it comes from a message.
 * @param {string} tag
 * @param {string} className
 * @param {string} text
 */
function part(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.dir = "auto";
  element.textContent = text;
  return element;
}
