/** What a handler has besides its message. */

import { checkSend } from "../validate.js";

/** @typedef {import("../values.js").MessageRecord} MessageRecord */
/** @typedef {import("../values.js").Send} Send */
/** @typedef {import("../values.js").Context} Context */

/** One delivery of one message, for the handler that works on it. @implements {Context} */
export class DeliveryContext {
  #source;
  #consumer;
  /** @type {AbortController | undefined} made when somebody asks for its signal */
  #controller;
  /** @type {Send[]} */
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
    if (this.#isOver) throw new Error("This handler has ended: it must send before it returns.");
    const checked = checkSend(message);
    this.#source.checkMailbox(mailbox);
    this.#sends.push([mailbox, checked]);
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
