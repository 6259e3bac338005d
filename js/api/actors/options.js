/** What `consume` takes, checked. */

import { checkCount, checkFlag, checkFunction, checkOptions, checkPeriod, checkSignal } from "../validate.js";
import { checkRetryPolicy } from "./retry.js";

/**
 * @typedef {object} CheckedOptions
 * @property {import("../values.js").Handler} handler
 * @property {number} concurrency
 * @property {boolean} orderedBySender
 * @property {Required<import("../values.js").RetryPolicy>} retry
 * @property {number | undefined} timeout milliseconds
 * @property {AbortSignal | undefined} signal
 */

const NAMES = ["concurrency", "orderedBySender", "retry", "timeout", "signal"];

/** @param {unknown} handler @param {unknown} options @returns {CheckedOptions} */
export function checkConsumeOptions(handler, options) {
  const { concurrency = 1, orderedBySender, retry, timeout, signal } = checkOptions(options, "options", NAMES);
  const checked = checkFunction("handler", handler);
  if (/Generator/.test(Object.prototype.toString.call(checked)))
    throw new TypeError("handler must not be a generator: calling it would not run it");
  return {
    handler: /** @type {import("../values.js").Handler} */ (checked),
    concurrency: checkCount("concurrency", concurrency),
    orderedBySender: checkFlag("orderedBySender", orderedBySender, false),
    retry: checkRetryPolicy(retry),
    timeout: timeout === undefined ? undefined : checkPeriod("timeout", timeout),
    signal: checkSignal(signal),
  };
}
