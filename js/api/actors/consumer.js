/**
 * The loop of an actor: claims, handlers and acknowledgements, and how it ends.
 *
 * Acknowledgements are collected: while one is being committed, those that come in wait for the next, and while
 * handlers run they wait for the next claim, but not for long; those of synchronous handlers, which may block, wait
 * only until the turn of the event loop ends. None waits when a message that is being handled is settled in another
 * way, or when the mailbox is closed. A new batch is claimed when a handler has nothing to do, in one transaction with
 * the acknowledgements that are due. A claim takes what can begin soon, and what then does not begin goes back: a
 * prefetched message can neither be overtaken by a more urgent one nor be handled by another consumer.
 */

import { MailboxClosedError } from "../../model/errors.js";
import { DeliveryContext } from "./context.js";
import { Deliveries } from "./delivery.js";
import { Holds } from "./holds.js";
import { Pace, SOON } from "./pace.js";
import { PrefetchBuffer, SenderOrderedBuffer } from "./prefetch.js";
import { RetryingMailbox, idsOf, isPassing } from "./retrying.js";
import { Stop, setTimer } from "./stop.js";
import { Turns } from "./turns.js";

/** @typedef {import("../values.js").MessageRecord} MessageRecord */
/** @typedef {import("../values.js").Consumer} Consumer */
/** @typedef {import("./holds.js").Hold} Hold */
/** @typedef {import("./options.js").CheckedOptions} CheckedOptions */

/**
 * What a consumer needs of its mailbox. Each call is one transaction, and rejects if the mailbox is closed.
 * @typedef {object} Source
 * @property {import("../mailbox.js").Mailbox} mailbox
 * @property {string} label for the console
 * @property {number} batchSize
 * @property {(limit: number, acked: string[], onAcked: (count: number) => void) => Claim} claim takes the next batch as
 * soon as there is one, and acknowledges what is still held of `acked` first; `onAcked` is told when that is committed
 * @property {(ids: string[]) => Promise<number>} ackHeld acknowledges what is still held; how many
 * @property {(ids: string[], madeAt: number[]) => Promise<void>} ackLate acknowledges messages, whoever holds them, and
 * none that was made at another time and has only got the id of one
 * @property {(ids: string[]) => Promise<void>} release gives back what is still held, as if never handed out
 * @property {(id: string, delay: number, error: string, failed: boolean) => Promise<boolean | string>} nack as the
 * verb; the reason if it made a dead letter
 * @property {(id: string, mailbox: import("../mailbox.js").Mailbox, messages: import("../values.js").NewMessage[]) =>
 * Promise<unknown>} enqueueApart enqueues what was sent with a message of this mailbox that is acknowledged already,
 * which may be sent on under its id
 * @property {(mailbox: unknown) => void} checkMailbox throws unless it is one to which messages can be sent
 * @property {() => import("./companions.js").Companions} companions
 * @property {import("./watchers.js").Watchers["add"]} watch tells of what happens to the messages; returns what ends
 * that
 */

/** @typedef {{claimed: Promise<MessageRecord[]>, undo: () => Promise<void>}} Claim */

/**
 * A claim, its attempts included; `acks` are to be acknowledged with it and have not been, `endAcks` is called when
 * they are, or are acknowledged by themselves.
 * @typedef {{claim?: Claim, undone?: Promise<void> | undefined, isUndone: boolean, acks: Hold[], endAcks: () => void}}
 * Claiming
 */

/**
 * Milliseconds that an acknowledgement waits at most for the next claim, to be made in its transaction; longer only if
 * a handler blocks, while another acknowledgement is being committed, or where the browser holds timers back.
 */
const LINGER = 10;

/** Milliseconds without a claim after the page was left: if it is really going away, its messages are for others. */
const PAUSE_AFTER_UNLOAD = 1000;

/** A running consumer. @implements {Consumer} */
export class RunningConsumer {
  finished;

