/** Helpers for the tests of `consume` in a page, as `consuming`. */

/** @typedef {import("../../../js/index.js").Mailbox} Mailbox */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @param {string} text */
const bytes = (text) => encoder.encode(text);

/** @param {{payload: Uint8Array}} message */
const textOf = ({ payload }) => decoder.decode(payload);

/** `m0`, `m1`, and so on. @param {number} count @param {string} [name] */
const numbered = (count, name = "m") => Array.from({ length: count }, (_, i) => `${name}${i}`);

/**
 * @param {Mailbox} mailbox @param {string[]} texts
 * @param {{sender?: string, priority?: "normal" | "high"}} [options]
 */
const send = (mailbox, texts, { sender = "sender", ...options } = {}) =>
  mailbox.enqueueMany(texts.map((text) => ({ sender: bytes(sender), payload: bytes(text), ...options })));

/** Queued and inflight messages. @param {Mailbox} mailbox */
async function left(mailbox) {
  const { queuedMessages, inflightMessages } = await mailbox.status();
  return [queuedMessages, inflightMessages];
}

/** Everything that can be handed out now, as `text:deliveryCount`. @param {Mailbox} mailbox */
const rest = async (mailbox) =>
  (await mailbox.dequeue({ limit: 1000 })).map((record) => `${textOf(record)}:${record.deliveryCount}`);

/** Waits until something holds. @param {() => unknown} holds @param {string} [what] */
async function eventually(holds, what = String(holds)) {
  const deadline = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`it never came about: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** @param {number} milliseconds */
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until there is neither a queued nor an inflight message. @param {Mailbox} mailbox */
const allHandled = (mailbox) => eventually(async () => (await left(mailbox)).join() === "0,0", "all is handled");

/** A promise, and what resolves it. */
function door() {
  let open = () => {};
  const opened = new Promise((resolve) => {
    open = () => resolve(undefined);
  });
  return { opened, open };
}

/** Retries without a pause. */
const AT_ONCE = { firstDelay: 0 };
const MUCH_LATER = { firstDelay: 1_000_000, longestDelay: 1_000_000, jitter: 0 };

export const consuming = {
  AT_ONCE,
  MUCH_LATER,
  allHandled,
  bytes,
  door,
  eventually,
  left,
  numbered,
  rest,
  send,
  sleep,
  textOf,
};

Object.assign(globalThis, { consuming });
