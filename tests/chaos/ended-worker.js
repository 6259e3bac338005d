// A page whose worker is ended amid its calls, round after round, and that worker: see test_ended_workers.py.

import { openMailbox } from "../../js/index.js";

const BOX = "ended workers";
const MESSAGES = 30;
/** Milliseconds at most after which a worker is ended. */
const LATEST = 250;
/** Milliseconds after which a call counts as one that never returns. */
const PATIENCE = 20_000;

const IS_WORKER = typeof document === "undefined";

/** Passes messages on to the same mailbox, a few at a time. @param {() => boolean} [isOver] */
async function passOn(isOver = () => false) {
  const mailbox = await openMailbox(BOX);
  if (IS_WORKER) postMessage("open");
  while (!isOver()) {
    for (const { id, sender, payload } of await mailbox.dequeue({ limit: 3, wait: 100 })) {
      await mailbox.ackAndSend(id, [[mailbox, { sender, payload }]]);
      await mailbox.status();
    }
  }
  await mailbox.close();
}

/** Ends a worker, while this page works, too. */
async function round() {
  const worker = new Worker(import.meta.url, { type: "module" });
  await new Promise((resolve) => (worker.onmessage = resolve));
  let isOver = false;
  const own = passOn(() => isOver);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * LATEST));
  worker.terminate();
  isOver = true;
  await own;
}

/** @template T @param {Promise<T>} call @param {string} name @returns {Promise<T>} */
const returned = (call, name) =>
  Promise.race([
    call,
    new Promise((/** @type {(_: never) => void} */ _, reject) =>
      setTimeout(() => reject(new Error(`${name} does not return`)), PATIENCE),
    ),
  ]);

/** How many messages are missing after so many rounds. @param {number} rounds */
async function endWorkers(rounds) {
  const mailbox = await openMailbox(BOX);
  const payload = new Uint8Array(100);
  await mailbox.enqueueMany(Array.from({ length: MESSAGES }, () => ({ sender: new Uint8Array(), payload })));
  for (let number = 1; number <= rounds; number++) await returned(round(), `round ${number}`);
  let taken = 0;
  while (taken < MESSAGES) {
    const batch = await returned(mailbox.dequeue({ wait: PATIENCE }), "a dequeue");
    await mailbox.ackMany(batch.map(({ id }) => id));
    taken += batch.length;
    if (batch.length === 0) break;
  }
  const { queuedMessages, inflightMessages } = await mailbox.status();
  await mailbox.close();
  return MESSAGES - taken - queuedMessages - inflightMessages;
}

if (IS_WORKER) passOn();
// as the harness's drivers call it
else Object.assign(globalThis, { runPython: (/** @type {string} */ rounds) => endWorkers(Number(rounds)) });
