/** How long a handler may take. */

import { Reject, Retry } from "./retry.js";
import { setTimer } from "./stop.js";

/** @typedef {import("./failures.js").Failure} Failure */

/** Milliseconds that a handler has to end by itself once its signal was aborted. */
export const GRACE = 100;

/** What a timer comes to. */
const OVER = Symbol("over");

/**
 * What a running handler comes to, within its time.
 *
 * When the time is over its signal is aborted. A handler that listens to that is waited for, and may answer with
 * `Reject` or `Retry`. JavaScript cannot end one that does not: it is left behind, or it would hold its place for ever.
 * @param {Promise<Failure | undefined>} running which never rejects @param {number} timeout milliseconds
 * @param {{abort: (reason: unknown) => void}} context
 * @returns {Promise<{failure: Failure | undefined, isLeftBehind: boolean}>}
 */
export async function within(running, timeout, context) {
  const first = await Promise.race([running, over(timeout, running)]);
  if (first !== OVER) return { failure: first, isLeftBehind: false };
  const thrown = new DOMException(`the handler took longer than ${timeout} ms and was aborted`, "TimeoutError");
  context.abort(thrown);
  const end = await Promise.race([running, over(GRACE, running)]);
  if (end === OVER) return { failure: { thrown }, isLeftBehind: true };
  const answer = end?.thrown;
  if (answer instanceof Reject || answer instanceof Retry) return { failure: end, isLeftBehind: false };
  // where it was is in what it threw
  const isOwn = answer === undefined || answer === thrown;
  return { failure: { thrown: isOwn ? thrown : new TimeoutError(thrown.message, answer) }, isLeftBehind: false };
}

/** The same with a cause, which not every browser's `DOMException` can have. */
class TimeoutError extends Error {
  /** @override */
  name = "TimeoutError";

  /** @param {string} message @param {unknown} cause */
  constructor(message, cause) {
    super(message, { cause });
    // where it was made says nothing
    this.stack = String(this);
  }
}

/**
 * Resolves after a while; its timer goes when something else has ended.
 * @param {number} milliseconds @param {Promise<unknown>} unless @returns {Promise<typeof OVER>}
 */
function over(milliseconds, unless) {
  return new Promise((resolve) => {
    const forget = setTimer(milliseconds, () => resolve(OVER));
    unless.then(forget);
  });
}
