/** What parts of the page share. */

/** @import { Failure } from "./types.js" */

/**
 * @template {HTMLElement | SVGElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function element(id, type) {
  const found = /** @type {unknown} */ (document.getElementById(id));
  if (!(found instanceof type)) throw new Error(`The page has no ${type.name} with the id ${id}`);
  return found;
}

/** Text for what was thrown. @param {unknown} error @returns {Failure} */
export function failureOf(error) {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  return { name: error.name, message: error.message };
}