  #source;
  #options;
  #stop = new Stop();
  #holds = new Holds();
  #buffer;
  #retrying;
  #deliveries;
  #pace = new Pace(() => performance.now());
  #turns = new Turns(() => this.#wake());
  /** @type {(error?: unknown) => void} */
  #finish = () => {};
  #unwatch;
  /** Messages that occupy one of the `concurrency` places. */
  #handling = 0;
  /** Messages that failed and wait for their next attempt. */
  #waiting = 0;
  /** The one under way. @type {(Claiming & {ended: Promise<void>}) | undefined} */
  #claiming;
  /** Acknowledgements under way: further ones wait for them. @type {Set<Promise<void>>} */
  #acks = new Set();
  /** Releases and late acknowledgements under way. @type {Set<Promise<void>>} */
  #writes = new Set();
  /** To be acknowledged. @type {Hold[]} */
  #handled = [];
  /** Runs while some of them wait for the next claim. @type {ReturnType<typeof setTimeout> | undefined} */
  #linger;
  #acksAreDue = false;
  /** Whether the handler that was called last is asynchronous. */
  #isAsync = false;
  /** To be acknowledged, whoever holds them: they went back while they were handled. @type {Hold[]} */
  #handledLate = [];
  /** To be given back. @type {string[]} */
  #unhandled = [];
  /** Reasons to claim nothing. */
  #pauses = 0;
  #isClosed = false;
  #isFinished = false;
  /** @type {{error: unknown} | undefined} */
  #failure;
  /** How many messages to claim if all that was claimed waits for its senders. */
  #reach = 1;
  #claimedAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #bufferTimer;
  #isStepDue = false;

