/** One message: handed to the handler, and settled according to how that ended. */

import { StorageFullError } from "../../model/errors.js";
import { randomId } from "../../model/ids.js";
import { failedReason } from "../../model/reasons.js";
import { textOfId } from "../../model/uuids.js";
import { firstLine, inShort, shortened, textOf } from "./failures.js";
import { ReplyTo, resolved } from "./replying.js";
import { Reject, Retry, delayAfter } from "./retry.js";
import { inSeconds, isPassing } from "./retrying.js";
import { within } from "./time-limit.js";

/** @typedef {import("../values.js").MessageRecord} MessageRecord */
/** @typedef {import("../values.js").NewMessage} NewMessage */
/** @typedef {import("../values.js").Send} Send */
/** @typedef {import("./replying.js").Sending} Sending */
/** @typedef {import("../mailbox.js").Mailbox} Mailbox */
/** @typedef {import("./context.js").DeliveryContext} DeliveryContext */
/** @typedef {import("./failures.js").Failure} Failure */
/** @typedef {import("./holds.js").Hold} Hold */

/**
 * What a consumer lends.
 * @typedef {object} Surroundings
 * @property {import("./retrying.js").RetryingMailbox} retrying
 * @property {import("./stop.js").Stop} stop
 * @property {import("./holds.js").Holds} holds
 * @property {Pick<import("./prefetch.js").PrefetchBuffer, "successors" | "takeSuccessors">} buffer
 * @property {<T>(work: () => Promise<T>) => Promise<T>} withoutClaims does work while no claim is under way
 */

/** How messages are handed to a handler, and what becomes of them. */
export class Deliveries {
  #options;
  #surroundings;

  /** @param {import("./options.js").CheckedOptions} options @param {Surroundings} surroundings */
  constructor(options, surroundings) {
    this.#options = options;
    this.#surroundings = surroundings;
  }

