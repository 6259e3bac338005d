/** What a handler has besides its message. */

import { checkOptions, checkSend } from "../validate.js";
import { CORRELATION_ID, REPLY_TO, checkLetter } from "./reply-mailboxes.js";
import { ReplyTo } from "./replying.js";

/** @typedef {import("../values.js").MessageRecord} MessageRecord */
/** @typedef {import("../values.js").Context} Context */

const REPLY_OPTIONS = ["sender", "priority", "headers", "messageId"];

/** One delivery of one message, for the handler that works on it. @implements {Context} */
export class DeliveryContext {
  #source;
  #consumer;
  /** @type {AbortController | undefined} made when somebody asks for its signal */
  #controller;
  /** @type {import("./replying.js").Sending[]} */
  #sends = [];
  #isOver = false;

  /**
   * @param {MessageRecord} message @param {import("./consumer.js").Source} source
   * @param {{readonly stopping: boolean, askToStop: () => void}} consumer
   */
  constructor(message, source, consumer) {
    this.message = message;
    this.mailbox = source.mailbox;
    this.#source = source;
    this.#consumer = consumer;
  }

  get signal() {
    return (this.#controller ??= new AbortController()).signal;
  }

  get stopping() {
    return this.#consumer.stopping;
  }

  stop() {
    this.#consumer.askToStop();
  }

  /** @param {import("../mailbox.js").Mailbox} mailbox @param {import("../values.js").NewMessage} message */
  send(mailbox, message) {
    this.#checkSending();
    const checked = checkSend(message);
    this.#source.checkMailbox(mailbox);
    this.#sends.push([mailbox, checked]);
  }

  /** @param {import("../values.js").Bytes} payload @param {import("../values.js").ReplyOptions} [options] */
  reply(payload, options) {
    this.#checkSending();
    const { id, headers: asked } = this.message;
    const target = asked[REPLY_TO];
    if (target === undefined) {
      throw new RangeError(
        `message ${id} has no header ${JSON.stringify(REPLY_TO)}, so nobody waits for an answer; ask() sends one`,
      );
    }
    const how = checkOptions(options, "options", REPLY_OPTIONS);
    const why = "which an answer has from its question";
    const correlation = Object.entries(asked).filter(([name]) => name === CORRELATION_ID);
    this.#sends.push([new ReplyTo(target), checkLetter(payload, how, [CORRELATION_ID], why, correlation)]);
  }

  #checkSending() {
    if (this.#isOver) throw new Error("This handler has ended: it must send before it returns.");
  }

  /** Aborts what listens to the signal. @param {unknown} reason */
  abort(reason) {
    this.#controller ??= new AbortController();
    this.#controller.abort(reason);
  }

  /** Ends sending; what was sent. */
  end() {
    this.#isOver = true;
    return this.#sends;
  }
}
