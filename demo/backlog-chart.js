/** How much has waited in the outboxes for the last minute, and when the network was off. */

import { element } from "./page.js";
import { numberText } from "./format.js";

const SECONDS = 60;
/** Of the drawing, as in index.html. */
const HEIGHT = 40;
/** The least that reaches as high as a line gets. */
const FEW = 10;
/** Above it, so that a time without a network is seen behind a full outbox. */
const MARGIN = 8;

const backlog = element("server-backlog", SVGPathElement);
const cutOff = element("server-cut-off", SVGPathElement);
const most = element("server-most", HTMLElement);

export class BacklogChart {
  /** Oldest first. @type {{at: number, waiting: number, offline: boolean}[]} */
  #looks = [];

  /** @param {number} waiting @param {boolean} offline */
  add(waiting, offline) {
    const now = performance.now() / 1000;
    this.#looks.push({ at: now, waiting, offline });
    // one that is older, so that the line begins at the edge
    while (this.#looks.length > 2 && this.#looks[1].at < now - SECONDS) this.#looks.shift();
    this.#draw(now);
  }

  /** @param {number} now */
  #draw(now) {
    const peak = Math.max(...this.#looks.map(({ waiting }) => waiting));
    const top = Math.max(FEW, peak);
    const points = this.#looks.map(({ at, waiting, offline }) => ({
      x: Math.max(0, SECONDS - now + at),
      y: HEIGHT - (HEIGHT - MARGIN) * (waiting / top),
      offline,
    }));
    const line = points.map(({ x, y }) => `L${x.toFixed(2)} ${y.toFixed(2)}`).join("");
    backlog.setAttribute("d", `M${points[0].x.toFixed(2)} ${HEIGHT}${line}V${HEIGHT}Z`);
    const spans = points.slice(1).map(({ x }, before) => ({ from: points[before], to: x }));
    cutOff.setAttribute(
      "d",
      spans
        .map(({ from, to }) => (from.offline ? `M${from.x.toFixed(2)} 0V${HEIGHT}H${to.toFixed(2)}V0Z` : ""))
        .join(""),
    );
    most.textContent = numberText(peak);
  }
}
