/**
 * Elements, made without markup: text stays text, and invisible characters in it are written out. Everything that the
 * inspector shows goes through here, so no text from strangers can act on the page.
 */

import { visible } from "./escape.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Record<string, string | number | boolean | undefined>} Attributes `true` for an attribute without a value,
 * `false` for none
 */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Attributes} [attributes] @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function html(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  setAttributes(made, attributes);
  setChildren(made, ...children);
  return made;
}

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag @param {Attributes} [attributes] @param {Node[]} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

/** @param {Element} element @param {Attributes} attributes */
export function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) element.removeAttribute(name);
    else {
      const text = value === true ? "" : visible(String(value));
      if (element.getAttribute(name) !== text) element.setAttribute(name, text);
    }
  }
}

/**
 * Writes only changes, so that nothing is laid out or read aloud needlessly.
 * @param {Node} node @param {string} text
 */
export function setText(node, text) {
  const seen = visible(text);
  if (node.textContent !== seen) node.textContent = seen;
}

/** @param {Element} element @param {(Node | string)[]} children replace those that it has */
export function setChildren(element, ...children) {
  element.replaceChildren(...children.map((child) => (typeof child === "string" ? visible(child) : child)));
}

/** Text from strangers, which cannot change the order of the text around it. @param {string} text */
export const isolated = (text) => html("bdi", {}, text);

/** A button. @param {string} text @param {() => void} pressed @param {Attributes} [attributes] */
export function button(text, pressed, attributes = {}) {
  const made = html("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", pressed);
  return made;
}