  /** @param {Source} source @param {CheckedOptions} options */
  constructor(source, options) {
    this.#source = source;
    this.#options = options;
    this.#buffer = options.orderedBySender ? new SenderOrderedBuffer() : new PrefetchBuffer();
    this.#retrying = new RetryingMailbox(source, this.#stop);
    this.#deliveries = new Deliveries(
      { ...options, handler: (...given) => this.#call(...given) },
      {
        retrying: this.#retrying,
        stop: this.#stop,
        holds: this.#holds,
        buffer: this.#buffer,
        withoutClaims: (work) => this.#withoutClaims(work),
      },
    );
    this.finished = new Promise((/** @type {(value: void) => void} */ resolve, reject) => {
      this.#finish = () => (this.#failure === undefined ? resolve() : reject(this.#failure.error));
    });
    this.#unwatch = source.watch({
      settling: (verb, ids) => this.#holds.settling(verb, ids),
      beforeSettling: (ids) => this.#beforeSettling(ids),
      closing: () => this.#onClosing(),
      lifeOver: () => this.#onLifeOver(),
    });
    const { signal } = options;
    if (signal?.aborted) this.askToStop();
    else signal?.addEventListener("abort", this.askToStop, { once: true });
    this.#wake();
  }

  get stopping() {
    return this.#stop.asked;
  }

  stop() {
    this.askToStop();
    return this.finished;
  }

  /** Asks for a clean stop, and leaves it to others to await it. */
  askToStop = () => {
    this.#stop.ask();
    this.#endClaim();
    this.#wake();
  };

  // -- supervising ----------------------------------------------------------------------------------------------------

  /** There may be something to do. */
  #wake() {
    if (this.#isStepDue) return;
    this.#isStepDue = true;
    // whatever comes about in one step shares a commit
    queueMicrotask(() => {
      this.#isStepDue = false;
      this.#step();
    });
  }

  /** Begins what can be begun, and notices when all has ended. */
  #step() {
    if (this.#isFinished) return;
    if (this.#stop.asked) this.#unhandled.push(...this.#holds.drop(this.#buffer.takeAll()));
    else this.#startHandlers();
    const claims = this.#mayClaim();
    if (this.#unhandled.length > 0) {
      const ids = this.#unhandled.splice(0);
      if (!this.#isClosed) this.#begin(this.#retrying.call(() => this.#source.release(ids)));
    }
    if (this.#handledLate.length > 0) {
      const late = this.#handledLate.splice(0);
      const times = late.map(({ madeAt }) => madeAt);
      this.#begin(this.#retrying.call(() => this.#source.ackLate(idsOf(late), times)));
    }
    if (claims) this.#claiming = this.#beginClaim(this.#need(), this.#takeHandled());
    else if (this.#handled.length > 0 && !this.#acksCanWait() && this.#acks.size === 0) this.#beginAcks();
    const isUnderWay =
      this.#handling > 0 ||
      this.#waiting > 0 ||
      this.#claiming !== undefined ||
      this.#acks.size > 0 ||
      this.#writes.size > 0 ||
      this.#handled.length > 0;
    if (this.#stop.asked && !isUnderWay) this.#end();
  }

  #end() {
    this.#isFinished = true;
    clearTimeout(this.#bufferTimer);
    clearTimeout(this.#linger);
    this.#unwatch();
    this.#options.signal?.removeEventListener("abort", this.askToStop);
    this.#finish();
  }

  #startHandlers() {
    const { concurrency } = this.#options;
    while (!this.#stop.asked && this.#handling < concurrency && this.#buffer.size > 0 && this.#turns.mayBegin()) {
      const record = this.#buffer.take();
      if (record === undefined) break;
      const hold = this.#holds.of(record);
      if (hold === undefined) {
        // it has been settled already
        this.#holds.drop([record]);
        this.#buffer.finished(record);
      } else {
        this.#handle(hold);
      }
    }
    if (this.#buffer.size > 0) this.#bufferTimer ??= setTimeout(() => this.#returnStale(), SOON);
  }

  /** @param {Parameters<CheckedOptions["handler"]>} given */
  #call(...given) {
    const result = /** @type {any} */ (this.#options.handler(...given));
    this.#isAsync = typeof result?.then === "function";
    return result;
  }

  /** Gives back what was to begin soon but did not: handlers have become slow. */
  #returnStale() {
    this.#bufferTimer = undefined;
    if (this.#isFinished) return;
    // a claim is made when nothing prefetched can begin, so that what can begin now has waited since the last one
    const still = SOON - (performance.now() - this.#claimedAt);
    if (still > 0) {
      this.#bufferTimer = setTimeout(() => this.#returnStale(), still);
    } else if (this.#options.orderedBySender && this.#claiming !== undefined) {
      // or a claim that takes longer would be undone for nothing, again and again
      if (!this.#buffer.hasFree) return;
      // the claim may have got later messages
      this.#begin(
        this.#withoutClaims(async () => {
          const ids = this.#holds.drop(this.#buffer.takeFree());
          if (ids.length > 0) await this.#retrying.call(() => this.#source.release(ids));
        }),
      );
    } else {
      this.#unhandled.push(...this.#holds.drop(this.#buffer.takeFree()));
      this.#wake();
    }
  }

  #mayClaim() {
    return !(
      this.#stop.asked ||
      this.#claiming !== undefined ||
      this.#turns.isOver ||
      this.#pauses > 0 ||
      this.#retrying.waiting > 0 ||
      this.#handling >= this.#options.concurrency
    );
  }

  /** Whether the next claim may come soon, to take the acknowledgements along. */
  #acksCanWait() {
    if (this.#stop.asked || this.#claiming !== undefined || this.#acksAreDue) return false;
    if (this.#turns.isOver && !this.#isAsync) return false;
    this.#linger ??= setTimeout(() => {
      this.#acksAreDue = true;
      this.#wake();
    }, LINGER);
    return true;
  }

  #takeHandled() {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    this.#acksAreDue = false;
    return this.#handled.splice(0);
  }

  #beginAcks() {
    if (this.#handled.length > 0) this.#begin(this.#retrying.ack(this.#takeHandled()), this.#acks);
  }

  /** How many messages can begin soon; more where all that was prefetched waits for its senders. */
  #need() {
    const most = this.#source.batchSize;
    this.#reach = this.#buffer.size > 0 ? Math.min(2 * this.#reach, most) : 1;
    return Math.min(Math.max(this.#options.concurrency - this.#handling, this.#pace.soon(), this.#reach), most);
  }

  /** @param {number} limit @param {Hold[]} acks messages that are acknowledged first, in the same transaction */
  #beginClaim(limit, acks) {
    const claiming = /** @type {Claiming & {ended: Promise<void>}} */ ({ isUndone: false, acks, endAcks: () => {} });
    if (acks.length > 0) {
      const acking = new Promise((/** @type {(_: void) => void} */ resolve) => {
        claiming.endAcks = resolve;
      });
      this.#begin(acking, this.#acks);
      for (const hold of acks) this.#retrying.acknowledging.add(hold);
    }
    claiming.ended = this.#claim(claiming, limit).then(
      () => this.#claimEnded(),
      (error) => this.#claimEnded({ error }),
    );
    return claiming;
  }

  /** @param {{error: unknown}} [failure] */
  #claimEnded(failure) {
    this.#claiming = undefined;
    if (failure !== undefined) this.#fail(failure.error);
    this.#wake();
  }

  /** @param {Claiming} claiming @param {number} limit */
  async #claim(claiming, limit) {
    const onAcked = (/** @type {number} */ count) => {
      const acked = claiming.acks.splice(0);
      for (const hold of acked) this.#retrying.acknowledging.delete(hold);
      this.#retrying.reportAcked(acked, count);
      claiming.endAcks();
    };
    for (let attempt = 1; !claiming.isUndone; attempt++) {
      try {
        claiming.claim = this.#source.claim(limit, idsOf(claiming.acks), onAcked);
        const records = await claiming.claim.claimed;
        // what came too late is given back by whoever has undone the claim
        if (claiming.isUndone) break;
        this.#claimedAt = performance.now();
        this.#turns.begin();
        this.#buffer.add(this.#holds.add(records));
        return;
      } catch (error) {
        if (claiming.isUndone) break;
        const hasAcks = claiming.acks.length > 0;
        this.#ackApart(claiming);
        // the acknowledgements are tried again by themselves, before anything else is claimed
        if (hasAcks && isPassing(error)) return;
        if (this.#stop.asked || !isPassing(error)) throw error;
        await this.#retrying.pause(attempt, error);
      }
    }
    await claiming.undone;
  }

  /**
   * Acknowledges by themselves the messages that a claim was to acknowledge. Nobody knows whether it has; those that
   * are missing will be late.
   * @param {Claiming} claiming
   */
  #ackApart(claiming) {
    const open = claiming.acks.splice(0).filter((hold) => this.#retrying.acknowledging.has(hold));
    if (open.length > 0) this.#begin(this.#retrying.ack(open, false, true), this.#acks);
    claiming.endAcks();
  }

  /** @param {Hold} hold */
  async #handle(hold) {
    const { record } = hold;
    this.#handling += 1;
    this.#pace.begins();
    let hasPlace = true;
    const freePlace = () => {
      if (!hasPlace) return;
      hasPlace = false;
      this.#handling -= 1;
      this.#waiting += 1;
      this.#pace.ends();
      this.#wake();
    };
    try {
      const context = new DeliveryContext(record, this.#source, this);
      if (await this.#deliveries.deliver(hold, context, freePlace))
        (hold.givenBack ? this.#handledLate : this.#handled).push(hold);
    } catch (error) {
      if (!hold.over) this.#unhandled.push(record.id);
      this.#fail(error);
    }
    this.#holds.drop([record]);
    this.#buffer.finished(record);
    freePlace();
    this.#waiting -= 1;
    this.#wake();
  }

  /**
   * Work that has to be finished before the consumer is.
   * @param {Promise<unknown>} work @param {Set<Promise<void>>} [among]
   */
  #begin(work, among = this.#writes) {
    const ended = work
      .catch((error) => this.#fail(error))
      .then(() => {
        among.delete(ended);
        this.#wake();
      });
    among.add(ended);
  }

  // -- told by the mailbox --------------------------------------------------------------------------------------------

  /** @param {string[]} ids @returns {Promise<unknown> | undefined} */
  #beforeSettling(ids) {
    if (!this.#holds.anyOf(ids)) return undefined;
    this.#beginAcks();
    // if only the later of two messages were committed, a death would bring the earlier one back after it
    const { orderedBySender, concurrency } = this.#options;
    return (orderedBySender || concurrency === 1) && this.#acks.size > 0 ? Promise.all(this.#acks) : undefined;
  }

  #onClosing() {
    this.#isClosed = true;
    this.#beginAcks();
    // a claim under way is not undone: it may have acknowledgements with it
    this.#stop.ask();
    this.#wake();
  }

  /** The page is left or frozen, and all that the handle held has been given back; it may come back. */
  #onLifeOver() {
    this.#holds.drop(this.#buffer.takeAll());
    this.#holds.allGivenBack();
    // an acknowledgement under way may come too late: it settles only what is still held
    this.#handledLate.push(...this.#takeHandled(), ...this.#retrying.acknowledging);
    this.#retrying.acknowledging.clear();
    this.#endClaim();
    this.#pauses += 1;
    setTimer(PAUSE_AFTER_UNLOAD, () => this.#resume());
    this.#wake();
  }

  // -- ending ---------------------------------------------------------------------------------------------------------

  /** Ends with an error, the first one that occurs; a closed mailbox is not an error. @param {unknown} error */
  #fail(error) {
    if (error instanceof MailboxClosedError) this.#isClosed = true;
    else if (this.#failure === undefined) this.#failure = { error };
    else if (this.#failure.error !== error) console.error(`${this.#source.label}: one more error at the end:`, error);
    this.askToStop();
  }

  #resume() {
    this.#pauses -= 1;
    this.#wake();
  }

  /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  async #withoutClaims(work) {
    this.#pauses += 1;
    try {
      this.#endClaim();
      await this.#claiming?.ended;
      return await work();
    } finally {
      this.#resume();
    }
  }

  /** Undoes a claim that is under way; nothing of it is held when it has ended. */
  #endClaim() {
    if (this.#claiming === undefined || this.#claiming.isUndone) return;
    this.#claiming.isUndone = true;
    this.#claiming.undone = this.#claiming.claim?.undo();
    this.#ackApart(this.#claiming);
  }
}
