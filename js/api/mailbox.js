/// <reference lib="esnext.disposable" preserve="true" />

/**
 * The JavaScript API: mailboxes on the same store as Python's, for pages, workers and service workers.
 *
 * A thin layer over the engine's `MailboxHandle`: it checks arguments, copies bytes at the call, and hands out values.
 * Every span of time in it is in milliseconds.
 */

import {
  JSON_OPTIONS,
  MESSAGE_OPTIONS,
  checkDelay,
  checkFailure,
  checkFlag,
  checkId,
  checkIds,
  checkInPlace,
  checkJson,
  checkLimit,
  checkMailboxOptions,
  checkMessages,
  checkName,
  checkObserver,
  checkOffset,
  checkOptions,
  checkSends,
  checkSignal,
  checkStatus,
  checkText,
  checkWait,
  messageOfJson,
} from "./validate.js";
import * as directory from "../engine/directory.js";
import { ownEngine } from "../engine/engine.js";
import { joined } from "../model/bytes.js";
import { MailboxClosedError, closed } from "../model/errors.js";
import { packFrames } from "../model/frames.js";
import { MailboxHandle } from "../engine/mailbox-handle.js";
import { textOfId } from "../model/uuids.js";
import { Companions } from "./actors/companions.js";
import { checkConsumeOptions } from "./actors/options.js";
import { RunningConsumer } from "./actors/consumer.js";
import { Watchers } from "./actors/watchers.js";
import { Changes } from "./changes.js";
import { deadLettersOf, foundIn, idsOf, recordsOf, statsOf } from "./records.js";

/** @typedef {import("./values.js").Bytes} Bytes */
/** @typedef {import("./values.js").MailboxOptions} MailboxOptions */
/** @typedef {import("./values.js").EnqueueOptions} EnqueueOptions */
/** @typedef {import("./values.js").EnqueueJsonOptions} EnqueueJsonOptions */
/** @typedef {import("./values.js").NewMessage} NewMessage */
/** @typedef {import("./values.js").DequeueOptions} DequeueOptions */
/** @typedef {import("./values.js").PeekOptions} PeekOptions */
/** @typedef {import("./values.js").DeadLettersOptions} DeadLettersOptions */
/** @typedef {import("./values.js").NackOptions} NackOptions */
/** @typedef {import("./values.js").MessagePriority} MessagePriority */
/** @typedef {import("./values.js").MessageStatus} MessageStatus */
/** @typedef {import("./values.js").MessageRecord} MessageRecord */
/** @typedef {import("./values.js").DeadLetter} DeadLetter */
/** @typedef {import("./values.js").MailboxStats} MailboxStats */
/** @typedef {import("./values.js").StorageReport} StorageReport */
/** @typedef {import("./values.js").Send} Send */
/** @typedef {import("./values.js").Handler} Handler */
/** @typedef {import("./values.js").ConsumeOptions} ConsumeOptions */
/** @typedef {import("./values.js").Consumer} Consumer */

/** Constants for those who prefer them to "normal" and "high". */
export const MessagePriority = Object.freeze({ NORMAL: "normal", HIGH: "high" });

/** Constants for those who prefer them to "queued" and "inflight". */
export const MessageStatus = Object.freeze({ QUEUED: "queued", INFLIGHT: "inflight" });

/** @type {(handle: MailboxHandle, options: Required<MailboxOptions>, openedAt: string | undefined) => Mailbox} */
let mailboxOf;

/** @internal @type {(value: unknown, name: string) => Mailbox} */
export let checkMailbox;

/**
 * A mailbox as a whole, for export and import.
 * @internal
 * @type {(mailbox: unknown) => import("../engine/types.js").Archive}
 */
export let archiveOf;

/**
 * What was opened for a mailbox.
 * @internal
 * @type {(mailbox: Mailbox) => Companions}
 */
export let companionsOf;

/**
 * As `enqueueMany`, of what a handler sent that had acknowledged the message of that id, of this mailbox, itself: that
 * the id is still known keeps nothing out.
 * @internal
 * @type {(mailbox: Mailbox, id: string, messages: Iterable<NewMessage>) => Promise<string[]>}
 */
export let enqueueSentOn;

/**
 * Ends a mailbox as the end of its page or worker would: what it held comes back as after a crash. For the checks.
 * @internal
 * @type {(mailbox: Mailbox) => void}
 */
export let letDie;

/**
 * Where those are who hold some messages, by the ids of these; undefined of a message that nobody holds. For the
 * inspector.
 * @internal
 * @type {(mailbox: Mailbox, ids: string[]) => ReturnType<MailboxHandle["whereHeld"]>}
 */
