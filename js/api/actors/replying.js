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
    // the answers may be sent all the same
    await logged("The mailboxes of askers could not be looked after", () => replies.giveBack(borrowed));
  }
}

/** The mailbox of one asker, as one handle answers to it. */
class Target {
  /** @type {Mailbox | undefined} */
  mailbox;
  /** How many use it at present, or are about to. */
  users = 0;
  /** Resolves when what was begun is done. @type {Promise<unknown>} */
  #last = Promise.resolve();

  /** Opens or closes it, one after the other. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  alone(work) {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** @param {string} name */
  close(name) {
    return this.alone(() =>
      logged(`The mailbox ${name} could not be closed`, async () => {
        const { mailbox } = this;
        this.mailbox = undefined;
        await mailbox?.close();
      }),
    );
  }
}

/** The mailboxes that the handlers of one handle answer to. @implements {Companion} */
export class Replies {
  over = false;
  #nearby;
  /** The one used last is the last. @type {Map<string, Target>} */
  #targets = new Map();

  /** @param {import("./companions.js").Nearby} nearby */
  constructor(nearby) {
    this.#nearby = nearby;
  }

  /** The open mailboxes of these names, without those that there are not any more. @param {Set<string>} names */
  async borrow(names) {
    /** @type {Map<string, Mailbox>} */
    const borrowed = new Map();
    try {
      for (const name of names) {
        const mailbox = await this.#borrow(name);
        if (mailbox !== undefined) borrowed.set(name, mailbox);
      }
    } catch (error) {
      await this.giveBack(borrowed);
      throw error;
    }
    return borrowed;
  }

  /** @param {string} name */
  async #borrow(name) {
    const target = this.#targets.get(name) ?? new Target();
    this.#targets.delete(name);
    this.#targets.set(name, target);
    target.users += 1;
    /** @type {Mailbox | undefined} */
    let borrowed;
    try {
      borrowed = await target.alone(async () => {
        if (this.over) throw closed();
        if (target.mailbox === undefined && (await this.#nearby.names()).includes(name))
          target.mailbox = await this.#nearby.open(name, markerOf(name) !== undefined);
        if (target.mailbox === undefined) logDrop(name);
        return target.mailbox;
      });
      return borrowed;
    } finally {
      if (borrowed === undefined) {
        target.users -= 1;
        this.#forget(name, target);
      }
    }
  }

  /** After an answer was sent, or was not. @param {Map<string, Mailbox>} borrowed */
  async giveBack(borrowed) {
    const targets = [...this.#targets].filter(([name]) => borrowed.has(name));
    for (const [, target] of targets) target.users -= 1;
    for (const [name, target] of targets) {
      await logged("The mailbox of an asker could not be looked after", () =>
        target.alone(() => this.#deleteIfGone(name, target)),
      );
      this.#forget(name, target);
    }
    // others may borrow and close while one is closed
    for (let idle = this.#idle(); idle.length > MOST_IDLE; idle = this.#idle()) {
      const [name, target] = idle[0];
      this.#targets.delete(name);
      await target.close(name);
    }
  }

  /** Those that nobody uses. */
  #idle() {
    return [...this.#targets].filter(([, { users }]) => users === 0);
  }

  async end() {
    this.over = true;
    const targets = [...this.#targets];
    this.#targets.clear();
    for (const [name, target] of targets) await target.close(name);
  }

  /** Forgets a target that nobody uses, if it has no mailbox. @param {string} name @param {Target} target */
  #forget(name, target) {
    if (target.users === 0 && target.mailbox === undefined && this.#targets.get(name) === target)
      this.#targets.delete(name);
  }

  /** @param {string} name @param {Target} target */
  async #deleteIfGone(name, target) {
    const marker = markerOf(name);
    const { mailbox } = target;
    if (marker === undefined || mailbox === undefined || target.users > 0) return;
    if ((await mailbox.get(marker)) !== null) return;
    target.mailbox = undefined;
    await mailbox.close();
    if (await this.#nearby.delete(name, marker)) logDrop(name);
  }
}

/** @param {string} name */
function logDrop(name) {
  console.info(`An answer was dropped, since its asker is gone: there is no mailbox ${name}`);
}