  get #mailbox() {
    return this.#surroundings.retrying.source.mailbox;
  }

  /**
   * Runs the handler and settles the message, except for the acknowledgement of one that was simply handled.
   * @param {Hold} hold @param {DeliveryContext} context
   * @param {() => void} freePlace called when the message only has to wait, so that another can be handled meanwhile
   * @returns {Promise<boolean>} whether the message is still to be acknowledged
   * @throws what must end the consumer; the message is still held
   */
  async deliver(hold, context, freePlace) {
    let failure = await this.#run(hold.record, context);
    const sends = context.end();
    await hold.callsEnded();
    if (failure === undefined) {
      if (sends.length === 0 && !hold.over && !hold.doubtful) return true;
      failure = await this.#finish(hold, sends);
    } else if (hold.over) {
      await this.#respect(hold, [], failure);
      return false;
    }
    if (failure?.thrown instanceof Reject) await this.#bury(hold, textOfRejection(failure.thrown), failure);
    else if (failure !== undefined) await this.#fail(hold, failure, freePlace);
    return false;
  }

  /** @param {MessageRecord} record @param {DeliveryContext} context */
  async #run(record, context) {
    const { handler, timeout } = this.#options;
    const running = ended(handler, record, context);
    if (timeout === undefined) return running;
    const { failure, isLeftBehind } = await within(running, timeout, context);
    if (isLeftBehind) {
      console.warn(
        `The handler of message ${record.id} went on when its signal was aborted after ${timeout} ms: it is left ` +
          "behind. Pass context.signal to whatever it waits for.",
      );
    }
    return failure;
  }

  /**
   * Acknowledges a handled message and sends what its handler sent.
   * @param {Hold} hold @param {Sending[]} sends @returns {Promise<Failure | undefined>} what went wrong
   */
  #finish(hold, sends) {
    const { retrying } = this.#surroundings;
    const { id } = hold.record;
    return this.#withLastWord(hold, async (isOpen) => {
      if (!isOpen) {
        await this.#respect(hold, sends);
        return undefined;
      }
      if (sends.length === 0) {
        await retrying.ack([hold], true);
        return undefined;
      }
      try {
        const send = () => this.#toOpen(sends, (messages) => this.#mailbox.ackAndSend(id, messages));
        const held = await retrying.call(send, isPassingUnlessFull);
        if (!held) console.warn(`Message ${id} was taken back while it was handled; nothing was sent.`);
        return undefined;
      } catch (thrown) {
        return { thrown };
      }
    });
  }

  /**
   * Leaves a message as its handler has settled it; that also decides what becomes of what was sent.
   * @param {Hold} hold @param {Sending[]} sends @param {Failure} [failure]
   */
  async #respect(hold, sends, failure) {
    const { record } = hold;
    if (failure !== undefined) log("warn", failure, `message ${record.id} was settled already when its handler failed`);
    if (hold.acked) {
      if (sends.length > 0) await this.#sendApart(record, sends);
      return;
    }
    if (sends.length > 0) {
      const how = hold.settledBy ? `settled by ${hold.settledBy}` : "taken back and handed out again";
      console.warn(`Message ${record.id} was ${how} while it was handled; nothing was sent.`);
    }
    // as after a failure: later messages from its sender must not overtake it
    if (this.#options.orderedBySender) await this.#surroundings.withoutClaims(() => this.#giveBackSuccessors(record));
  }

  /**
   * Sends what was sent by a handler that has acknowledged its message itself.
   * @param {MessageRecord} record @param {Sending[]} sends
   */
  async #sendApart(record, sends) {
    console.info(`Message ${record.id} was acknowledged by its handler; what it sent is stored separately.`);
    const { retrying } = this.#surroundings;
    try {
      const enqueue = (/** @type {Send[]} */ messages) => this.#enqueueApart(record, messages);
      await this.#toOpen(sends, enqueue, (borrow) => retrying.call(borrow));
    } catch (thrown) {
      // an asker's mailbox could not be opened
      const others = sends.filter(/** @returns {send is Send} */ (send) => !(send[0] instanceof ReplyTo));
      logLost(thrown, record, `${sends.length - others.length} answers`);
      await this.#enqueueApart(record, others);
    }
  }

  /** @param {MessageRecord} record @param {Send[]} sends */
  async #enqueueApart(record, sends) {
    const { retrying } = this.#surroundings;
    /** @type {Map<Mailbox, NewMessage[]>} */
    const byMailbox = new Map();
    for (const [mailbox, message] of sends) {
      // it is stored only once, however often it is sent again because no answer came
      const repeatable = { ...message, messageId: message.messageId ?? textOfId(randomId()) };
      byMailbox.set(mailbox, [...(byMailbox.get(mailbox) ?? []), repeatable]);
    }
    for (const [mailbox, messages] of byMailbox) {
      try {
        await retrying.call(() => retrying.source.enqueueApart(record.id, mailbox, messages));
      } catch (thrown) {
        logLost(thrown, record, `${messages.length} messages to the mailbox ${JSON.stringify(mailbox.name)}`);
      }
    }
  }

  /**
   * Does work with what was sent, to open mailboxes.
   * @template T @param {Sending[]} sends @param {(sends: Send[]) => Promise<T>} work
   * @param {Parameters<typeof resolved>[3]} [borrowing]
   */
  #toOpen(sends, work, borrowing) {
    return resolved(this.#surroundings.retrying.source.companions, sends, work, borrowing);
  }

  /** @param {Hold} hold @param {Failure} failure @param {() => void} freePlace */
  async #fail(hold, failure, freePlace) {
    const { record } = hold;
    const { retry, orderedBySender } = this.#options;
    const { stop, withoutClaims } = this.#surroundings;
    const wish = failure.thrown instanceof Retry ? failure.thrown : undefined;
    const hasFailed = wish?.failed ?? true;
    if (hasFailed && record.deliveryCount >= retry.maxDeliveries) {
      const reason = failedReason(record.deliveryCount, retry.maxDeliveries);
      await this.#bury(hold, `${reason}\n\n${textOf(failure.thrown)}`, failure);
      return;
    }
    const delay = wish?.delay ?? delayAfter(retry, record.deliveryCount);
    if (!orderedBySender) {
      await this.#giveBack(hold, failure, hasFailed, delay, delay);
      return;
    }
    freePlace();
    await stop.pause(delay);
    await withoutClaims(async () => {
      await this.#giveBack(hold, failure, hasFailed, 0, delay);
      await this.#giveBackSuccessors(record);
    });
  }

  /**
   * @param {Hold} hold @param {Failure} failure
   * @param {boolean} hasFailed whether that is a failed delivery, or the hand-out is undone
   * @param {number} delay from now @param {number} pause since the failure
   */
  async #giveBack(hold, failure, hasFailed, delay, pause) {
    const { retrying } = this.#surroundings;
    const { record } = hold;
    const error = textOf(failure.thrown);
    const nacked = await this.#withLastWord(
      hold,
      async (isOpen) => isOpen && retrying.call(() => retrying.source.nack(record.id, delay, error, hasFailed)),
    );
    if (nacked === false) log("info", failure, `message ${record.id} had already been taken back when it failed`);
    else if (nacked === true) logRetry(record, failure, pause);
    else logDeath(record, nacked, failure);
  }

  /** @param {Hold} hold @param {string} reason @param {Failure} failure */
  async #bury(hold, reason, failure) {
    const { record } = hold;
    const isBuried = await this.#withLastWord(
      hold,
      async (isOpen) =>
        isOpen && this.#surroundings.retrying.call(() => this.#mailbox.deadLetter(record.id, shortened(reason))),
    );
    if (isBuried) logDeath(record, reason, failure);
    else log("info", failure, `message ${record.id} had already been taken back when its handler gave it up`);
  }

  /**
   * Gives back the messages that wait for this one, while no claim is under way.
   * @param {MessageRecord} record
   */
  async #giveBackSuccessors(record) {
    const { buffer, holds, retrying } = this.#surroundings;
    const ids = buffer.successors(record).flatMap((one) => (holds.of(one) ? [one.id] : []));
    // they stay in the buffer until they are back: if this fails, the stop gives them back
    if (ids.length > 0) await retrying.call(() => retrying.source.release(ids));
    holds.drop(buffer.takeSuccessors(record));
  }

  /**
   * Does what is left to do, told whether the message still has to be settled: that stays true meanwhile.
   * @template T @param {Hold} hold @param {(isOpen: boolean) => Promise<T>} settle @returns {Promise<T>}
   */
  #withLastWord(hold, settle) {
    const settleIt = () => settle(!hold.over);
    // it may have gone back, and a claim under way may have fetched it again
    return hold.doubtful || hold.givenBack ? this.#surroundings.withoutClaims(settleIt) : settleIt();
  }
}

