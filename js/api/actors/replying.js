/**
 * Where answers go: the mailboxes that the messages of a handle name in `reply-to`.
 *
 * An answer is sent in the transaction that acknowledges the question. Whether its asker is still there cannot be seen
 * within it, so that is looked at before, where nobody has opened the mailbox yet, and after: a mailbox whose asker has
 * left meanwhile would be made anew by the answer, and is deleted again.
 */

import { closed } from "../../model/errors.js";
import { logged } from "./asker.js";
import { markerOf } from "./reply-mailboxes.js";

/** @typedef {import("../mailbox.js").Mailbox} Mailbox */
/** @typedef {import("./companions.js").Companion} Companion */
/** @typedef {import("../values.js").Send} Send */
/** @typedef {import("../values.js").NewMessage} NewMessage */
/** @typedef {import("./companions.js").Companions} Companions */

/** Reply mailboxes that stay open, for the next answer to the same asker. */
const MOST_IDLE = 16;

/** The mailbox of an asker. */
export class ReplyTo {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
  }
}

/** What a handler sends. @typedef {Send | readonly [ReplyTo, NewMessage]} Sending */

/**
 * Does work with what a handler has sent, to open mailboxes; an answer to an asker that is gone is left out.
 * @template T @param {() => Companions} companions of the handler's mailbox; throws if that is closed
 * @param {Sending[]} sends @param {(sends: Send[]) => Promise<T>} work
 * @param {(borrow: () => Promise<Map<string, Mailbox>>) => Promise<Map<string, Mailbox>>} borrowing may try several
 * times to open the mailboxes of answers
 * @returns {Promise<T>}
 */
export async function resolved(companions, sends, work, borrowing = (borrow) => borrow()) {
  const names = new Set(sends.flatMap(([target]) => (target instanceof ReplyTo ? [target.name] : [])));
  if (names.size === 0) return work(/** @type {Send[]} */ (sends));
  const replies = companions().of(Replies);
  const borrowed = await borrowing(() => replies.borrow(names));
  try {
    return await work(
      sends.flatMap(([target, message]) => {
        const mailbox = target instanceof ReplyTo ? borrowed.get(target.name) : target;
        return mailbox === undefined ? [] : [/** @type {const} */ ([mailbox, message])];
      }),
    );
  } finally {
    await replies.giveBack(borrowed);
  }
}

/** The mailboxes that the handlers of one handle answer to. @implements {Companion} */
export class Replies {
  over = false;
  #nearby;
  /** The one used last is the last. @type {Map<string, Mailbox>} */
  #open = new Map();
  /** How many use each at present. @type {Map<string, number>} */
  #users = new Map();
  /** Resolves when what was begun is done. @type {Promise<unknown>} */
  #last = Promise.resolve();

  /** @param {import("./companions.js").Nearby} nearby */
  constructor(nearby) {
    this.#nearby = nearby;
  }

  /** The open mailboxes of these names, without those that there are not any more. @param {Set<string>} names */
  borrow(names) {
    return this.#alone(async () => {
      if (this.over) throw closed();
      const isKnown = [...names].every((name) => this.#open.has(name));
      const there = new Set(isKnown ? [] : await this.#nearby.names());
      /** @type {Map<string, Mailbox>} */
      const borrowed = new Map();
      for (const name of names) {
        const mailbox = this.#open.get(name) ?? (there.has(name) ? await this.#nearby.open(name) : undefined);
        if (mailbox === undefined) {
          logDrop(name);
          continue;
        }
        this.#open.delete(name);
        this.#open.set(name, mailbox);
        borrowed.set(name, mailbox);
      }
      for (const name of borrowed.keys()) this.#users.set(name, (this.#users.get(name) ?? 0) + 1);
      return borrowed;
    });
  }

  /** After an answer was sent, or was not. @param {Map<string, Mailbox>} borrowed */
  giveBack(borrowed) {
    for (const name of borrowed.keys()) {
      const users = Number(this.#users.get(name)) - 1;
      if (users === 0) this.#users.delete(name);
      else this.#users.set(name, users);
    }
    return this.#alone(() =>
      logged("The mailbox of an asker could not be looked after", async () => {
        for (const [name, mailbox] of borrowed) await this.#deleteIfGone(name, mailbox);
        const idle = [...this.#open.keys()].filter((name) => !this.#users.has(name));
        for (const name of idle.slice(0, -MOST_IDLE)) await this.#close(name);
      }),
    );
  }

  end() {
    this.over = true;
    return this.#alone(async () => {
      for (const name of [...this.#open.keys()])
        await logged(`The mailbox ${name} could not be closed`, () => this.#close(name));
    });
  }

  /** @param {string} name @param {Mailbox} mailbox */
  async #deleteIfGone(name, mailbox) {
    const marker = markerOf(name);
    if (marker === undefined || !this.#open.has(name) || this.#users.has(name)) return;
    if ((await mailbox.get(marker)) !== null) return;
    await this.#close(name);
    await this.#nearby.delete(name);
    logDrop(name);
  }

  /** @param {string} name */
  async #close(name) {
    const mailbox = this.#open.get(name);
    this.#open.delete(name);
    await mailbox?.close();
  }

  /** One after the other. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  #alone(work) {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }
}

/** @param {string} name */
function logDrop(name) {
  console.info(`An answer was dropped, since its asker is gone: there is no mailbox ${name}`);
}
