/**
 * A handle on a mailbox: each verb is one operation, and at most one readwrite transaction.
 *
 * Messages cross as bytes, see `frames.js`; ids as 16 bytes each, one after the other.
 */

import { Cancellation } from "../coordination/cancellation.js";
import { SECOND_LOOK } from "../coordination/liveness.js";
import { NO_BATCH, framesIn, idsOfBatch } from "../model/frames.js";
import { eachId } from "../model/ids.js";
import { PRIORITIES } from "../model/lane.js";
import { countOf } from "../model/queries.js";
import { result } from "../storage/requests.js";
import * as archive from "./archive.js";
import { ackAtHandIn, ackIn, claimNext } from "./handle-claims.js";
import { Operations } from "./operations.js";
import { sleep } from "./recovery.js";
import { adoptRemembered, readRemembered } from "./remembered-ids.js";
import { estimateStorage, requestPersistence } from "./storage-report.js";
import * as deadLetters from "./verbs/dead-letters.js";
import { enqueue, enqueueAtHand } from "./verbs/enqueue.js";
import { get } from "./verbs/get.js";
import { peek } from "./verbs/peek.js";
import { promote } from "./verbs/promote.js";
import { ack, ackLate, nack, purge } from "./verbs/settle.js";
import { status } from "./verbs/status.js";
import { goneAmongContexts, pruneSeals, sealedContexts } from "./write-lease.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./handle-claims.js").AckFirst} AckFirst */
/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */

/** The counts of a mailbox that no longer exists. @type {import("./types.js").Counts} */
const NO_COUNTS = {
  queued: Array.from({ length: PRIORITIES }, () => 0),
  inflight: 0,
  deadLetters: 0,
  delayed: 0,
  nextDue: undefined,
  oldest: undefined,
  everQueued: 0,
};

export class MailboxHandle {
  /** Called with the queued count when somebody else has enqueued. @type {((depth: number) => void) | undefined} */
  onDepth;
  recovery;

  #engine;
  #options;
  #operations;
  #holder;
  /**
   * Functions that are called on changes, each with the function that ends this. @type {Map<() => void, () => void>}
   */
  #listeners = new Map();

  /** @param {Engine} engine @param {string} mailbox its name @param {Options} options */
  constructor(engine, mailbox, options) {
    this.mailbox = mailbox;
    this.#engine = engine;
    this.#options = options;
    this.#operations = new Operations(engine, mailbox, options);
    this.#holder = this.#operations.holder;
    this.recovery = engine.recoveries.enter(mailbox);
  }

  // -- its life -------------------------------------------------------------------------------------------------------

  /**
   * @param {Engine} engine @param {string} mailbox @param {import("./types.js").Durability} durability
   * @param {number} maxDeliveries 0 for any number @param {number} lease milliseconds
   */
  static async open(engine, mailbox, durability, maxDeliveries, lease) {
    engine.connection.enter();
    const handle = new MailboxHandle(engine, mailbox, { durability, maxDeliveries, lease });
    try {
      await handle.#holder.life.begin();
      // at once, so that others know it before it is open
      engine.notifier.add(handle);
      await handle.#begin();
    } catch (error) {
      handle.#leave();
      throw error;
    }
    engine.handles.add(handle);
    return handle;
  }

