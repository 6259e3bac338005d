/** Lines over the last minutes as SVG, and the same in words. */

import { html, setAttributes, setText, svg } from "./dom.js";
import { WINDOW } from "./samples.js";

const WIDTH = 600;
const HEIGHT = 100;

/** Milliseconds between changes of the words for readers who cannot see the lines. */
const CALM = 10_000;

/** @typedef {import("./samples.js").Point} Point */

export class Chart {
  #title;
  #labels;
  #format;
  #picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #lines;
  #area = svg("path", { class: "area" });
  #most = html("span", { class: "most" });
  /** @type {HTMLElement[]} */
  #values = [];
  #spokenAt = -Infinity;

  /**
   * @param {string} title @param {string[]} labels of the lines, at most two
   * @param {(value: number) => string} format of a value
   */
  constructor(title, labels, format) {
    this.#title = title;
    this.#labels = labels;
    this.#format = format;
    this.#lines = labels.map((_, i) => svg("path", { class: `line line-${i}` }));
    const grid = [0, 0.5, 1].map((part) => svg("path", { class: "grid", d: `M0 ${part * HEIGHT}H${WIDTH}` }));
    this.#picture.append(...grid, this.#area, ...this.#lines);
    const legend = labels.map((label, i) => {
      const value = html("b", {}, "0");
      this.#values.push(value);
      return html("span", { class: `key key-${i}` }, `${label} `, value);
    });
    this.element = html(
      "figure",
      { class: "chart" },
      html("figcaption", {}, html("span", { class: "title" }, title), html("span", { class: "legend" }, ...legend)),
      html("div", { class: "plot" }, this.#most, this.#picture),
      html("div", { class: "axis", "aria-hidden": "true" }, html("span", {}, "2 minutes ago"), html("span", {}, "now")),
    );
    this.draw([], 0);
  }

  /** @param {Point[]} points in the order of time @param {number} now by their clock */
  draw(points, now) {
    const known = points.flatMap(({ values }) => values ?? []);
    const top = roundUp(Math.max(0, ...known));
    /** @param {number} at */
    const x = (at) => Math.max(0, (1 - (now - at) / WINDOW) * WIDTH);
    /** @param {number} value */
    const y = (value) => (1 - value / top) * HEIGHT;
    this.#lines.forEach((line, i) => setAttributes(line, { d: pathOf(points, i, x, y) }));
    setAttributes(this.#area, { d: areaOf(points, x, y) });
    const last = points.at(-1)?.values ?? this.#labels.map(() => 0);
    this.#values.forEach((value, i) => setText(value, this.#format(last[i])));
    setText(this.#most, this.#format(top));
    if (performance.now() - this.#spokenAt < CALM) return;
    if (points.length > 0) this.#spokenAt = performance.now();
    const told = this.#labels.map((label, i) => {
      const most = Math.max(0, ...points.map(({ values }) => values?.[i] ?? 0));
      return `${label}: now ${this.#format(last[i])}, at most ${this.#format(most)}`;
    });
    setAttributes(this.#picture, { "aria-label": `${this.#title} over the last 2 minutes. ${told.join(". ")}.` });
  }
}

/**
 * @param {Point[]} points @param {number} i which line @param {(at: number) => number} x
 * @param {(value: number) => number} y
 */
function pathOf(points, i, x, y) {
  let path = "";
  let begun = false;
  for (const { at, values } of points) {
    if (values !== undefined) path += `${begun ? "L" : "M"}${x(at).toFixed(1)} ${y(values[i]).toFixed(1)}`;
    begun = values !== undefined;
  }
  return path;
}

/**
 * The area under the first line.
 * @param {Point[]} points @param {(at: number) => number} x @param {(value: number) => number} y
 */
function areaOf(points, x, y) {
  let path = "";
  /** @type {number | undefined} */
  let last;
  const end = () => (last === undefined ? "" : `L${last.toFixed(1)} ${HEIGHT}Z`);
  for (const { at, values } of points) {
    if (values === undefined) {
      path += end();
      last = undefined;
      continue;
    }
    if (last === undefined) path += `M${x(at).toFixed(1)} ${HEIGHT}`;
    path += `L${x(at).toFixed(1)} ${y(values[0]).toFixed(1)}`;
    last = x(at);
  }
  return path + end();
}

/** The next round number: 1, 2 or 5 followed by zeros; at least 5. @param {number} value */
function roundUp(value) {
  if (value <= 5) return 5;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * unit).find((round) => round >= value) ?? value;
}