/**
 * Calls a handler, of either kind.
 * @param {import("../values.js").Handler} handler @param {MessageRecord} record @param {DeliveryContext} context
 * @returns {Promise<Failure | undefined>} what it threw
 */
async function ended(handler, record, context) {
  try {
    await handler(record, context);
    return undefined;
  } catch (thrown) {
    return { thrown };
  }
}

/** A full storage is not waited for with a message in hand: that would hold the handler up. @param {unknown} error */
const isPassingUnlessFull = (error) => isPassing(error) && !(error instanceof StorageFullError);

/** @param {Reject} rejection */
const textOfRejection = ({ message, cause }) => (cause === undefined ? message : `${message}\n\n${textOf(cause)}`);

/**
 * One line; what was thrown, with its stack, goes to those who look at everything.
 * @param {"info" | "warn" | "error"} level @param {Failure} failure @param {string} text
 * @param {string} [what] of the failure
 */
function log(level, { thrown }, text, what = inShort(thrown)) {
  console[level](what === "" ? text : `${text}: ${what}`);
  console.debug(thrown);
}

/** @param {unknown} thrown @param {MessageRecord} record @param {string} what */
function logLost(thrown, record, what) {
  log("error", { thrown }, `${what} are lost; the handler that sent them had acknowledged message ${record.id} itself`);
}

/** @param {MessageRecord} record @param {string} reason @param {Failure} failure */
function logDeath(record, reason, failure) {
  const text = `message ${record.id} is a dead letter: ${firstLine(reason)}`;
  // a rejection's reason is its text
  log("warn", failure, text, failure.thrown instanceof Reject && reason.trim() !== "" ? "" : undefined);
}

/** @param {MessageRecord} record @param {Failure} failure @param {number} pause */
function logRetry(record, failure, pause) {
  const { thrown } = failure;
  const verb = thrown instanceof Retry && !thrown.failed ? "was put off" : "failed";
  const text = `message ${record.id} ${verb} at delivery ${record.deliveryCount}, again after ${inSeconds(pause)}`;
  if (!(thrown instanceof Retry)) log("info", failure, text);
  // it says no more than that
  else log("info", failure, text, thrown.cause === undefined ? "" : inShort(thrown.cause));
}
