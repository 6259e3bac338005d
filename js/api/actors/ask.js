/** A question, and the wait for what a handler replies. */

import { randomId } from "../../model/ids.js";
import { textOfId } from "../../model/uuids.js";
import { checkMailbox, companionsOf } from "../mailbox.js";
import { checkOptions, checkPeriod, checkSignal } from "../validate.js";
import { Asker } from "./asker.js";
import { CORRELATION_ID, REPLY_TO, checkLetter } from "./reply-mailboxes.js";
import { setTimer } from "./stop.js";

/** @typedef {import("../values.js").MessageRecord} MessageRecord */

const OPTIONS = ["timeout", "sender", "priority", "headers", "messageId", "signal"];

/**
 * Sends a message to whoever consumes `mailbox`, and gives what that answers with `context.reply`.
 *
 *     const answer = await ask(prices, bytes("tea"), { timeout: 5000 });
 *
 * The question is stored like any other message, with two more headers: `reply-to`, the name of a mailbox that this
 * handle has for its answers, and `correlation-id`. That mailbox is made for the first question, shared by all
 * questions of the handle, and deleted when the handle is closed. An answer is acknowledged by itself.
 *
 * Questions that wait are in memory: they end with the page or worker, and what is answered then is dropped. If nobody
 * answers in time, or `signal` aborts the call, the question stays where it is and may still be handled; its answer is
 * dropped. Asking the same question again under its `messageId`, by the same handle and while the first one is in the
 * mailbox, stores nothing, and gets the same answer; where the first one is another handle's, or a dead letter, it gets
 * none.
 * @param {import("../mailbox.js").Mailbox} mailbox where the question goes, an open handle; that handle is the asker
 * @param {import("../values.js").Bytes} payload what it says, copied at the call
 * @param {import("../values.js").AskOptions} options `timeout` in milliseconds, `Infinity` for ever; `sender`,
 * `priority`, `headers`, `messageId`, `signal`
 * @returns {Promise<MessageRecord>} the answer, sent in the transaction that acknowledged the question
 * @throws {DOMException} there was no answer in time, a "TimeoutError"; or the signal's reason
 * @throws {TypeError | RangeError} an argument is invalid, or `headers` have one of those two; nothing was stored
 * @throws {import("../../model/errors.js").MailboxClosedError} the handle is closed, or was closed while this waited
 * @throws {import("../../model/errors.js").StorageFullError} there is no room; nothing was stored
 */
export async function ask(mailbox, payload, options) {
  checkMailbox(mailbox, "mailbox");
  const { timeout, signal, ...how } = checkOptions(options, "options", OPTIONS);
  const milliseconds = timeout === Infinity ? Infinity : checkPeriod("timeout", timeout);
  const aborting = checkSignal(signal);
  const question = checkLetter(payload, how, [REPLY_TO, CORRELATION_ID], "which ask() gives a question");
  const companions = companionsOf(mailbox);
  aborting?.throwIfAborted();
  const asker = companions.of(Asker);
  const { sender, payload: text, ...more } = question;
  const id = question.messageId ?? textOfId(randomId());
  const own = { [REPLY_TO]: asker.name, [CORRELATION_ID]: id };
  const headers = [...question.headers, ...Object.entries(own)];
  let isOver = false;
  /** @type {(() => void)[]} */
  const ends = [];
  const store = async (/** @type {import("./asker.js").Question} */ question) => {
    await asker.ready();
    if (isOver) return;
    ends.push(asker.wait(id, question));
    await mailbox.enqueue(sender, text, { ...more, headers });
  };
  try {
    return await new Promise((resolve, reject) => {
      if (milliseconds !== Infinity) ends.push(setTimer(milliseconds, () => reject(tooLate(mailbox, milliseconds))));
      const abort = () => reject(aborting?.reason);
      aborting?.addEventListener("abort", abort);
      ends.push(() => aborting?.removeEventListener("abort", abort));
      store({ mailbox, resolve, reject }).catch(reject);
    });
  } finally {
    isOver = true;
    for (const end of ends) end();
  }
}

/** @param {import("../mailbox.js").Mailbox} mailbox @param {number} milliseconds */
function tooLate({ name }, milliseconds) {
  const text = `no answer came from the mailbox ${JSON.stringify(name)} within ${milliseconds} ms`;
  return new DOMException(`${text}; one that comes later is dropped`, "TimeoutError");
}