  /** Makes the mailbox if there is none, recovers what gone holders held, and clears away what gone contexts left. */
  async #begin() {
    const { groupCommit, liveness, locks, notes: known } = this.#engine;
    const [[stored, sealed], notes] = await Promise.all([
      groupCommit.read(async (tx) => Promise.all([tx.stored(this.mailbox), sealedContexts(tx.store("mailboxes"))])),
      groupCommit.read((tx) => result(tx.store("notes").count()), ["notes"]),
    ]);
    this.#operations.noteOpened();
    if (stored === undefined) await this.#operations.submit(async (tx) => tx.changed(this.mailbox));
    else if (liveness.elsewhereAmong(stored.claims).size > 0) await this.recovery.recover();
    // of all mailboxes: nobody else clears away the notes of one that no longer exists
    if (notes > 0 || known.known().length > 0) await this.recovery.recoverFrom(new Map());
    const gone = await goneAmongContexts(locks, sealed);
    if (gone.size > 0) await this.#operations.submit((tx) => pruneSeals((name) => tx.store(name), gone));
  }

  get isClosed() {
    return this.#holder.isClosed;
  }

  /** How many of this handle's lives are over. */
  get livesOver() {
    return this.#holder.livesOver;
  }

  /**
   * Called when a life of this handle is over: what it held has been given back or taken.
   * @returns {(() => void) | undefined}
   */
  get onLifeOver() {
    return this.#holder.onLifeOver;
  }

  /** @param {(() => void) | undefined} listener */
  set onLifeOver(listener) {
    this.#holder.onLifeOver = listener;
  }

  /** Releases what this handle holds, after all earlier calls. */
  async close() {
    if (this.isClosed) return;
    this.#stop();
    await Promise.allSettled(this.#operations.reads);
    try {
      do {
        await this.#operations.commit(async (tx, state) => {
          const released = countOf(await tx.run(state, state.releaseAll(this.#holder.life.id)));
          if (released > 0) this.#operations.announce(tx, released);
        });
        // the page may have been left meanwhile, and its note may be out of date
      } while (this.#holder.pending.hasLives);
    } finally {
      this.#leave();
    }
  }

  /** Closes a handle that nobody refers to any more. */
  abandon() {
    this.close().catch(() => {
      // nobody gets this error; whoever looks next takes back what it held
    });
  }

  /** For the checks: leaves everything as if its page or worker had ended. */
  die() {
    if (this.isClosed) return;
    this.#stop();
    // for other handles of this context, which do not check whether it lives
    this.recovery.see(new Map(this.#holder.lives.map(({ id }) => [id, { ...this.#holder.terms, beat: 0 }])));
    this.#leave();
  }

  /**
   * Ends this life while the page is being left or frozen.
   * @returns {[string, string][]} the holders whose messages a note must give back, each with its mailbox
   */
  releaseOnUnload() {
    return this.#holder.releaseOnUnload().map((holder) => [holder, this.mailbox]);
  }

  /** Continues in a page that was left and is back. */
  resumeAfterUnload() {
    return this.#holder.releasePending();
  }

  #stop() {
    this.#holder.stop();
    this.#engine.waiters.wakeAll(this);
    for (const [onChange, stop] of [...this.#listeners]) {
      stop();
      onChange();
    }
  }

  /** The end, after others have been notified of what was released. */
  #leave() {
    const { connection, handles, notifier } = this.#engine;
    handles.delete(this);
    notifier.remove(this);
    this.recovery.leave();
    this.#holder.end();
    connection.leave();
  }

  /** The depth of the mailbox after somebody else has enqueued. @param {number} depth */
  receiveDepth(depth) {
    if (!this.isClosed) this.onDepth?.(depth);
  }

  /**
   * Calls a function after commits that may have changed a count of the mailbox, whoever made them (once for several
   * close together), and when this handle is closed.
   * @param {() => void} onChange must be quick @returns {() => void} ends that
   */
  listenToChanges(onChange) {
    const ending = this.#engine.changes.listen(this.mailbox, onChange);
    const stop = () => {
      ending();
      this.#listeners.delete(onChange);
    };
    this.#listeners.set(onChange, stop);
    return stop;
  }

  // -- the verbs of a queue -------------------------------------------------------------------------------------------

  /**
   * Enqueues messages, all or none.
   * @param {Uint8Array} frames
   * @param {Uint8Array} [sentOn] the id of a message that was acknowledged in order to be sent on, as for the
   * transaction's `enqueue`
   * @returns {Promise<[Uint8Array, number | undefined]>} each message's id; and the queued count just after, undefined
   * if none was enqueued
   */
  enqueue(frames, sentOn) {
    return this.#operations.submitStoring(
      async (tx, state) => {
        const { ids, enqueued } = await enqueue(tx, state, frames, sentOn);
        if (enqueued === 0) return [ids, undefined];
        tx.changed(this.mailbox);
        return [ids, this.#announceDepth(tx, state, enqueued)];
      },
      (tx, state) => {
        const done = enqueueAtHand(tx, state, frames);
        if (done === undefined) return undefined;
        tx.changed(this.mailbox);
        return [done.ids, this.#announceDepth(tx, state, done.enqueued)];
      },
    );
  }

  /**
   * Claims up to `limit` messages.
   * @param {number} limit @param {number} wait milliseconds to wait for the first one
   * @param {{ids: Uint8Array, heldOnly: boolean, onCommit?: AckFirst["onCommit"]}} [ack] what to acknowledge in the
   * transaction in which it first looks
   * @returns {{claimed: Promise<{batch: Uint8Array}>, undo: () => Promise<void>}} `undo` also undoes a claim that is
   * still under way, and resolves when nothing of it is held any more
   */
  claim(limit, wait, ack) {
    const cancelled = new Cancellation();
    const heldIn = ack?.heldOnly ? this.#holder.life : undefined;
    const first = ack && { ids: ack.ids, heldIn, onCommit: ack.onCommit };
    const claimed = claimNext(this.#operations, this.recovery, this, limit, wait, cancelled, first);
    const undo = async () => {
      cancelled.cancel();
      try {
        const { batch, life } = await claimed;
        if (!life.over) await this.release(idsOfBatch(batch));
      } catch {
        // nothing was claimed, or the release is tried again
      }
    };
    return { claimed, undo };
  }

  /**
   * Releases messages that this handle holds and undoes their hand-outs; if that fails, a later commit does it.
   * @param {Uint8Array} ids
   */
  async release(ids) {
    if (ids.length === 0 || this.isClosed) return;
    this.#holder.pending.addMessages(eachId(ids));
    try {
      await this.#operations.submit(async () => {});
    } finally {
      this.#holder.retryPending();
    }
  }

  /** Deletes messages, wherever they are. @param {Uint8Array} ids @returns {Promise<number>} how many there were */
  ack(ids) {
    return this.#ack(ids);
  }

  /**
   * Deletes those of the messages that this handle holds.
   * @param {Uint8Array} ids @returns {Promise<number>} how many it held
   */
  ackHeld(ids) {
    return this.#ack(ids, this.#holder.life);
  }

  /**
   * Deletes messages that this handle held, whoever has them now, but no newer message that was given the id of one.
   * @param {Uint8Array} ids @param {Iterable<number>} created when each was made, milliseconds since 1970
   * @returns {Promise<void>}
   */
  ackLate(ids, created) {
    const times = [...created];
    return this.#operations.submit(async (tx, state) => {
      if ((await ackLate(tx, state, eachId(ids), times)) > 0) tx.changed(this.mailbox);
    });
  }

  /** @param {Uint8Array} ids @param {import("../coordination/liveness.js").Life} [heldIn] */
  #ack(ids, heldIn) {
    return this.#operations.submit((tx, state) => ackIn(this.#operations, tx, state, ids, heldIn), {
      atHand: (tx, state) => ackAtHandIn(this.#operations, tx, state, ids, heldIn),
    });
  }

  /**
   * Deletes a message that this handle holds, and enqueues others, in mailboxes of the same database.
   * @param {Uint8Array} id @param {MailboxHandle[]} targets one for each frame @param {Uint8Array} frames
   * @returns {Promise<(number | undefined)[] | undefined>} for each target the queued count of its mailbox, undefined
   * if it got nothing. Undefined as a whole if this handle does not hold the message; then nothing was done
   */
  ackAndSend(id, targets, frames) {
    const { life: since } = this.#holder;
    return this.#operations.submitStoring(async (tx, state) => {
      const [one] = eachId(id);
      const { life } = this.#holder;
      const place = await tx.find(state, one);
      if (this.#holder.isOverIn(since, tx) || place === undefined || !state.isHeldBy(life.id, place)) return undefined;
      tx.moves();
      await ack(tx, state, [one]);
      tx.changed(this.mailbox);
      /** @type {Set<string>} */
      const grown = new Set();
      for (const [i, frame] of framesIn(frames).entries()) {
        const { mailbox } = targets[i];
        const sent = frames.subarray(frame.offset, frame.end);
        const sentOn = mailbox === this.mailbox ? one : undefined;
        if ((await enqueue(tx, await tx.state(mailbox), sent, sentOn)).enqueued > 0) grown.add(mailbox);
      }
      /** @type {Map<string, number>} */
      const depths = new Map();
      for (const mailbox of grown) {
        tx.changed(mailbox);
        const depth = (await tx.state(mailbox)).queuedCount();
        depths.set(mailbox, depth);
        tx.announce(mailbox, depth, targets);
      }
      return targets.map(({ mailbox }) => depths.get(mailbox));
    });
  }

  /**
   * Gives back a message that this handle holds, as failed or with its hand-out undone.
   * @param {Uint8Array} id @param {number} delay milliseconds @param {string | undefined} error
   * @param {boolean} [failed]
   * @returns {Promise<boolean | string>} false if this handle does not hold it; the reason if it has become a dead
   * letter
   */
  nack(id, delay, error, failed = true) {
    const { life: since } = this.#holder;
    return this.#operations.submit(async (tx, state) => {
      // the life that held it has given it back, and it may have been handed out again
      if (this.#holder.isOverIn(since, tx)) return false;
      const due = delay > 0 ? Date.now() + delay : 0;
      const nacked = await nack(
        tx,
        state,
        this.#holder.life.id,
        this.#options.maxDeliveries,
        eachId(id)[0],
        due,
        error,
        failed,
      );
      if (nacked) this.#operations.announce(tx);
      return nacked;
    });
  }

  /**
   * Ends delays.
   * @param {Uint8Array} [ids] of messages; all if omitted
   * @returns {Promise<number>} how many delays were still running
   */
  promote(ids) {
    return this.#operations.submit(async (tx, state) => {
      const { running, queued } = await promote(tx, state, ids && eachId(ids));
      if (queued > 0) this.#operations.announce(tx, queued);
      return running;
    });
  }

  /** Deletes all queued messages. @returns {Promise<number>} how many there were */
  purge() {
    return this.#operations.submit(async (tx, state) => {
      const purged = await purge(tx, state);
      if (purged > 0) tx.changed(this.mailbox);
      return purged;
    });
  }

  /** Takes back what gone holders had. @returns {Promise<number>} how many messages came back */
  async recover() {
    await this.#operations.read(undefined, async () => {});
    const { recovered, living } = await this.recovery.recover();
    if (this.isClosed || ![...living.values()].some(({ locked }) => locked)) return recovered;
    await sleep(SECOND_LOOK);
    return this.isClosed ? recovered : recovered + (await this.recovery.recover()).recovered;
  }

  // -- dead letters ---------------------------------------------------------------------------------------------------

  /**
   * Moves a message that this handle holds to the dead letters.
   * @param {Uint8Array} id @param {string} reason @returns {Promise<boolean>} false if this handle does not hold it
   */
  async bury(id, reason) {
    const { life: since } = this.#holder;
    await this.#operations.retryUnavailableIfDue();
    // On a full disk it gets the room of the reserve: what it stores, it deletes elsewhere. If that is not enough, its
    // caller is told soon, since all calls of this context wait meanwhile.
    const { durability } = this.#options;
    return this.#operations.submit(
      async (tx, state) => {
        if (this.#holder.isOverIn(since, tx)) return false;
        const buried = await deadLetters.bury(tx, state, this.#holder.life.id, eachId(id)[0], reason);
        if (buried) tx.changed(this.mailbox);
        return buried;
      },
      { durability, tidyings: 2 },
    );
  }

  /**
   * Puts a dead letter at the end of its priority, as new.
   * @param {Uint8Array} id @returns {Promise<number | undefined>} the queued count after it; undefined if there is none
   */
  async redrive(id) {
    await this.#operations.retryUnavailableIfDue();
    return this.#operations.submitStoring(async (tx, state) => {
      const redriven = await deadLetters.redrive(tx, state, eachId(id)[0]);
      if (redriven !== undefined) tx.changed(this.mailbox);
      return redriven ? this.#announceDepth(tx, state) : undefined;
    });
  }

  /** Deletes a dead letter. @param {Uint8Array} id @returns {Promise<boolean>} false if there is none */
  discard(id) {
    return this.#operations.submit(async (tx, state) => {
      const discarded = await deadLetters.discard(tx, state, eachId(id)[0]);
      if (discarded !== undefined) tx.changed(this.mailbox);
      return discarded ?? false;
    });
  }

  /**
   * @param {number} limit @param {number} [offset] how many are passed over
   * @returns {Promise<[Uint8Array, string]>} a batch, newest first, and JSON: `[reason, error, diedAt]` of each
   */
  listDeadLetters(limit, offset = 0) {
    const { shownBytes } = this.#engine.settings;
    return this.#operations.readWhole([NO_BATCH, "[]"], (tx, state) =>
      deadLetters.listDeadLetters(tx, state, limit, offset, shownBytes),
    );
  }

  // -- what changes nothing -------------------------------------------------------------------------------------------

  /** How many messages there are, at one moment. @returns {Promise<import("./types.js").Counts>} */
  status() {
    return this.#operations.read(NO_COUNTS, status, (read) => this.#engine.groupCommit.readAtOnce(read));
  }

  /**
   * As `status`, in numbers.
   * @returns {Promise<(number | undefined)[]>} running delays, when the oldest queued message was made, messages ever
   * queued, dead letters, inflight messages, then queued ones by priority
   */
  async count() {
    const { queued, inflight, deadLetters, delayed, oldest, everQueued } = await this.status();
    return [delayed, oldest, everQueued, deadLetters, inflight, ...queued];
  }

  /** When the next message is due, milliseconds since 1970. @returns {Promise<number | undefined>} */
  async nextDue() {
    return (await this.status()).nextDue;
  }

  /**
   * Finds one message.
   * @param {Uint8Array} id
   * @returns {Promise<[Uint8Array, string]>} a batch of one at most; and JSON, of a dead letter
   * `[reason, error, diedAt]`
   */
  get(id) {
    return this.#operations.readWhole([NO_BATCH, "[]"], (tx, state) => get(tx, state, eachId(id)[0]));
  }

  /**
   * Shows messages, queued ones first.
   * @param {number} limit @param {number | undefined} status only messages with this status
   * @param {number} [offset] how many are passed over
   * @returns {Promise<Uint8Array>} a batch
   */
  peek(limit, status, offset = 0) {
    const { shownBytes } = this.#engine.settings;
    return this.#operations.readWhole(NO_BATCH, (tx, state) => peek(tx, state, limit, status, offset, shownBytes));
  }

  /**
   * Where the holders of some messages are; undefined for a message that nobody holds. Takes nothing back.
   * @param {Uint8Array} ids
   * @returns {Promise<(import("../coordination/liveness.js").Whereabouts | undefined)[]>}
   */
  async whereHeld(ids) {
    /** @type {(import("../model/claims.js").Claims | undefined)[]} */
    const none = [];
    const claims = await this.#operations.readWhole(none, async (tx, state) => {
      const found = [];
      for (const id of eachId(ids)) {
        const place = await tx.find(state, id);
        found.push(place && state.claimsOn(place));
      }
      return found;
    });
    const holders = new Map(claims.flatMap((one) => (one === undefined ? [] : [[one.holder, one]])));
    const whereabouts = await this.#engine.liveness.whereabouts(this.mailbox, holders);
    return claims.map((one) => one && whereabouts.get(one.holder));
  }

  /**
   * How safe the storage is, and how full it is.
   * @returns {Promise<[boolean | undefined, number | undefined, number | undefined, boolean]>} whether it is
   * persistent, bytes in use, the most bytes allowed, and whether the site's data was cleared since this mailbox was
   * last seen, as far as that can be told: by this handle, earlier in this context, and on a page also before that
   */
  async storageReport() {
    // reopens a lost connection, and so sees whether the database is still the same
    await this.#engine.groupCommit.read(async () => {});
    const { persistent, usage, quota } = await estimateStorage();
    return [persistent, usage, quota, this.#operations.wasWiped];
  }

  /** Asks the browser to keep this origin's data. @returns {Promise<boolean>} */
  requestPersistence() {
    return requestPersistence();
  }

  // -- a mailbox as a whole -------------------------------------------------------------------------------------------

  /**
   * Some messages of a section with everything known about them.
   * @param {number} section a priority, or `DEAD` @param {number} from the first number
   * @param {number | undefined} until exclusive; undefined for all that exist now
   * @returns {Promise<import("./types.js").Page>}
   */
  readSection(section, from, until) {
    return this.#operations.readWhole(/** @type {import("./types.js").Page} */ ([NO_BATCH, "[]", 0, 0]), (tx, state) =>
      archive.readSection(tx, state, section, from, until),
    );
  }

  /**
   * Stores messages with everything known about them.
   * @param {Uint8Array} frames @param {string} details see `archive.js`
   * @returns {Promise<[Uint8Array, number | undefined]>} a 1 for each that was stored; and the queued count, if it grew
   */
  adopt(frames, details) {
    return this.#operations.submitStoring(async (tx, state) => {
      const { stored, grown } = await archive.adopt(tx, state, frames, details);
      if (stored.includes(1)) tx.changed(this.mailbox);
      return [stored, grown ? this.#announceDepth(tx, state) : undefined];
    });
  }

  /**
   * Known ids, in order, whether or not their messages still exist; see `remembered-ids.js`.
   * @param {Uint8Array} [after] the last id that was read
   * @returns {Promise<Uint8Array>} empty when there are no more
   */
  readRemembered(after) {
    return this.#operations.read(new Uint8Array(), (tx, state) => readRemembered(tx, state, after && eachId(after)[0]));
  }

  /** Keeps ids known. @param {Uint8Array} known as `readRemembered` gives them */
  remember(known) {
    return this.#operations.submitStoring(async (tx, state) => {
      if (await adoptRemembered(tx, state, known)) tx.changed(this.mailbox);
    });
  }

  /**
   * Tells others that there may be something to claim, and observers the depth.
   * @param {WriteTransaction} tx @param {MailboxState} state @param {number} [count] how many messages
   */
  #announceDepth(tx, state, count) {
    const depth = state.queuedCount();
    tx.announce(this.mailbox, depth, [this], count);
    return depth;
  }
}
