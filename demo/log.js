/** The list of the last messages that the actor has handled, and of the answers that came from other peers. */

import { visible } from "../js/inspector/escape.js";
import { numberText } from "./format.js";

/** @import { Entry } from "./types.js" */

const LENGTH = 50;

/** @type {Record<Entry["kind"], string>} */
const TAGS = { normal: "Normal", high: "High", back: "Came back", failed: "Failed", answer: "Answer" };

/** Entries that are alike and share a line. @typedef {{entry: Entry, times: number}} Run */

/** What is on top of each list. @type {WeakMap<HTMLElement, Run>} */
const tops = new WeakMap();

/**
 * Puts messages on top of the list and lets the oldest go. Answers that are alike, one after the other, share a line.
 * @param {HTMLElement} list
 * @param {Entry[]} entries oldest first
 */
export function addToLog(list, entries) {
  // none after a start over
  const top = list.firstElementChild ? tops.get(list) : undefined;
  const times = top?.times;
  /** @type {Run[]} */
  const runs = [];
  let last = top;
  for (const entry of entries) {
    if (last && isAlike(entry, last.entry)) last.times++;
    else runs.push((last = { entry, times: 1 }));
  }
  if (top && top.times !== times) list.firstElementChild?.replaceWith(lineOf(top));
  list.prepend(...runs.slice(-LENGTH).reverse().map(lineOf));
  while (list.childElementCount > LENGTH) list.lastElementChild?.remove();
  if (last) tops.set(list, last);
}

/** @param {Entry} entry @param {Entry} before */
const isAlike = (entry, before) => entry.kind === "answer" && JSON.stringify(entry) === JSON.stringify(before);

/** @param {Run} run */
function lineOf({ entry: { from, kind, text, result }, times }) {
  const item = document.createElement("li");
  const isBlank = text.trim() === "";
  const about = part("div", "about", "");
  about.append(part("span", "sender", `from ${visible(from)}`), part("span", "result", result));
  item.append(
    part("span", isBlank ? "text blank" : "text", isBlank ? "(a blank line)" : text),
    part("span", `tag ${kind}`, times === 1 ? TAGS[kind] : `${numberText(times)} × ${TAGS[kind]}`),
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
