/** Bytes from strangers, made readable: as text, as JSON or in hexadecimal. Pure, and bounded whatever their length. */

import { visible } from "./escape.js";
import { number } from "./format.js";

/** The most bytes that are shown as text or JSON. */
export const TEXT_BYTES = 64 * 1024;

/** The most bytes that are shown in hexadecimal. */
export const HEX_BYTES = 8 * 1024;

/** The most bytes or characters that a line of a list is made of. */
const LONGEST_LINE = 240;

/** The most characters of a text that are shown. */
const LONGEST_TEXT = 64 * 1024;

const HEX_COLUMNS = 16;

/** Control characters except tab and line ends: with them it is not text. */
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/;

/** @typedef {"text" | "json" | "hex"} Mode */

/** The mode that shows most of the bytes. @param {Uint8Array} bytes @returns {Mode} */
export function likelyMode(bytes) {
  const text = decoded(bytes, TEXT_BYTES);
  if (text === undefined || CONTROL.test(text)) return "hex";
  return /^\s*[[{]/.test(text) && bytes.length <= TEXT_BYTES && isJson(text) ? "json" : "text";
}

/**
 * Bytes in a mode, with a note if they are not what they seem.
 * @param {Uint8Array} bytes @param {Mode} mode @returns {{text: string, note: string}}
 */
export function shown(bytes, mode) {
  if (mode === "hex") return { text: hex(bytes.subarray(0, HEX_BYTES)), note: cut(bytes, HEX_BYTES) };
  const text = decoded(bytes, TEXT_BYTES);
  if (text === undefined) {
    const loose = new TextDecoder().decode(bytes.subarray(0, TEXT_BYTES));
    return {
      text: visible(loose),
      note: joined("This is not UTF-8: � stands for what is not text.", cut(bytes, TEXT_BYTES)),
    };
  }
  if (mode === "text") return { text: visible(text), note: cut(bytes, TEXT_BYTES) };
  if (bytes.length > TEXT_BYTES) {
    return {
      text: visible(text),
      note: joined("Too long to be shown as JSON, so it is shown as text.", cut(bytes, TEXT_BYTES)),
    };
  }
  return isJson(text)
    ? { text: visible(indented(text)), note: "" }
    : { text: visible(text), note: "This is not JSON, so it is shown as text." };
}

/** Bytes in one short line. @param {Uint8Array} bytes */
export function line(bytes) {
  const text = decoded(bytes, LONGEST_LINE);
  if (text === undefined || CONTROL.test(text)) {
    const first = [...bytes.subarray(0, HEX_COLUMNS)].map(hexByte).join(" ");
    return `hex ${first}${bytes.length > HEX_COLUMNS ? " …" : ""}`;
  }
  return bytes.length > LONGEST_LINE ? `${flat(text)}…` : flat(text);
}

/** A text in one short line. @param {string} text */
export const lineOf = (text) => (text.length > LONGEST_LINE ? `${flat(begin(text, LONGEST_LINE))}…` : flat(text));

/** A text with its line breaks; if it is very long, its beginning and its length. @param {string} text */
export const whole = (text) =>
  text.length > LONGEST_TEXT
    ? `${visible(begin(text, LONGEST_TEXT))}\n… (${number(text.length)} characters)`
    : visible(text);

/** @param {string} text */
const flat = (text) => (text === "" ? "(empty)" : visible(text).replace(/\s+/g, " ").trim() || "(blank)");

/** The first characters of a text, none cut in half. @param {string} text @param {number} limit */
const begin = (text, limit) => text.slice(0, limit).replace(/[\ud800-\udbff]$/, "");

/** Lines of an offset, bytes in hexadecimal, and the ASCII characters. @param {Uint8Array} bytes */
function hex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += HEX_COLUMNS) {
    const row = [...bytes.subarray(at, at + HEX_COLUMNS)];
    const digits = row
      .map(hexByte)
      .join(" ")
      .padEnd(HEX_COLUMNS * 3 - 1);
    const ascii = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits}  ${ascii}`);
  }
  return lines.join("\n");
}

/** @param {number} byte */
const hexByte = (byte) => byte.toString(16).padStart(2, "0");

/** The first bytes as UTF-8; undefined if they are not. @param {Uint8Array} bytes @param {number} limit */
function decoded(bytes, limit) {
  try {
    // a character that is cut off at the end is no error
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, limit), {
      stream: bytes.length > limit,
    });
  } catch {
    return undefined;
  }
}

/** @param {string} text */
function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * JSON with line breaks. Tokens stay as they are: parsing would round long numbers and drop repeated keys.
 * @param {string} json valid
 */
function indented(json) {
  const tokens = json.match(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{},:]|[^\s[\]{},:"]+/g) ?? [];
  let depth = 0;
  let text = "";
  const lineBreak = () => `\n${"  ".repeat(Math.min(depth, 40))}`;
  tokens.forEach((token, i) => {
    if (token === "[" || token === "{") {
      text += token;
      depth += 1;
      if (!isEnd(tokens[i + 1])) text += lineBreak();
    } else if (isEnd(token)) {
      depth -= 1;
      text += isStart(tokens[i - 1]) ? token : lineBreak() + token;
    } else if (token === ",") text += token + lineBreak();
    else text += token === ":" ? ": " : token;
  });
  return text;
}

/** @param {string} token */
const isStart = (token) => token === "[" || token === "{";

/** @param {string} token */
const isEnd = (token) => token === "]" || token === "}";

/** @param {Uint8Array} bytes @param {number} limit */
const cut = (bytes, limit) =>
  bytes.length > limit ? `These are the first ${number(limit)} of ${number(bytes.length)} bytes.` : "";

/** @param {string[]} notes */
const joined = (...notes) => notes.filter((note) => note !== "").join(" ");
