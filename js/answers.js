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

    /**
     * As the handle's `claim`; with what it acknowledges first its answer is a pair, the batch and how many that removed.
     * @param {number} ticket @param {number} limit @param {number} wait
     * @param {Uint8Array} [ids] @param {boolean} [heldOnly] @param {number} [earlyTicket] answered with how many were
     * removed, if the call then goes on waiting
     */
    claim(ticket, limit, wait, ids, heldOnly = false, earlyTicket = undefined) {
      if (ids === undefined) {
        const claim = handle.claim(limit, wait);
        follow(ticket, claim.batch);
        return claim;
      }
      let removed = 0;
      const onCommit = (/** @type {number} */ count, /** @type {boolean} */ waits) => {
        removed = count;
        if (waits && earlyTicket !== undefined) tell(hear, earlyTicket, undefined, count, undefined);
      };
      const claim = handle.claim(limit, wait, { ids, heldOnly, onCommit });
      follow(ticket, claim.batch.then((batch) => [batch, removed]));
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
