/** What handlers throw, as text: to be kept with the message, and for the log. */

import { checkFailure } from "../validate.js";

/** Characters. A failure is stored with every retry, so its text must not outgrow the message. */
export const LONGEST_TEXT = 8_000;

/** Characters: a failure may quote a payload of 64 MiB. */
export const LONGEST_LINE = 500;

/** What a handler threw, which may be anything. @typedef {{thrown: unknown}} Failure */

/** A failure with its stack, and what caused it, as it is stored. @param {unknown} thrown */
export function textOf(thrown) {
  let text = textOfOne(thrown);
  const seen = new Set([thrown]);
  for (let cause = causeOf(thrown); cause !== undefined && !seen.has(cause); cause = causeOf(cause)) {
    text += `\ncaused by: ${textOfOne(cause)}`;
    seen.add(cause);
  }
  return shortened(text);
}

/** The text as it is stored, at most `LONGEST_TEXT` characters: the middle is left out. @param {string} text */
export function shortened(text) {
  if (text.length <= LONGEST_TEXT) return text;
  const notice = (/** @type {number} */ count) => `\n… ${count} characters left out …\n`;
  const kept = LONGEST_TEXT - notice(text.length).length;
  const head = Math.floor((2 * kept) / 3);
  return text.slice(0, head) + notice(text.length - kept) + text.slice(text.length - (kept - head));
}

/** Its type and the first line of what it says. @param {unknown} thrown */
export const inShort = (thrown) => firstLine(asText(thrown));

/** The first line of a text, as long as a line of the console may be. @param {string} text */
export function firstLine(text) {
  const [line] = text
    .slice(0, 10 * LONGEST_LINE)
    .trim()
    .split(/[\n\r\u2028\u2029]/, 1);
  return line.length <= LONGEST_LINE ? line : `${line.slice(0, LONGEST_LINE)}…`;
}

/** @param {unknown} thrown */
function causeOf(thrown) {
  try {
    return thrown instanceof Error ? thrown.cause : undefined;
  } catch {
    return undefined; // it has code of its own to tell it
  }
}

/** @param {unknown} thrown @returns {string} */
function textOfOne(thrown) {
  try {
    return checkFailure(thrown instanceof Error ? thrown : asText(thrown)) ?? "";
  } catch {
    return asText(thrown);
  }
}

/** @param {unknown} thrown */
function asText(thrown) {
  try {
    return String(thrown);
  } catch {
    return "something without a text"; // what a handler throws may have none
  }
}
