// A context of the races, a worker: makes each call that the page sends when it comes, and reports the outcome.

import { beginFaults, locksOf, planFault, setLate } from "./faults.js";
import { labelOf, payloadOf } from "./payload.js";
import { deleteMailbox, openMailbox } from "/pymailbox.js";

/** @type {Map<number, import("../../../../js/index.js").Mailbox>} */
const mailboxes = new Map();
/**
 * Mailboxes in the same database, to which some handles send.
 * @type {Map<number, import("../../../../js/index.js").Mailbox>}
 */
const besides = new Map();

/** @param {any} value what can be sent and matters */
const told = (value) =>
  Array.isArray(value)
    ? value.map((item) =>
        typeof item?.id === "string" ? { id: item.id, label: labelOf(item.payload), count: item.deliveryCount } : item,
      )
    : value;

/** @type {Record<string, (mailbox: any, given: any, beside: any) => Promise<unknown>>} */
const CALLS = {
  enqueue: (mailbox, { messages }) => {
    const whole = messages.map((/** @type {any} */ { label, bytes, ...rest }) => ({
      sender: new Uint8Array(),
      payload: payloadOf(label, bytes),
      ...rest,
    }));
    if (whole.length > 1) return mailbox.enqueueMany(whole);
    const [{ sender, payload, ...options }] = whole;
    return mailbox.enqueue(sender, payload, options).then((/** @type {string} */ id) => [id]);
  },
  dequeue: (mailbox, { abortAfter, ...options }) => {
    if (abortAfter === undefined) return mailbox.dequeue(options);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), abortAfter);
    return mailbox.dequeue({ ...options, signal: controller.signal });
  },
  ack: (mailbox, { id }) => mailbox.ack(id),
  ackMany: (mailbox, { ids }) => mailbox.ackMany(ids),
  nack: (mailbox, { id, delay }) => mailbox.nack(id, { delay }),
  ackAndSend: (mailbox, { id, label, isBeside }, beside) =>
    mailbox.ackAndSend(id, [[isBeside ? beside : mailbox, { sender: new Uint8Array(), payload: payloadOf(label) }]]),
  deadLetter: (mailbox, { id }) => mailbox.deadLetter(id, "given up"),
  redrive: (mailbox, { id }) => mailbox.redrive(id),
  purge: (mailbox) => mailbox.purge(),
  recover: (mailbox) => mailbox.recover(),
  peek: (mailbox) => mailbox.peek({ limit: 1000 }),
  close: (mailbox, _, beside) => Promise.all([mailbox.close(), beside?.close()]),
  delete: (_, { name }) => deleteMailbox(name),
};

/**
 * Opens a mailbox, and perhaps another one beside it; if that fails, neither is open.
 * @param {any} handle @param {any} given
 */
async function open(handle, { name, beside, options }) {
  const mailbox = await openMailbox(name, options);
  try {
    if (beside !== undefined) besides.set(handle, await openMailbox(beside, options));
    mailboxes.set(handle, mailbox);
  } catch (error) {
    await mailbox.close();
    throw error;
  }
}

globalThis.onmessage = async ({ data }) => {
  if (data.gate) return beginFaults(data.gate);
  if (data.fault) return planFault(data.fault, data.after);
  if ("late" in data) return setLate(data.late);
  if (data.comeBack) return globalThis.dispatchEvent(new Event("pageshow"));
  if (data.call === undefined) return undefined;
  const { call, handle, verb, given } = data;
  try {
    let value;
    if (verb === "open") await open(handle, given);
    else value = told(await CALLS[verb](mailboxes.get(handle), given, besides.get(handle)));
    postMessage({ returned: call, value, locks: locksOf() });
  } catch (error) {
    const { name, message, stack } = /** @type {Error} */ (error);
    postMessage({ returned: call, error: { name, message, stack }, locks: locksOf() });
  }
};

postMessage({ ready: true });
