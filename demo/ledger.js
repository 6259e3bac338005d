/** Proves, from what is stored and not from what the page remembers, that nothing was lost and nothing done twice. */

/** @import { Gateway } from "./gateway.js" */
/** @import { Audit, Balance } from "./types.js" */

/** The numbers are read one after the other, while others work: only a difference that stays is one. */
const READS = 4;

const decoder = new TextDecoder();

/**
 * Where the messages are that were ever stored.
 * @param {Gateway} gateway
 * @returns {Promise<Balance>}
 */
export async function balanceOf(gateway) {
  for (let read = 1; ; read++) {
    const [{ stored, peers }, inbox, done] = await Promise.all([
      gateway.account(),
      gateway.inbox.status(),
      gateway.done.status(),
    ]);
    const { queuedMessages: queued, inflightMessages: inflight, deadLetters: dead } = inbox;
    const handled = done.queuedMessages;
    const missing = stored - handled - queued - inflight - dead;
    if (missing === 0 || read === READS) return { stored, handled, queued, inflight, dead, missing, peers };
  }
}

/**
 * Goes through all that was done: each of its records has the id of its message, and how often that was handed out.
 * @param {Gateway} gateway
 * @returns {Promise<Audit>}
 */
export async function audit(gateway) {
  const { queuedMessages } = await gateway.done.status();
  if (queuedMessages === 0) return { handled: 0, doubled: 0, again: 0 };
  const records = await gateway.done.peek({ limit: queuedMessages });
  const ids = new Set();
  let again = 0;
  for (const { payload } of records) {
    const [id, deliveries] = decoder.decode(payload).split(" ", 2);
    ids.add(id);
    again += Number(deliveries) - 1;
  }
  return { handled: records.length, doubled: records.length - ids.size, again };
}