export let whereHeld;

/**
 * Mailboxes that are no longer referenced and were never closed.
 * @type {FinalizationRegistry<{handle: MailboxHandle, companions: Companions, openedAt: string | undefined}>}
 */
const forgotten = new FinalizationRegistry(({ handle, companions, openedAt }) => {
  const text = `The mailbox ${JSON.stringify(handle.mailbox)} was never closed. What it held goes back to the queue.`;
  console.warn(`${text} It was opened at\n${openedAt}`);
  handle.abandon();
  companions.end();
});

/**
 * An open handle on a mailbox: one consumer, which belongs to the page or worker that opened it. `openMailbox` makes
 * it.
 *
 * Every verb's promise resolves after the commit. A verb rejects with a `TypeError` or `RangeError` that names the
 * argument if one is invalid, before anything is written; with a `MailboxClosedError` if the mailbox is closed; and
 * with another class of `MailboxError` if the storage fails.
 */
export class Mailbox {
  #handle;
  #options;
  /** @type {((queuedMessages: number) => void) | null} */
  #observer = null;
  /** @type {Promise<void> | undefined} */
  #closing;
  /** The consumers of this mailbox. */
  #watchers = new Watchers();
  #companions;

  static {
    mailboxOf = (handle, options, openedAt) => new Mailbox(handle, options, openedAt);
    enqueueSentOn = (mailbox, id, messages) => mailbox.#enqueueMany(checkMessages(messages), checkId(id));
    letDie = (mailbox) => mailbox.#die();
    whereHeld = (mailbox, ids) => mailbox.#handle.whereHeld(joined(ids.map((id) => checkId(id))));
    checkMailbox = (value, name) => {
      if (typeof value === "object" && value !== null && #handle in value) return value;
      throw new TypeError(`${name} must be a mailbox that openMailbox of this module has opened`);
    };
    companionsOf = (mailbox) => checkMailbox(mailbox, "mailbox").#openCompanions();
    archiveOf = (mailbox) => checkMailbox(mailbox, "mailbox").#archive();
  }

  /**
   * @private @param {MailboxHandle} handle @param {Required<MailboxOptions>} options
   * @param {string | undefined} openedAt
   */
  constructor(handle, options, openedAt) {
    if (!(handle instanceof MailboxHandle)) throw new TypeError("A mailbox is opened with openMailbox(name).");
    this.#handle = handle;
    this.#options = options;
    // a copy reads it, by structuredClone, postMessage or spreading, and JSON reads it too
    Object.defineProperty(this, "noCopies", { enumerable: true, get: refuseCopies });
    // neither of them may keep the mailbox alive
    this.#companions = new Companions(besideOne(options));
    forgotten.register(this, { handle, companions: this.#companions, openedAt }, handle);
    Mailbox.#listen(new WeakRef(this), handle);
  }

  /** @param {WeakRef<Mailbox>} mailbox @param {MailboxHandle} handle */
  static #listen(mailbox, handle) {
    handle.onDepth = (depth) => {
      const listening = mailbox.deref();
      if (listening !== undefined) listening.#observe(depth);
    };
  }

  /** The mailbox's name. @returns {string} */
  get name() {
    return this.#handle.mailbox;
  }

  /**
   * Stores one message and gives its id, after the message is committed.
   *
   * `sender` and `payload` are stored as they were at the call; with the headers they hold at most 64 MiB together. The
   * order of calls on a mailbox is the order of its messages. While a message with `messageId` is still in the mailbox,
   * and for `dedupeFor` after the enqueue that stored it, nothing is stored again and that id is given.
   * @param {Bytes} sender who sends it, in your own encoding
   * @param {Bytes} payload
   * @param {EnqueueOptions} [options] `priority`, `messageId`, `headers`, and `delay` and `dedupeFor` in milliseconds
   * @returns {Promise<string>} a canonical UUID
   * @throws {import("../model/errors.js").StorageFullError} there is no room; nothing was stored
   */
  async enqueue(sender, payload, options) {
    return this.#enqueue(checkInPlace(sender, payload, checkOptions(options, "options", MESSAGE_OPTIONS)));
  }

  /**
   * As `enqueue`, of a value as JSON in UTF-8; `json()` of its record gives it back.
   *
   * The header `content-type: application/json` says so, unless `headers` name another type.
   * @param {unknown} value what JSON can hold; `undefined` in an object is left out, as `JSON.stringify` does
   * @param {EnqueueJsonOptions} [options] as for `enqueue`, and `sender`, empty by default
   * @returns {Promise<string>} a canonical UUID
   * @throws {TypeError | RangeError} JSON cannot hold the value (a function, a BigInt, NaN, bytes, a Map, a Set, or
   * what contains itself), or an option is invalid; nothing was stored
   * @throws {import("../model/errors.js").StorageFullError} there is no room; nothing was stored
   */
  async enqueueJson(value, options) {
    return this.#enqueue(checkJson(value, checkOptions(options, "options", JSON_OPTIONS)));
  }

  /**
   * Stores messages in their order, all or none of them.
   *
   * If the iterable throws, its error reaches the caller, and nothing is stored. Otherwise as `enqueue`.
   * @param {Iterable<NewMessage>} messages
   * @returns {Promise<string[]>} their ids, in the same order
   */
  async enqueueMany(messages) {
    return this.#enqueueMany(checkMessages(messages));
  }

  /**
   * Takes the next batch: up to `limit` messages, atomically marked inflight.
   *
   * Every "high" message comes before any "normal" one, the oldest first within a priority, in the order in which they
   * were committed. A batch holds at most 64 MiB of payload unless it is a single message. No two calls, handles, tabs
   * or workers ever get the same message at the same time. If the mailbox is empty the result is `[]`, at once or after
   * up to `wait` milliseconds.
   *
   * The messages in `ack` are acknowledged first, as `ackMany` would, in the same transaction, even if there is nothing
   * to hand out; a call that then waits has committed them before. So a loop that acknowledges what it has handled when
   * it asks for more needs one transaction instead of two.
   *
   * If `signal` aborts it, it rejects with the signal's reason and hands nothing out; either all of its
   * acknowledgements have happened or none has, and repeating them does no harm.
   * @param {DequeueOptions} [options] `limit`, `wait` in milliseconds, `signal`, `ack`
   * @returns {Promise<MessageRecord[]>}
   */
  async dequeue(options) {
    const given = checkOptions(options, "options", ["limit", "wait", "signal", "ack"]);
    const limit = checkLimit(given.limit, this.#options.batchSize);
    const wait = checkWait(given.wait);
    const signal = checkSignal(given.signal);
    const acked = given.ack === undefined ? [] : checkIds(given.ack, "ack");
    this.#checkOpen();
    const ack = acked.length === 0 ? undefined : { ids: joined(acked), heldOnly: false };
    if (ack !== undefined && this.#watchers.size > 0) return this.#ackAndClaim(acked, signal, limit, wait);
    if (signal !== undefined) return this.#claimUntil(signal, limit, wait, ack);
    const { batch } = await this.#handle.claim(limit, wait, ack).claimed;
    return recordsOf(batch);
  }

  /**
   * Deletes a message for good, whoever holds it, even if it is queued.
   * @param {string} messageId
   * @returns {Promise<boolean>} whether this call removed it; false if it is unknown or was acknowledged before
   */
  async ack(messageId) {
    const id = checkId(messageId);
    this.#checkOpen();
    return this.#settling("ack", [id], async () => (await this.#handle.ack(id)) === 1);
  }

  /**
   * Deletes messages in one transaction.
   * @param {Iterable<string>} ids
   * @returns {Promise<number>} how many it removed; a repeated id counts once
   */
  async ackMany(ids) {
    const distinct = checkIds(ids);
    this.#checkOpen();
    if (distinct.length === 0) return 0;
    return this.#settling("ackMany", distinct, () => this.#handle.ack(joined(distinct)));
  }

  /**
   * Acknowledges a message that this mailbox holds and enqueues others, in one transaction: both or neither.
   *
   * So a step from actor to actor happens exactly once. The acknowledgement comes first, so a message may be sent on
   * under its own id, also to its own mailbox while `dedupeFor` keeps the id known. If a target already has a message
   * of an id, or knows the id, it stores nothing, and the result is still true.
   * @param {string} messageId
   * @param {Iterable<Send>} messages pairs of an open mailbox and what to enqueue there
   * @returns {Promise<boolean>} false if this mailbox no longer holds the message; then nothing was sent
   * @throws {MailboxClosedError} this mailbox or a target is closed; nothing was done
   * @throws {import("../model/errors.js").StorageFullError} there is no room; nothing was done
   */
  async ackAndSend(messageId, messages) {
    const id = checkId(messageId);
    const sends = checkSends(messages);
    this.#checkOpen();
    const targets = sends.map(({ target }, i) => {
      const mailbox = checkMailbox(target, `messages[${i}][0]`);
      mailbox.#checkOpen();
      return mailbox;
    });
    const frames = pack(sends.map(({ message }) => message));
    const handles = targets.map((target) => target.#handle);
    const depths = await this.#settling(
      "ackAndSend",
      [id],
      async () => (await this.#handle.ackAndSend(id, handles, frames)) ?? false,
    );
    if (depths === false) return false;
    // a batch is one call: an observer is called once, however many messages its mailbox got
    for (const [target, depth] of new Map(targets.map((target, i) => [target, depths[i]]))) target.#observe(depth);
    return true;
  }

  /**
   * Gives back a message that this mailbox holds, to its old place in its priority, as a failed delivery.
   *
   * After `maxDeliveries` failed deliveries it becomes a dead letter instead, with the last `error`. With
   * `failed: false` ("not now") it is no failed delivery: the hand-out is taken back instead.
   * @param {string} messageId
   * @param {NackOptions} [options] `delay` in milliseconds before which it is not handed out again; `error`; `failed`
   * @returns {Promise<boolean>} false, and nothing changes, if this mailbox no longer holds it
   */
  async nack(messageId, options) {
    const id = checkId(messageId);
    const given = checkOptions(options, "options", ["delay", "error", "failed"]);
    const delay = checkDelay(given.delay);
    const error = checkFailure(given.error);
    const failed = checkFlag("failed", given.failed, true);
    this.#checkOpen();
    return this.#settling("nack", [id], async () => (await this.#handle.nack(id, delay, error, failed)) !== false);
  }

  /**
   * Moves a message that this mailbox holds to the dead letters, in one transaction.
   * @param {string} messageId @param {string} reason why it is given up
   * @returns {Promise<boolean>} false, and nothing changes, if this mailbox no longer holds it
   * @throws {import("../model/errors.js").StorageUnavailableError} it cannot be read at present, and is still held: try
   * again
   */
  async deadLetter(messageId, reason) {
    const id = checkId(messageId);
    const text = checkText("reason", reason);
    this.#checkOpen();
    return this.#settling("deadLetter", [id], () => this.#handle.bury(id, text));
  }

  /**
   * The newest dead letters, the newest first.
   * @param {DeadLettersOptions} [options] `limit`: how many at most, by default `batchSize`; `offset`: how many of the
   * newest to skip
   * @returns {Promise<DeadLetter[]>}
   */
  async deadLetters(options) {
    const given = checkOptions(options, "options", ["limit", "offset"]);
    const limit = checkLimit(given.limit, this.#options.batchSize);
    const offset = checkOffset(given.offset);
    this.#checkOpen();
    return deadLettersOf(...(await this.#handle.listDeadLetters(limit, offset)));
  }

  /**
   * Puts a dead letter back at the end of its priority, as new. It keeps its id, bytes and `createdAt`, and counts as
   * never handed out.
   * @param {string} messageId
   * @returns {Promise<boolean>} false if there is none
   * @throws {import("../model/errors.js").StorageUnavailableError} it cannot be read at present, and stays: try again
   */
  async redrive(messageId) {
    const id = checkId(messageId);
    this.#checkOpen();
    const depth = await this.#handle.redrive(id);
    this.#observe(depth);
    return depth !== undefined;
  }

  /**
   * Deletes a dead letter for good.
   * @param {string} messageId
   * @returns {Promise<boolean>} false if there is none
   */
  async discard(messageId) {
    const id = checkId(messageId);
    this.#checkOpen();
    return this.#handle.discard(id);
  }

  /**
   * Returns to the queue every inflight message whose holder is gone.
   *
   * This happens by itself when a mailbox is opened and while it is used; the call makes it happen now.
   * @returns {Promise<number>} how many there were
   */
  async recover() {
    this.#checkOpen();
    return this.#handle.recover();
  }

  /**
   * How many messages there are: exact, all counted at the same moment, over all tabs.
   * @returns {Promise<MailboxStats>}
   */
  async status() {
    this.#checkOpen();
    return statsOf(await this.#handle.status());
  }

  /**
   * Shows messages and changes nothing.
   *
   * Queued ones come first, in the order in which they would be handed out, then those not yet due, by their due time;
   * then those inflight, in the same order.
   * @param {PeekOptions} [options] `limit`: how many at most, by default `batchSize`; `status`: only messages with this
   * status; `offset`: how many of the first to skip, which costs nothing
   * @returns {Promise<MessageRecord[]>}
   */
  async peek(options) {
    const given = checkOptions(options, "options", ["limit", "status", "offset"]);
    const limit = checkLimit(given.limit, this.#options.batchSize);
    const status = checkStatus(given.status);
    const offset = checkOffset(given.offset);
    this.#checkOpen();
    return recordsOf(await this.#handle.peek(limit, status, offset));
  }

  /**
   * What there is of a message, wherever it is; changes nothing.
   * @param {string} messageId
   * @returns {Promise<MessageRecord | DeadLetter | null>} its record if it is queued or inflight; if it was given up,
   * its dead letter, which has a `reason`; null if there is no such message
   * @throws {import("../model/errors.js").StorageUnavailableError} it cannot be read at present: try again
   */
  async get(messageId) {
    const id = checkId(messageId);
    this.#checkOpen();
    return foundIn(...(await this.#handle.get(id)));
  }

  /**
   * Makes delayed messages due now, in one transaction; each then has its old place in its priority.
   * @param {Iterable<string>} [ids] which ones; all if it is left out
   * @returns {Promise<number>} how many there were whose delay still ran
   */
  async promote(ids) {
    const distinct = ids === undefined ? undefined : checkIds(ids);
    this.#checkOpen();
    return distinct?.length === 0 ? 0 : this.#handle.promote(distinct && joined(distinct));
  }

  /**
   * Deletes all queued messages, delayed ones included. Those inflight stay.
   * @returns {Promise<number>} how many there were
   */
  async purge() {
    this.#checkOpen();
    return this.#handle.purge();
  }

  /**
   * Installs the observer of this mailbox; a new one replaces the old one, `null` removes it.
   *
   * It is called with the number of queued messages after each committed enqueue call, before that call's promise
   * resolves; a batch is one call, a call that stored nothing does not count. It also learns of enqueues of other tabs
   * and workers, a moment later, and several may be merged. If it throws, that is written to the console and does no
   * harm.
   * @param {((queuedMessages: number) => void) | null} observer must be quick
   * @returns {boolean} true: every mailbox here supports one
   * @throws {MailboxClosedError}
   */
  setDepthObserver(observer) {
    const checked = checkObserver(observer);
    this.#checkOpen();
    this.#observer = checked;
    return true;
  }

  /**
   * Records one after the other as they come, for `for await`; ends when the mailbox is closed.
   *
   * It claims `batchSize` messages at a time, waiting without polling, and acknowledges nothing. However the loop is
   * left, what was claimed but not yielded goes back, before the loop ends. If `signal` aborts it, it throws the
   * signal's reason.
   * @param {{signal?: AbortSignal | undefined}} [options]
   * @returns {AsyncIterableIterator<MessageRecord>}
   */
  messages(options) {
    const signal = checkSignal(checkOptions(options, "options", ["signal"]).signal);
    this.#checkOpen();
    const left = new AbortController();
    /** @type {MessageRecord[]} claimed and not yet yielded */
    const claimed = [];
    let claimedIn = this.#handle.livesOver;
    const dropWhatWentBack = () => {
      if (claimedIn !== this.#handle.livesOver) claimed.length = 0;
      claimedIn = this.#handle.livesOver;
    };
    const giveBack = async () => {
      left.abort();
      signal?.removeEventListener("abort", abort);
      dropWhatWentBack();
      const ids = claimed.splice(0).map(({ id }) => checkId(id));
      // a mailbox that is being closed gives back all that it holds by itself
      if (this.#closing === undefined) await this.#handle.release(joined(ids));
    };
    /** @type {Promise<void> | undefined} */
    let leaving;
    const leave = () => (leaving ??= giveBack());
    const abort = () => {
      leave().catch(() => {
        // what could not be given back now goes back when the mailbox is closed
      });
    };
    /** @returns {Promise<IteratorResult<MessageRecord, undefined>>} */
    const next = async () => {
      if (signal?.aborted) {
        await leaving?.catch(() => {});
        throw signal.reason;
      }
      if (this.#closing !== undefined) await leave();
      if (left.signal.aborted) return { done: true, value: undefined };
      dropWhatWentBack();
      const first = claimed.shift();
      if (first !== undefined) return { done: false, value: first };
      // until it is left, or fails: then nobody need tell it, and it holds nothing
      signal?.addEventListener("abort", abort);
      try {
        const batch = await this.#claimUntil(left.signal, this.#options.batchSize, Infinity);
        dropWhatWentBack();
        claimed.push(...batch);
      } catch (error) {
        if (!left.signal.aborted && !(error instanceof MailboxClosedError)) {
          signal?.removeEventListener("abort", abort);
          throw error;
        }
      }
      return next();
    };
    return {
      next,
      async return() {
        await leave();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /**
   * Hands every message to a handler, as they come, until it is stopped: the loop of an actor. It begins at once.
   *
   *     const consumer = mailbox.consume(async (message, context) => {
   *       context.send(outbox, { sender: me, payload: answerTo(message.payload) });
   *     });
   *     await consumer.finished;
   *
   * How the handler ends decides:
   *
   * - It returns, or what it returns resolves: the message is acknowledged. What it sent with `context.send` commits
   *   together with that.
   * - It throws: the message is given back with `nack`, what was thrown as the error, and comes again after a pause
   *   (`retry`); after `maxDeliveries`, the policy's or the mailbox's, it is a dead letter.
   * - It throws a `Reject`: the message is a dead letter at once.
   * - It throws a `Retry`: the message comes again after the delay that it names, as a failed delivery or as none.
   * - It takes longer than `timeout`: `context.signal` is aborted, and it has failed.
   * - It has settled its message itself (`ack`, `nack`, `deadLetter`, `ackAndSend`, on this mailbox): that is the last
   *   word. What it sent is stored if the message was acknowledged, and not if it went back.
   *
   * A claim takes as many messages as have lately been handled in 50 ms, at least one for each free handler and at most
   * `batchSize`; what then does not begin goes back. When the page is left or frozen, what has not begun goes back, and
   * the loop goes on if the page comes back. Closing the mailbox acknowledges what is handled and ends the loop; what
   * still runs is not acknowledged.
   * A passing error (`error.passing`) does not end it: it tries again until it works, and says so in the console.
   * @param {Handler} handler may be called more than once with the same message ("at least once")
   * @param {ConsumeOptions} [options] `concurrency`, `orderedBySender`, `retry`, `timeout` in milliseconds, `signal`
   * @returns {Consumer} which is stopped with its `stop()`, with that of a handler's context, or by `signal`
   * @throws {TypeError | RangeError} an argument is invalid
   * @throws {MailboxClosedError} the mailbox is closed
   */
  consume(handler, options) {
    const checked = checkConsumeOptions(handler, options);
    this.#checkOpen();
    return new RunningConsumer(this.#asSource(), checked);
  }

  /**
   * The counts now, and again after anything has changed them, for `for await`; ends when the mailbox is closed.
   *
   * Whoever changes them: other tabs and workers, and the clock, by which delayed messages become due. Changes are
   * merged to at most 20 a second, and the last state is never left out. If `signal` aborts it, it throws the signal's
   * reason. It costs others nothing while nobody listens.
   * @param {{signal?: AbortSignal | undefined}} [options]
   * @returns {AsyncIterableIterator<MailboxStats>}
   */
  changes(options) {
    const signal = checkSignal(checkOptions(options, "options", ["signal"]).signal);
    this.#checkOpen();
    return new Changes(this, this.#handle, signal);
  }

  /** How safe the storage under this mailbox is, and how full. @returns {Promise<StorageReport>} */
  async storageReport() {
    this.#checkOpen();
    const [persistent = null, usage = null, quota = null, wiped] = await this.#handle.storageReport();
    return Object.freeze({ durability: this.#options.durability, persistent, usage, quota, wiped });
  }

  /**
   * Asks the browser to keep this origin's storage when space gets scarce.
   * @returns {Promise<boolean>} whether it agrees
   * @throws {import("../model/errors.js").UnsupportedError} this is a worker, for which a page has to ask, or an
   * insecure context
   */
  async requestPersistence() {
    this.#checkOpen();
    return this.#handle.requestPersistence();
  }

  /**
   * Lets calls under way finish, then gives back what this mailbox still holds, as if never handed out.
   *
   * A `dequeue` or an `ask` that waits ends with a `MailboxClosedError`, `messages()` just ends, and every later verb
   * rejects with a `MailboxClosedError`. Closing twice is fine. `await using` closes by itself.
   * @returns {Promise<void>}
   */
  async close() {
    forgotten.unregister(this.#handle);
    if (this.#closing === undefined) this.#watchers.closing();
    this.#closing ??= this.#handle.close().finally(() => this.#companions.end());
    await this.#closing;
  }

  /** For `await using`: closes the mailbox. */
  async [Symbol.asyncDispose]() {
    await this.close();
  }

  // -- inside ---------------------------------------------------------------------------------------------------------

  /**
   * @param {import("../model/types.js").Packable[]} messages whose bytes are copied now
   * @param {Uint8Array} [sentOn] an id that may be known though no message has it
   */
  async #enqueueMany(messages, sentOn) {
    this.#checkOpen();
    if (messages.length === 0) return [];
    const [ids, depth] = await this.#handle.enqueue(pack(messages), sentOn);
    this.#observe(depth);
    return idsOf(ids);
  }

  /** @param {import("../model/types.js").Packable} message whose bytes are copied now */
  async #enqueue(message) {
    this.#checkOpen();
    const [ids, depth] = await this.#handle.enqueue(pack([message]));
    this.#observe(depth);
    return textOfId(ids);
  }

  /**
   * @param {AbortSignal} signal @param {number} limit @param {number} wait
   * @param {{ids: Uint8Array, heldOnly: boolean}} [ack] what is acknowledged first
   * @returns {Promise<MessageRecord[]>}
   */
  async #claimUntil(signal, limit, wait, ack) {
    signal.throwIfAborted();
    const { claimed, undo } = this.#handle.claim(limit, wait, ack);
    return new Promise((resolve, reject) => {
      // whichever comes first decides, in one step: a batch is never both handed out and undone
      let stopped = false;
      const stop = () => {
        stopped = true;
        undo().then(() => reject(signal.reason));
      };
      signal.addEventListener("abort", stop, { once: true });
      claimed
        .finally(() => signal.removeEventListener("abort", stop))
        .then(({ batch }) => stopped || resolve(recordsOf(batch)))
        .catch((error) => stopped || reject(error));
    });
  }

  /**
   * As a `dequeue` with acknowledgements, for a mailbox with consumers: these learn at once what was acknowledged, and
   * not only when there are more messages.
   * @param {Uint8Array[]} acked @param {AbortSignal | undefined} signal @param {number} limit @param {number} wait
   */
  async #ackAndClaim(acked, signal, limit, wait) {
    const ack = { ids: joined(acked), heldOnly: false };
    const unaborted = signal ?? new AbortController().signal;
    // how many there were is not known, and need not be
    const [records] = await this.#settling(
      "ackMany",
      acked,
      async () => /** @type {const} */ ([await this.#claimUntil(unaborted, limit, 0, ack)]),
    );
    return records.length > 0 || wait === 0 ? records : this.#claimUntil(unaborted, limit, wait);
  }

  /**
   * Settles messages, which the consumers of this mailbox are told of.
   * @template T @param {import("./actors/holds.js").SettlingVerb} verb @param {Uint8Array[]} ids
   * @param {() => Promise<T>} call @returns {Promise<T>}
   */
  #settling(verb, ids, call) {
    return this.#watchers.size === 0
      ? call()
      : this.#watchers.settling(
          verb,
          ids.map((id) => textOfId(id)),
          call,
        );
  }

  /** This mailbox as its consumers use it. @returns {import("./actors/consumer.js").Source} */
  #asSource() {
    const bytesOf = (/** @type {string[]} */ ids) => joined(ids.map((id) => checkId(id)));
    return {
      mailbox: this,
      label: `Mailbox ${JSON.stringify(this.name)}`,
      batchSize: this.#options.batchSize,
      claim: (limit, acked, onAcked) => {
        this.#checkOpen();
        const ack = acked.length === 0 ? undefined : { ids: bytesOf(acked), heldOnly: true, onCommit: onAcked };
        const { claimed, undo } = this.#handle.claim(limit, Infinity, ack);
        return { claimed: claimed.then(({ batch }) => recordsOf(batch)), undo };
      },
      ackHeld: async (ids) => {
        this.#checkOpen();
        return this.#handle.ackHeld(bytesOf(ids));
      },
      ackLate: async (ids, madeAt) => {
        this.#checkOpen();
        return this.#handle.ackLate(bytesOf(ids), madeAt);
      },
      release: async (ids) => {
        this.#checkOpen();
        return this.#handle.release(bytesOf(ids));
      },
      nack: async (id, delay, error, failed) => {
        this.#checkOpen();
        const bytes = checkId(id);
        const [pause, text] = [checkDelay(delay), checkFailure(error)];
        return this.#settling("nack", [bytes], () => this.#handle.nack(bytes, pause, text, failed));
      },
      enqueueApart: (id, mailbox, messages) =>
        mailbox.name === this.name ? enqueueSentOn(mailbox, id, messages) : mailbox.enqueueMany(messages),
      checkMailbox: (mailbox) => {
        checkMailbox(mailbox, "mailbox");
      },
      companions: () => this.#openCompanions(),
      watch: (watcher) => {
        const watchers = this.#watchers;
        const unwatch = watchers.add(watcher);
        this.#handle.onLifeOver = () => watchers.lifeOver();
        return () => {
          unwatch();
          if (watchers.size === 0) this.#handle.onLifeOver = undefined;
        };
      },
    };
  }

  /** @returns {import("../engine/types.js").Archive} */
  #archive() {
    this.#checkOpen();
    const handle = this.#handle;
    return {
      readSection: (...given) => handle.readSection(...given),
      readRemembered: (after) => handle.readRemembered(after),
      remember: (known) => handle.remember(known),
      adopt: async (frames, details) => {
        const [stored, depth] = await handle.adopt(frames, details);
        this.#observe(depth);
        return stored;
      },
    };
  }

  #openCompanions() {
    this.#checkOpen();
    return this.#companions;
  }

  #checkOpen() {
    if (this.#closing !== undefined) throw closed();
  }

  /** @param {number | undefined} depth undefined where nothing was stored */
  #observe(depth) {
    if (depth === undefined) return;
    try {
      this.#observer?.(depth);
    } catch (error) {
      console.error(`The depth observer of the mailbox ${JSON.stringify(this.name)} threw:`, error);
    }
  }

  #die() {
    this.#closing ??= Promise.resolve();
    forgotten.unregister(this.#handle);
    this.#handle.die();
  }
}

/** @returns {never} */
function refuseCopies() {
  throw new TypeError(
    "A mailbox cannot be copied, sent or serialised: open it again, by its name, where it is needed.",
  );
}

// where the platform has no such symbol yet, the method is called "undefined"
if (Symbol.asyncDispose === undefined) Reflect.deleteProperty(Mailbox.prototype, "undefined");

/**
 * Opens a mailbox in this origin's IndexedDB, and creates it if it does not exist. Python's `open_mailbox(name)` opens
 * the same one.
 *
 * Works in pages, workers and service workers. Each open handle is one consumer: what it dequeues is its own until it
 * acknowledges it, gives it back, closes, or its page or worker ends.
 * @param {string} name a plain name, or `indexeddb://NAME` with the name percent-encoded; 1 to 200 characters, no
 * control characters
 * @param {MailboxOptions} [options] `batchSize`, `maxDeliveries`, `lease` in milliseconds, `durability`
 * @returns {Promise<Mailbox>}
 * @throws {import("../model/errors.js").StorageUnavailableError} there is no IndexedDB here, or it cannot be opened
 * @throws {import("../model/errors.js").StorageCorruptError} what is stored there is not a mailbox
 */
export async function openMailbox(name, options) {
  const mailbox = checkName(name);
  const checked = checkMailboxOptions(options);
  // now, while the caller is there to be seen
  const openedAt = new Error().stack;
  const { durability, maxDeliveries, lease } = checked;
  const most = maxDeliveries === Infinity ? 0 : maxDeliveries;
  return mailboxOf(await MailboxHandle.open(ownEngine(), mailbox, durability, most, lease), checked, openedAt);
}

/**
 * The mailboxes of the origin, for what a handle opens beside its own.
 * @internal
 * @param {Required<MailboxOptions>} options of that handle @returns {import("./actors/companions.js").Nearby}
 */
export const besideOne = ({ lease, durability }) => ({
  open: (name, isRelaxed) =>
    openMailbox(`indexeddb://${encodeURIComponent(name)}`, { lease, durability: isRelaxed ? "relaxed" : durability }),
  names: listMailboxes,
  delete: (name, unless, heldOnly) =>
    directory.deleteMailbox(ownEngine(), name, unless === undefined ? undefined : checkId(unless), heldOnly),
});

/**
 * A message for `enqueueMany` and `ackAndSend` of a value as JSON; as for `enqueueJson`.
 * @param {unknown} value @param {EnqueueJsonOptions} [options]
 * @returns {NewMessage}
 * @throws {TypeError | RangeError} JSON cannot hold the value
 */
export function jsonMessage(value, options) {
  return /** @type {NewMessage} */ (messageOfJson(value, checkOptions(options, "options", JSON_OPTIONS)));
}

/** The names of all mailboxes of this origin, sorted. Creates none. @returns {Promise<string[]>} */
export async function listMailboxes() {
  return (await directory.listMailboxes(ownEngine())).sort();
}

/**
 * Deletes a mailbox with everything in it, in one transaction. A handle that is open on it carries on with an empty
 * one.
 * @param {string} name as for `openMailbox`
 * @returns {Promise<boolean>} false if there was none
 */
export async function deleteMailbox(name) {
  return directory.deleteMailbox(ownEngine(), checkName(name));
}

/** @param {import("../model/types.js").Packable[]} messages */
const pack = (messages) => packFrames(messages, Date.now());
