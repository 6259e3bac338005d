/** When a message whose handler failed, or asked for it, is tried again; and when it is given up. */

import { checkBetween, checkCount, checkDelay, checkFlag, checkFunction, checkOptions } from "../validate.js";

/** @typedef {import("../values.js").RetryPolicy} RetryPolicy */

/**
 * Thrown by a handler: its message is a dead letter at once, with this text as its reason. If it has a `cause`, that
 * follows with its stack, after an empty line.
 */
export class Reject extends Error {
  /** @override */
  name = "Reject";
}

/**
 * Thrown by a handler: its message comes again, `delay` milliseconds from now; without a `delay`, when the retry policy
 * says.
 *
 * That is a failed delivery, unless `failed` is false ("not now", as for a server that says "come again in 30 s"): then
 * the hand-out is taken back, `deliveryCount` stays as it is, and the message never becomes a dead letter for it.
 */
export class Retry extends Error {
  /** @override */
  name = "Retry";

  /** Milliseconds; undefined for what the policy says. @readonly @type {number | undefined} */
  delay;

  /** Whether it is a failed delivery. @readonly @type {boolean} */
  failed;

  /**
   * @param {number} [delay] milliseconds
   * @param {{failed?: boolean | undefined, cause?: unknown}} [options] `failed`, true by default; `cause`: what went
   * wrong, for the log and for a dead letter
   * @throws {TypeError | RangeError} an argument is invalid; the message names it
   */
  constructor(delay, options) {
    const { failed, ...more } = checkOptions(options, "options", ["failed", "cause"]);
    const wanted = delay === undefined ? undefined : checkDelay(delay);
    const counts = checkFlag("failed", failed, true);
    const when = wanted === undefined ? "when its policy says" : `in ${wanted} ms`;
    super(`again ${when}${counts ? "" : "; this delivery does not count"}`, more);
    this.delay = wanted;
    this.failed = counts;
  }
}

/** @internal @param {unknown} policy @returns {Required<RetryPolicy>} */
export function checkRetryPolicy(policy) {
  const names = ["firstDelay", "factor", "longestDelay", "jitter", "maxDeliveries", "random"];
  const {
    firstDelay = 1000,
    factor = 2,
    longestDelay = 300_000,
    jitter = 0.5,
    maxDeliveries = Infinity,
    random = Math.random,
  } = checkOptions(policy, "retry", names);
  return Object.freeze({
    firstDelay: checkDelay(firstDelay, "retry.firstDelay"),
    factor: checkBetween("retry.factor", factor, 1, Number.MAX_VALUE),
    longestDelay: checkDelay(longestDelay, "retry.longestDelay"),
    jitter: checkBetween("retry.jitter", jitter, 0, 1),
    maxDeliveries: maxDeliveries === Infinity ? Infinity : checkCount("retry.maxDeliveries", maxDeliveries),
    random: /** @type {() => number} */ (checkFunction("retry.random", random)),
  });
}

/**
 * Milliseconds until a message that failed at its `deliveryCount`-th delivery is handed out again.
 * @internal
 * @param {Required<RetryPolicy>} policy @param {number} deliveryCount
 */
export function delayAfter({ firstDelay, factor, longestDelay, jitter, random }, deliveryCount) {
  // no pause times an endless factor is not a number
  const grown = firstDelay === 0 ? 0 : firstDelay * factor ** Math.max(0, deliveryCount - 1);
  const longest = Math.min(grown, longestDelay);
  return longest - longest * jitter * random();
}
