/**
 * The asking side of `ask`: a handle that asks has one reply mailbox, which is made for its first question and deleted
 * when it is closed. One loop reads it, hands each answer to the question with its `correlation-id`, and drops what
 * nobody waits for.
 */

import { MailboxClosedError, MailboxError } from "../../model/errors.js";
import { CORRELATION_ID, markerOf, mayBeLeftOver, nameOf, newMarker } from "./reply-mailboxes.js";
import { Retrying } from "./retrying.js";
import { Stop } from "./stop.js";

/** @typedef {import("../values.js").MessageRecord} MessageRecord */
/** @typedef {import("../mailbox.js").Mailbox} Mailbox */
/** @typedef {import("./companions.js").Companion} Companion */
/** @typedef {import("./companions.js").Nearby} Nearby */

/**
 * One that waits, which keeps the handle that asks it.
 * @typedef {{mailbox: Mailbox, resolve: (answer: MessageRecord) => void, reject: (error: unknown) => void}} Question
 */

const NOTHING = new Uint8Array();

/** Milliseconds after which an asker looks again whether it holds its marker. */
const LOOK_AGAIN = 5;

/** Milliseconds after which an asker that got nothing looks whether its mailbox is still there. */
const LOOK_EVERY = 30_000;

/** Milliseconds for which an asker that lived counts as alive: otherwise each asker would open those of all others. */
const LOOKED_LATELY = 60_000;

/** When this context looked at a reply mailbox of others, by its name. @type {Map<string, number>} */
const lookedAt = new Map();

/** The reply mailbox of one handle, and the questions that wait. @implements {Companion} */
export class Asker {
  #nearby;
  #marker = newMarker();
  /** The reply mailbox's. */
  name = nameOf(this.#marker);
  /** By correlation id. @type {Map<string, Set<Question>>} */
  #waiting = new Map();
  #stop = new Stop();
  /** The reply mailbox. @type {Mailbox | undefined} */
  #mailbox;
  /** The same, once it is marked. @type {Promise<Mailbox>} */
  #marked;
  #ended;

  /** @param {Nearby} nearby */
  constructor(nearby) {
    this.#nearby = nearby;
    const marking = this.#mark();
    this.#marked = marking;
    this.#ended = this.#serve(marking);
  }

  get over() {
    return this.#stop.asked;
  }

  /** Sees to it that there is a mailbox for answers, and rejects if there cannot be one. */
  async ready() {
    const mailbox = await this.#marked;
    while (!(await this.#isMarked(mailbox))) {
      // somebody has deleted it: its asker seemed to be dead, as it does while its page is frozen
      await mailbox.enqueue(NOTHING, NOTHING, { messageId: this.#marker });
      // the loop takes it
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
    }
    if (this.over) throw new MailboxClosedError("The mailbox was closed before the question was stored.");
  }

  /** From now on an answer with that id is awaited. @param {string} id @param {Question} question */
  wait(id, question) {
    const together = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, together.add(question));
    return () => {
      together.delete(question);
      if (together.size === 0 && this.#waiting.get(id) === together) this.#waiting.delete(id);
    };
  }

  end() {
    this.#fail(new MailboxClosedError("The mailbox was closed before the answer came."));
    this.#mailbox?.close().catch(() => {}); // the loop learns of it, too
    return this.#ended;
  }

  // -- inside ---------------------------------------------------------------------------------------------------------

  /**
   * Whether the marker is held: then nobody deletes the reply mailbox. If that has been deleted, so may have been the
   * answers to all that wait.
   * @param {Mailbox} mailbox
   */
  async #isMarked(mailbox) {
    const marker = await mailbox.get(this.#marker);
    if (marker === null) {
      const text = `no answer can come any more: somebody has deleted the mailbox ${this.name}`;
      this.#answerAll(new DOMException(text, "TimeoutError"));
    }
    return marker !== null && "status" in marker && marker.status === "inflight";
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#stop.ask();
    this.#answerAll(error);
  }

  /** @param {unknown} error */
  #answerAll(error) {
    for (const together of this.#waiting.values()) for (const { reject } of together) reject(error);
  }

  async #mark() {
    const mailbox = await this.#nearby.open(this.name, true);
    this.#mailbox = mailbox;
    if (this.over) throw new MailboxClosedError("The mailbox was closed before the question was stored.");
    await mailbox.enqueue(NOTHING, NOTHING, { messageId: this.#marker });
    await mailbox.dequeue();
    return mailbox;
  }

  /** @param {Promise<Mailbox>} marking */
  async #serve(marking) {
    /** @type {Promise<void> | undefined} */
    let tidying;
    try {
      const mailbox = await marking;
      tidying = deleteLeftOvers(this.#nearby, this.#stop);
      await this.#read(mailbox);
    } catch (error) {
      this.#fail(error);
    }
    await tidying;
    await logged(`The mailbox ${this.name} is left over until somebody else asks`, async () => {
      await this.#mailbox?.close();
      await this.#nearby.delete(this.name);
    });
  }

  /** Reads answers until the mailbox is closed. @param {Mailbox} mailbox @returns {Promise<never>} */
  async #read(mailbox) {
    const retrying = new Retrying(`Mailbox ${JSON.stringify(this.name)}`, this.#stop);
    /** @type {string[]} */
    let handled = [];
    for (;;) {
      const ack = handled;
      const records = await retrying.call(() => mailbox.dequeue({ wait: LOOK_EVERY, ack }));
      if (records.length === 0 && this.#waiting.size > 0 && !(await retrying.call(() => this.#isMarked(mailbox))))
        await retrying.call(() => mailbox.enqueue(NOTHING, NOTHING, { messageId: this.#marker }));
      // the marker comes again after a page was frozen, and is held again
      const answers = records.filter(({ id }) => id !== this.#marker);
      handled = answers.map(({ id }) => id);
      for (const answer of answers) this.#deliver(answer);
    }
  }

  /** @param {MessageRecord} answer */
  #deliver(answer) {
    const together = this.#waiting.get(answer.headers[CORRELATION_ID] ?? "");
    if (together === undefined)
      console.info("An answer to a question that nobody is waiting for any longer was dropped.");
    else for (const { resolve } of together) resolve(answer);
  }
}

/**
 * Deletes the reply mailboxes of askers that have died, except for those that were looked at lately.
 * @param {Nearby} nearby @param {Stop} stop
 */
function deleteLeftOvers(nearby, stop) {
  const now = performance.now();
  for (const [name, looked] of lookedAt) if (now - looked >= LOOKED_LATELY) lookedAt.delete(name);
  return logged("Reply mailboxes that are left over could not be deleted", async () => {
    for (const name of await nearby.names()) {
      if (stop.asked) return;
      if (lookedAt.has(name) || !mayBeLeftOver(name)) continue;
      lookedAt.set(name, now);
      // which takes back what the dead had
      await (await nearby.open(name, true)).close();
      if (await nearby.delete(name, markerOf(name), true))
        console.info(`Deleted the mailbox ${name}, whose asker is gone.`);
    }
  });
}

/** Does what may fail without harm; never rejects. @param {string} failed @param {() => Promise<void>} work */
export async function logged(failed, work) {
  try {
    await work();
  } catch (error) {
    if (error instanceof MailboxError) console.info(`${failed}: ${error.message}`);
    else console.error(`${failed}:`, error);
  }
}
