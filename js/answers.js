/**
 * How Python hears what the engine answers: through one function of its own, handed over once, and once for all that a
 * commit answers. To await a promise, Python makes functions for it, and takes three turns of the event loop where it can be
 * suspended: that costs more than many a verb.
 */

/** @typedef {import("./mailbox.js").MailboxHandle} MailboxHandle */

/**
 * A Python function that is told what has been answered: of each call its ticket, its error, and its answer, which may be a
 * pair.
 * @typedef {((...told: unknown[]) => void) & {callPromising?: (...told: unknown[]) => Promise<void>}} Hear
 */

/** Whether Python can be suspended; then it has to be called in a way that lets those be who go on. */
const SUSPENDS = "Suspending" in WebAssembly;

/**
 * The verbs of a handle for a caller that gives each call a ticket, a number of its own, and hears of it by that.
 * @param {MailboxHandle} handle @param {Hear} hear
 */
export function caller(handle, hear) {
  /** @param {number} ticket @param {Promise<unknown>} promise */
  const follow = (ticket, promise) => {
    promise.then(
      (answer) => tell(hear, ticket, undefined, ...(Array.isArray(answer) ? answer : [answer, undefined])),
      (error) => tell(hear, ticket, error, undefined, undefined),
    );
  };
  return {
    /** @param {number} ticket @param {string} verb of those that promise something @param {unknown[]} given its arguments */
    ask(ticket, verb, ...given) {
      follow(ticket, /** @type {any} */ (handle)[verb](...given));
    },

    /** As the handle's `claim`; the answer says too how many lives of the handle are over. @param {number} ticket @param {number} limit @param {number} wait */
    claim(ticket, limit, wait) {
      const claim = handle.claim(limit, wait);
      follow(ticket, claim.batch.then((batch) => [batch, handle.livesOver]));
      return claim;
    },
  };
}

/** What is still to be told, by whom is to hear it. @type {Map<Hear, unknown[]>} */
const untold = new Map();

/** @param {Hear} hear @param {unknown[]} news */
function tell(hear, ...news) {
  const waiting = untold.get(hear);
  if (waiting !== undefined) {
    waiting.push(...news);
    return;
  }
  untold.set(hear, news);
  // what the same commit answers comes before
  queueMicrotask(() => {
    untold.delete(hear);
    if (SUSPENDS && hear.callPromising !== undefined) hear.callPromising(...news);
    else hear(...news);
  });
}
