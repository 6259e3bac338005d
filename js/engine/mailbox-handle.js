/**
 * A handle on a mailbox: each verb is one operation, and at most one readwrite transaction.
 *
 * Messages cross as bytes, see `frames.js`; ids as 16 bytes each, one after the other.
 */

import { groupCommit, connection, handles, notifier, waiters } from "./realm.js";
import { claimWithin } from "./claim-loop.js";
import { Life, SECOND_LOOK, isElsewhere } from "../coordination/liveness.js";
import { Recovery, SLOW_POLL, sleep } from "./recovery.js";
import { forgetNotes, knownNotes } from "../coordination/unload-notes.js";
import { result } from "../storage/database.js";
import { UnsupportedError, closed, unavailable } from "../model/errors.js";
import { NO_BATCH, countOfBatch, framesIn, idsOfBatch } from "../model/frames.js";
import { ID_BYTES } from "../model/ids.js";
import * as verbs from "./verbs.js";
import { Unreadable } from "./read-transaction.js";
import { lastSeenIn, noteSeen } from "../storage/database-identity.js";
import { goneAmongContexts, pruneSeals, sealedContexts } from "./write-lease.js";
import * as whole from "./archive.js";

/** Milliseconds after which what could not be given back is tried again, at first; then twice as long each time, up to the slow poll. */
const FIRST_RETRY = 100;

/** Milliseconds between two beats at most, whatever the lease: what a timer can wait has an end. */
const LONGEST_BEAT = 3_600_000;

/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./claim-loop.js").Found} Found */
/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/**
 * What a claim acknowledges first: ids, whether only those that the handle holds, and who is told how many that removed,
 * once it is committed, and whether the claim goes on waiting.
 * @typedef {{ids: Uint8Array, heldOnly: boolean, onCommit?: (removed: number, waits: boolean) => void}} AckFirst
 */
/**
 * See `Operation`.
 * @template T
 * @typedef {{durability?: import("./types.js").Durability, stores?: boolean, notes?: boolean, atHand?: (commit: WriteTransaction, state: MailboxState) => T | undefined, onCommit?: (value: T) => void, onDoubt?: (value: T) => void}} Needs
 */
/** What an operation comes to, in which life of the handle, and with what state. @template T @typedef {{value: T, life: Life, state: MailboxState}} Done */

export class MailboxHandle {
  /** Told the queued count when somebody else has enqueued. @type {((depth: number) => void) | undefined} */
  onDepth;
  /** Told that a life of this handle is over: what it held has been given back, or taken. @type {(() => void) | undefined} */
  onLifeOver;
  /** How many lives of this handle are over. */
  livesOver = 0;
  isClosed = false;
  recovery;

  #options;
  #life = this.#newLife();
  /** Whether the release has been committed, and nothing is to be done any more. */
  #left = false;
  /** Whether this handle held messages after its last commit. */
  #holding = false;
  /** Commits under way, each of which may leave it with messages. */
  #underWay = 0;
  /** The last commit that this handle took part in. @type {WriteTransaction | undefined} */
  #lastCommit;
  /**
   * Lives of this handle that are past, until what they held is known to be settled: given back, of which a note may tell, or
   * the present life's, where only the lock was taken away.
   * @type {Map<Life, {noted: boolean, inherited: boolean, held: boolean}>}
   */
  #past = new Map();
  /** Messages that the present life holds and is to give back. @type {Map<string, Uint8Array<ArrayBuffer>>} */
  #owed = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  #retryAfter = FIRST_RETRY;
  /** Reads under way; they do not queue with what writes. @type {Set<Promise<unknown>>} */
  #reads = new Set();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #heartbeat;
  /** Wipes of the site's data that this handle's calls have been told of. */
  #wipes = connection.wipes;
  #wipesAtOpen = connection.wipes;
  /** Whether the site's data was cleared between the last time that this mailbox was seen and its opening. */
  #wipedBefore = false;

  /** @param {string} mailbox its name @param {Options} options */
  constructor(mailbox, options) {
    this.mailbox = mailbox;
    this.#options = options;
    this.recovery = Recovery.enter(mailbox);
  }

  /** @param {string} mailbox @param {import("./types.js").Durability} durability @param {number} maxDeliveries 0 for any number @param {number} lease milliseconds */
  static async open(mailbox, durability, maxDeliveries, lease) {
    connection.enter();
    const handle = new MailboxHandle(mailbox, { durability, maxDeliveries, lease });
    try {
      await handle.#life.begin();
      // now, so that others know of it before it is open
      notifier.add(handle);
      await handle.#begin();
    } catch (error) {
      handle.#leave();
      throw error;
    }
    handles.add(handle);
    return handle;
  }

  /**
   * As `open`, for a caller who may stop waiting: `abandon` then lets the handle go once it is open.
   * @param {Parameters<typeof MailboxHandle.open>} given @returns {{handle: Promise<MailboxHandle>, abandon: () => void}}
   */
  static beginToOpen(...given) {
    const opening = MailboxHandle.open(...given);
    return { handle: opening, abandon: () => void opening.then((handle) => handle.abandon(), () => {}) };
  }

  /** Makes the mailbox if it is not there, takes back what is to be had, and clears away what contexts left who are gone. */
  async #begin() {
    const [[stored, sealed], notes] = await Promise.all([
      groupCommit.read(async (reading) =>
        Promise.all([reading.stored(this.mailbox), sealedContexts(reading.store("mailboxes"))]),
      ),
      groupCommit.read((reading) => result(reading.store("departed").count()), ["departed"]),
    ]);
    this.#wipes = this.#wipesAtOpen = connection.wipes;
    const seenIn = lastSeenIn(this.mailbox);
    this.#wipedBefore = seenIn !== undefined && seenIn !== connection.birth;
    noteSeen(this.mailbox, connection.birth);
    if (stored === undefined) await this.#submit(async (commit) => commit.changed(this.mailbox));
    else if (this.#strangersIn(stored).size > 0) await this.recovery.look();
    // of other mailboxes, too: those of one that is no more are nobody else's to clear away
    if (notes > 0 || knownNotes().length > 0) await this.recovery.takeBack(new Map());
    const gone = await goneAmongContexts(sealed);
    if (gone.size > 0) await this.#submit((commit) => pruneSeals((name) => commit.store(name), gone));
  }

  /**
   * Stores messages, all or none.
   * @param {Uint8Array} frames
   * @returns {Promise<[Uint8Array, number | undefined]>} each message's id; and how many were queued just after these,
   * undefined if none was stored
   */
  enqueue(frames) {
    return this.#submitStoring(async (commit, state) => {
      const { ids, stored } = await verbs.store(commit, state, frames);
      if (stored === 0) return [ids, undefined];
      commit.changed(this.mailbox);
      return [ids, this.#announceDepth(commit, state, stored)];
    }, (commit, state) => {
      const done = verbs.storeAtHand(commit, state, frames);
      if (done === undefined) return undefined;
      commit.changed(this.mailbox);
      return [done.ids, this.#announceDepth(commit, state, done.stored)];
    });
  }

  /**
   * Marks up to `limit` messages inflight.
   * @param {number} limit @param {number} wait milliseconds that it waits for the first one
   * @param {AckFirst} [ack] what is acknowledged in the transaction in which it first looks
   * @returns {{batch: Promise<Uint8Array>, undo: () => Promise<void>}} `undo` also undoes a claim that is still on its
   * way, and resolves when nothing of it is held any more
   */
  claim(limit, wait, ack) {
    const cancelled = new AbortController();
    const claimed = this.#claim(limit, wait, cancelled.signal, ack);
    const undo = async () => {
      cancelled.abort();
      try {
        const { batch, life } = await claimed;
        if (!life.over) await this.release(idsOfBatch(batch));
      } catch {
        // nothing was claimed, or it is tried again
      }
    };
    return { batch: claimed.then(({ batch }) => batch), undo };
  }

  /** Gives messages back that this handle holds, their hand-outs undone; where that fails, a later commit does it. @param {Uint8Array} ids */
  async release(ids) {
    if (ids.length === 0 || this.isClosed) return;
    for (const id of each(ids)) this.#owed.set(verbs.keyOf(id), id);
    try {
      await this.#submit(async () => {});
    } finally {
      this.#retryIfOwing();
    }
  }

  /** Deletes messages, wherever they are. @param {Uint8Array} ids @returns {Promise<number>} how many there were */
  remove(ids) {
    return this.#submit(
      (commit, state) => this.#remove(commit, state, ids, false),
      { atHand: (commit, state) => this.#removeAtHand(commit, state, ids, false) },
    );
  }

  /** Deletes those of the messages that this handle holds. @param {Uint8Array} ids @returns {Promise<number>} how many it held */
  settle(ids) {
    return this.#submit(
      (commit, state) => this.#remove(commit, state, ids, true),
      { atHand: (commit, state) => this.#removeAtHand(commit, state, ids, true) },
    );
  }

  /**
   * Deletes a message that this handle holds, and stores others, in mailboxes of the same database.
   * @param {Uint8Array} id @param {MailboxHandle[]} targets one for each frame @param {Uint8Array} frames
   * @returns {Promise<(number | undefined)[] | undefined>} for each target the queued count of its mailbox, undefined if it
   * got nothing; undefined if this handle does not hold the message, and nothing was done
   */
  removeAndSend(id, targets, frames) {
    return this.#submitStoring(async (commit, state) => {
      const [one] = each(id);
      const place = await commit.find(state, one);
      if (place === undefined || !state.isHeldBy(this.#life.id, place)) return undefined;
      commit.moves();
      await verbs.remove(commit, state, [one]);
      commit.changed(this.mailbox);
      /** @type {Set<string>} */
      const grown = new Set();
      for (const [i, frame] of [...framesIn(frames)].entries()) {
        const { mailbox } = targets[i];
        const sent = frames.subarray(frame.offset, frame.end);
        if ((await verbs.store(commit, await commit.state(mailbox), sent)).stored > 0) grown.add(mailbox);
      }
      /** @type {Map<string, number>} */
      const depths = new Map();
      for (const mailbox of grown) {
        commit.changed(mailbox);
        const depth = (await commit.state(mailbox)).queuedCount();
        depths.set(mailbox, depth);
        commit.announce(mailbox, depth, targets);
      }
      return targets.map(({ mailbox }) => depths.get(mailbox));
    });
  }

  /**
   * Gives a message back that this handle holds, as failed.
   * @param {Uint8Array} id @param {number} delay milliseconds @param {string | undefined} error
   * @returns {Promise<boolean | string>} false if this handle does not hold it; the reason if it is a dead letter now
   */
  fail(id, delay, error) {
    return this.#submitMoving(async (commit, state) => {
      const due = delay > 0 ? Date.now() + delay : 0;
      return verbs.fail(commit, state, this.#life.id, this.#options.maxDeliveries, each(id)[0], due, error);
    });
  }

  /** Moves a message that this handle holds to the dead letters. @param {Uint8Array} id @param {string} reason */
  async bury(id, reason) {
    if (groupCommit.isToLookAgain) await groupCommit.lookAgain();
    return this.#submitStoring(async (commit, state) => {
      const buried = await verbs.bury(commit, state, this.#life.id, each(id)[0], reason);
      if (buried) commit.changed(this.mailbox);
      return buried;
    });
  }

  /**
   * @param {number} limit @param {number} [offset] how many are passed over
   * @returns {Promise<[Uint8Array, string]>} a batch, newest first, and JSON: `[reason, error, diedAt]` of each
   */
  deadLetters(limit, offset = 0) {
    return this.#readWhole([NO_BATCH, "[]"], (reading, state) => verbs.deadLetters(reading, state, limit, offset));
  }

  /**
   * Puts a dead letter at the end of its priority, as new.
   * @param {Uint8Array} id @returns {Promise<number | undefined>} the queued count after it; undefined if there is none
   */
  async redrive(id) {
    if (groupCommit.isToLookAgain) await groupCommit.lookAgain();
    return this.#submitStoring(async (commit, state) => {
      const redriven = await verbs.redrive(commit, state, each(id)[0]);
      if (redriven !== undefined) commit.changed(this.mailbox);
      return redriven ? this.#announceDepth(commit, state) : undefined;
    });
  }

  /** Deletes a dead letter. @param {Uint8Array} id @returns {Promise<boolean>} false if there is none */
  discard(id) {
    return this.#submit(async (commit, state) => {
      const discarded = await verbs.discard(commit, state, each(id)[0]);
      if (discarded !== undefined) commit.changed(this.mailbox);
      return discarded ?? false;
    });
  }

  /** Takes back what holders had who are gone. @returns {Promise<number>} how many messages came back */
  async recover() {
    await this.#read(undefined, async () => {});
    const { recovered, living } = await this.recovery.look();
    if (this.isClosed || ![...living.values()].some(({ locked }) => locked)) return recovered;
    await sleep(SECOND_LOOK);
    return this.isClosed ? recovered : recovered + (await this.recovery.look()).recovered;
  }

  /** @returns {Promise<number[]>} dead letters, inflight messages, then queued ones by priority */
  async count() {
    return (await this.tally()).slice(1);
  }

  /** @returns {Promise<number[]>} how many were ever queued; then as `count`, at the same moment */
  tally() {
    const counts = async (/** @type {unknown} */ _, /** @type {MailboxState} */ state) => [
      state.everQueued(),
      state.deadLetters,
      state.inflightCount(),
      ...state.queuedByPriority(),
    ];
    return this.#read([0, 0, 0, 0, 0], counts, (read) => groupCommit.readAtOnce(read));
  }

  /**
   * Shows messages, queued ones first.
   * @param {number} limit @param {number | undefined} status only these @param {number} [offset] how many are passed over
   * @returns {Promise<Uint8Array>} a batch
   */
  peek(limit, status, offset = 0) {
    return this.#readWhole(NO_BATCH, (reading, state) => verbs.peek(reading, state, limit, status, offset));
  }

  /**
   * Some messages of a section with all that is known of them.
   * @param {number} section a priority, or `DEAD` @param {number} from the first number
   * @param {number | undefined} until exclusive; undefined for all there are now @returns {Promise<import("./types.js").Page>}
   */
  readSection(section, from, until) {
    return this.#readWhole(/** @type {import("./types.js").Page} */ ([NO_BATCH, "[]", 0, 0]), (reading, state) =>
      whole.read(reading, state, section, from, until),
    );
  }

  /**
   * Stores messages with all that is known of them.
   * @param {Uint8Array} frames @param {string} details see `archive.js`
   * @returns {Promise<[Uint8Array, number | undefined]>} a 1 for each that was stored; and the queued count if it grew
   */
  adopt(frames, details) {
    return this.#submitStoring(async (commit, state) => {
      const { stored, grown } = await whole.adopt(commit, state, frames, details);
      if (stored.includes(1)) commit.changed(this.mailbox);
      return [stored, grown ? this.#announceDepth(commit, state) : undefined];
    });
  }

  /** Deletes all queued messages. @returns {Promise<number>} how many there were */
  purge() {
    return this.#submit(async (commit, state) => {
      const removed = await commit.removeQueued(state);
      if (removed > 0) commit.changed(this.mailbox);
      return removed;
    });
  }

  /**
   * How safe the storage is, and how full.
   * @returns {Promise<[boolean | undefined, number | undefined, number | undefined, boolean]>} whether it is persistent,
   * bytes in use, bytes that may be, and whether the site's data was cleared since this mailbox was last seen, where that
   * can be told: under this handle, before it in this context, and on a page also before that
   */
  async storageReport() {
    // opens the connection again where it was lost, and so sees whether the database is still the same
    await groupCommit.read(async () => {});
    // in a frame of another site the browser may refuse to tell
    const [estimate, persistent] = await Promise.allSettled([ask((storage) => storage.estimate()), ask((storage) => storage.persisted())]);
    const { usage, quota } = (estimate.status === "fulfilled" ? estimate.value : undefined) ?? {};
    const wiped = this.#wipedBefore || connection.wipes > this.#wipesAtOpen;
    return [persistent.status === "fulfilled" ? persistent.value : undefined, usage, quota, wiped];
  }

  /** Asks the browser to keep this origin's data. @returns {Promise<boolean>} */
  async requestPersistence() {
    const only = "Only a page in a secure context can ask for persistent storage; call navigator.storage.persist() there.";
    const storage = globalThis.navigator?.storage;
    if (storage?.persist === undefined) throw new UnsupportedError(only);
    try {
      return await storage.persist();
    } catch (error) {
      throw new UnsupportedError(`The browser refuses to be asked for persistent storage here. ${only}`, { cause: error });
    }
  }

  /** Gives back what this handle holds, after all calls that came before. */
  async close() {
    if (this.isClosed) return;
    this.#stop();
    await Promise.allSettled(this.#reads);
    try {
      do {
        await this.#commit(async (commit, state) =>
          this.#announceReleased(commit, await commit.run(state, state.releaseAll(this.#life.id))),
        );
        // the page may have been left meanwhile, and a note tells what is no more
      } while (this.#past.size > 0);
    } finally {
      this.#leave();
    }
  }

  /** Leaves everything as a death would; for a handle that nobody refers to any more. */
  abandon() {
    if (this.isClosed) return;
    this.#stop();
    // for other handles of this context, which do not ask whether it lives
    this.recovery.see(new Map([this.#life, ...this.#past.keys()].map(({ id }) => [id, { ...this.#terms, beat: 0 }])));
    this.#leave();
  }

  /**
   * Ends this life while the page is being left or frozen.
   * @returns {[string, string][]} the holders, with the mailbox, of which a note has to say that what they hold goes back
   */
  releaseOnUnload() {
    if (this.#left) return [];
    const left = this.#life;
    this.#life = this.#newLife();
    left.over = true;
    this.livesOver += 1;
    const mayHold = this.#holding || this.#underWay > 0 || this.#owed.size > 0;
    this.#owed.clear();
    if (mayHold) this.#past.set(left, { noted: true, inherited: false, held: true });
    else left.end();
    this.#holding = false;
    this.#beatIf(false);
    for (const [life, past] of this.#past) {
      life.over = true;
      Object.assign(past, { noted: true, inherited: false });
    }
    return [...this.#past.keys()].map(({ id }) => [id, this.mailbox]);
  }

  /** Gives back now what is to be given back, and tries again later where that fails. */
  async giveBackOwed() {
    if (this.#past.size === 0 && this.#owed.size === 0) return;
    try {
      await this.#commit(async () => {});
    } catch {
      // tried again
    }
    this.#retryIfOwing();
  }

  /** The depth of the mailbox after somebody else has enqueued. @param {number} depth */
  hear(depth) {
    if (!this.isClosed) this.onDepth?.(depth);
  }

  // -- inside -----------------------------------------------------------------------------------------------------------

  /** @param {WriteTransaction} commit @param {MailboxState} state @param {Uint8Array} ids @param {boolean} heldOnly only those that this handle holds */
  async #remove(commit, state, ids, heldOnly) {
    const removed = heldOnly
      ? await verbs.removeHeld(commit, state, this.#life.id, each(ids))
      : await verbs.remove(commit, state, each(ids));
    if (removed > 0) commit.changed(this.mailbox);
    return removed;
  }

  /** As `#remove`, where nothing has to be read for it. @param {WriteTransaction} commit @param {MailboxState} state @param {Uint8Array} ids @param {boolean} heldOnly */
  #removeAtHand(commit, state, ids, heldOnly) {
    const removed = verbs.removeAtHand(commit, state, each(ids), heldOnly ? this.#life.id : undefined);
    if (removed !== undefined) commit.changed(this.mailbox);
    return removed;
  }

  /** @param {number} limit @param {number} wait @param {AbortSignal} cancelled @param {AckFirst} [ack] */
  #claim(limit, wait, cancelled, ack) {
    const { mailbox, recovery } = this;
    const isClosed = () => this.isClosed;
    const claimNow = async (/** @type {(found: Found) => void} */ onCommit) => {
      const found = await this.#claimNow(limit, cancelled, ack, onCommit);
      if (found.removed !== undefined) {
        ack?.onCommit?.(found.removed, found.batch.length === NO_BATCH.length && wait > 0);
        ack = undefined;
      }
      return found;
    };
    const lookInMemory = () => (ack === undefined ? this.#lookInMemory() : undefined);
    const parked = this.#parked(limit, cancelled);
    return claimWithin({ mailbox, recovery, isClosed, lookInMemory, claimNow, parked }, this, wait, cancelled);
  }

  /** What a look would find, where that is nothing by what is in memory. @returns {Found | undefined} */
  #lookInMemory() {
    if (this.isClosed || !this.#life.begun || !this.#owesNothing) return undefined;
    const state = groupCommit.stateInMemory(this.mailbox);
    if (state === undefined || this.#hasLostAll(state) || state.isReady(Date.now())) return undefined;
    return { batch: NO_BATCH, life: this.#life, strangers: this.#strangersIn(state), more: false, nextDue: state.nextDue, nextTry: Infinity };
  }

  /**
   * What a call that waits claims in a commit of others, where nothing has to be read for it.
   * @param {number} limit @param {AbortSignal} cancelled
   * @returns {import("../coordination/waiters.js").Claiming<Found>}
   */
  #parked(limit, cancelled) {
    const operation = this.#operation(() => Promise.reject(closed()), {
      atHand: (commit, state) => {
        if (cancelled.aborted || this.isClosed || !this.#life.begun) return undefined;
        commit.flush();
        if (!verbs.countAtHand(commit, state, limit)) return undefined;
        const batch = verbs.claimAtHand(commit, state, this.#life.id, this.#terms, limit);
        if (batch === undefined) return undefined;
        commit.changed(this.mailbox);
        commit.claimedByWaiting(this.mailbox, countOfBatch(batch));
        return { batch, life: this.#life, strangers: this.#strangersIn(state), more: false, nextDue: state.nextDue, nextTry: Infinity };
      },
    });
    /** @type {Done<Found> | undefined} */
    let done;
    return {
      claim: (/** @type {WriteTransaction} */ commit) => {
        done = operation.atHand?.(commit);
        if (done === undefined) return undefined;
        this.#underWay += 1;
        return done.value;
      },
      committed: () => {
        this.#underWay -= 1;
        operation.onCommit?.(/** @type {Done<Found>} */ (done));
      },
      failed: (found, undone) => {
        this.#underWay -= 1;
        if (!undone) this.#owe(found);
      },
    };
  }

  /**
   * @param {number} limit @param {AbortSignal} cancelled @param {AckFirst | undefined} ack
   * @param {(found: Found) => void} onCommit called as soon as it is committed
   * @returns {Promise<Found & {removed?: number}>} without `removed` if nothing was done
   */
  async #claimNow(limit, cancelled, ack, onCommit) {
    if (!this.#life.begun) await this.#life.begin();
    if (groupCommit.isToLookAgain) await groupCommit.lookAgain();
    const atHand = (/** @type {WriteTransaction} */ commit, /** @type {MailboxState} */ state) => {
      if (cancelled.aborted || !this.#life.begun) return undefined;
      const count = verbs.countAtHand(commit, state, limit);
      if (count === undefined || (count === 0 && ack === undefined)) return undefined;
      const removed = ack === undefined ? 0 : this.#removeAtHand(commit, state, ack.ids, ack.heldOnly);
      if (removed === undefined) return undefined;
      const batch = count === 0 ? NO_BATCH : verbs.claimAtHand(commit, state, this.#life.id, this.#terms, limit);
      if (batch === undefined) throw new Error("what was there to be claimed has just been acknowledged");
      commit.changed(this.mailbox);
      return { batch, life: this.#life, strangers: this.#strangersIn(state), more: state.isReady(Date.now()), nextDue: state.nextDue, nextTry: commit.unavailable.nextTryOf(state.number), removed };
    };
    return this.#submit(async (commit, state) => {
      const found = { batch: NO_BATCH, life: this.#life, strangers: new Map(), more: true, nextDue: Infinity, nextTry: Infinity };
      // cancelled before its turn, or before it was tried again: nothing is claimed, so nothing has to go back
      if (cancelled.aborted || !this.#life.begun) return found;
      const removed = ack === undefined ? 0 : await this.#remove(commit, state, ack.ids, ack.heldOnly);
      const claimed = await verbs.claim(commit, state, this.#life.id, this.#terms, limit);
      if (claimed.changed) commit.changed(this.mailbox);
      const strangers = this.#strangersIn(state);
      const nextTry = commit.unavailable.nextTryOf(state.number);
      return { ...found, batch: claimed.batch, strangers, more: state.isReady(Date.now()), nextDue: state.nextDue, nextTry, removed };
    }, { atHand, onCommit, onDoubt: (found) => this.#owe(found) });
  }

  /** Gives back what this handle may hold and nobody has: nothing tells whether it was claimed. @param {Found} found */
  #owe({ batch, life }) {
    if (life.over || this.isClosed) return;
    for (const id of each(idsOfBatch(batch))) this.#owed.set(verbs.keyOf(id), id);
    this.#retryIfOwing();
  }

  /** Who holds something in other contexts. @param {MailboxState} state @returns {import("../coordination/liveness.js").Holders} */
  #strangersIn(state) {
    return new Map([...state.claims].filter(([holder]) => isElsewhere(holder)));
  }

  #newLife() {
    return new Life((lost) => this.#renew(lost));
  }

  /** Begins a new life, with what the last one holds, whose lock was taken away. @param {Life} lost */
  async #renew(lost) {
    if (lost !== this.#life || this.#left) return;
    const next = this.#newLife();
    await next.begin();
    if (lost !== this.#life || this.#left) {
      next.end();
      return;
    }
    this.#past.set(lost, { noted: false, inherited: true, held: this.#holding || this.#underWay > 0 });
    this.#life = next;
    await this.giveBackOwed();
  }

  #stop() {
    this.isClosed = true;
    clearTimeout(this.#retry);
    this.#beatIf(false);
    waiters.wakeAll(this);
  }

  /** The end, when others have been told what was given back. */
  #leave() {
    this.#left = true;
    handles.delete(this);
    notifier.remove(this);
    this.recovery.leave();
    for (const life of [this.#life, ...this.#past.keys()]) life.end();
    connection.leave();
  }

  get #terms() {
    const { maxDeliveries, lease } = this.#options;
    return { maxDeliveries, lease, locked: this.#life.locked };
  }

  /** Others may find something to claim. @param {WriteTransaction} commit @param {number} [count] how many messages */
  #announce(commit, count) {
    commit.changed(this.mailbox);
    commit.announce(this.mailbox, undefined, [], count);
  }

  /** @param {WriteTransaction} commit @param {import("../model/types.js").LaneRun[]} runs what has been given back */
  #announceReleased(commit, runs) {
    const count = countOf(runs);
    if (count > 0) this.#announce(commit, count);
  }

  /** Others may find something to claim, and observers hear of it. @param {WriteTransaction} commit @param {MailboxState} state @param {number} [count] how many messages */
  #announceDepth(commit, state, count) {
    const depth = state.queuedCount();
    commit.announce(this.mailbox, depth, [this], count);
    return depth;
  }

  /**
   * @template T @param {(commit: WriteTransaction, state: MailboxState) => Promise<T>} run
   * @param {(commit: WriteTransaction, state: MailboxState) => T | undefined} [atHand] @returns {Promise<T>}
   */
  #submitStoring(run, atHand) {
    return this.#submit(run, { durability: this.#options.durability, stores: true, atHand });
  }

  /** An operation that may give something back to the queue; its result says whether it did. @template T @param {(commit: WriteTransaction, state: MailboxState) => Promise<T>} run @returns {Promise<T>} */
  #submitMoving(run) {
    return this.#submit(async (commit, state) => {
      const moved = await run(commit, state);
      if (moved) this.#announce(commit);
      return moved;
    });
  }

  /**
   * @template T @param {(commit: WriteTransaction, state: MailboxState) => Promise<T>} run
   * @param {Needs<T>} [needs] @returns {Promise<T>}
   */
  #submit(run, needs) {
    return this.isClosed ? Promise.reject(closed()) : this.#commit(run, needs);
  }

  /**
   * @template T @param {(commit: WriteTransaction, state: MailboxState) => Promise<T>} run
   * @param {Needs<T>} [needs] @returns {Promise<T>}
   */
  async #commit(run, needs) {
    this.#underWay += 1;
    try {
      return (await groupCommit.submit(this.#operation(run, needs))).value;
    } finally {
      this.#underWay -= 1;
    }
  }

  /**
   * @template T @param {(commit: WriteTransaction, state: MailboxState) => Promise<T>} run
   * @param {Needs<T>} [needs] @returns {import("./types.js").Operation<Done<T>>}
   */
  #operation(run, { durability = "relaxed", stores = false, notes = false, atHand, onCommit, onDoubt } = {}) {
    const done = (/** @type {T} */ value, /** @type {MailboxState} */ state) => ({ value, life: this.#life, state });
    return {
      durability,
      stores,
      needsNotes: () => notes || [...this.#past.values()].some(({ noted }) => noted),
      run: async (commit) => {
        this.#checkNotWiped();
        const state = await commit.state(this.mailbox);
        await this.#settle(commit, state);
        return done(await run(commit, state), state);
      },
      mailbox: this.mailbox,
      atHand:
        atHand &&
        ((commit) => {
          if (!this.#owesNothing) return undefined;
          const state = commit.stateAtHand(this.mailbox);
          if (state === undefined || this.#hasLostAll(state)) return undefined;
          const value = atHand(commit, state);
          return value === undefined ? undefined : done(value, state);
        }),
      onCommit: ({ value, life, state }) => {
        // as all that shares the commit has left it
        if (life === this.#life) this.#beatIf((this.#holding = state.claims.has(life.id)) && !this.#left);
        onCommit?.(value);
      },
      onDoubt: ({ value }) => onDoubt?.(value),
    };
  }

  /**
   * Settles what past lives held and what is to be given back, once a commit.
   * @param {WriteTransaction} commit @param {MailboxState} state
   */
  async #settle(commit, state) {
    if (commit !== this.#lastCommit && this.#hasLostAll(state)) {
      // it was silent for its lease, and others have taken all that it held
      this.#life.over = true;
      this.#past.set(this.#life, { noted: false, inherited: false, held: true });
      this.#life = this.#newLife();
      this.#holding = false;
      this.livesOver += 1;
      this.onLifeOver?.();
    }
    this.#lastCommit = commit;
    if ((this.#past.size === 0 && this.#owed.size === 0) || commit.returned.has(this)) return;
    const settled = [...this.#past].filter(([, { noted }]) => !noted || commit.seesNotes);
    const owed = [...this.#owed];
    /** @type {Life[]} */
    const taken = [];
    let released = 0;
    for (const [life, { noted, inherited, held }] of settled) {
      if (noted) commit.store("departed").delete(life.id);
      if (!inherited) released += countOf(await commit.run(state, state.releaseAll(life.id)));
      else if (state.bequeath(life.id, this.#life.id, this.#terms)) commit.changed(this.mailbox);
      else if (held) taken.push(life);
    }
    // after that, since what is owed may be what a past life held
    released += await verbs.release(commit, state, this.#life.id, owed.map(([, id]) => id));
    if (released > 0) this.#announce(commit, released);
    commit.returned.set(this, () => {
      for (const [life] of settled) {
        this.#past.delete(life);
        life.end();
      }
      forgetNotes(settled.filter(([, { noted }]) => noted).map(([{ id }]) => id));
      for (const [key] of owed) this.#owed.delete(key);
      if (taken.length === 0) return;
      for (const life of taken) life.over = true;
      this.livesOver += 1;
      this.onLifeOver?.();
    });
  }

  /** Whether there is nothing that a commit would have to settle first. */
  get #owesNothing() {
    return this.#wipes === connection.wipes && this.#past.size === 0 && this.#owed.size === 0;
  }

  /** Whether others have taken all that this handle held. @param {MailboxState} state */
  #hasLostAll(state) {
    return this.#holding && !this.#life.locked && !state.claims.has(this.#life.id);
  }

  /** Tries again after a while what could not be given back. */
  #retryIfOwing() {
    clearTimeout(this.#retry);
    if (this.isClosed || (this.#past.size === 0 && this.#owed.size === 0)) {
      this.#retryAfter = FIRST_RETRY;
      return;
    }
    this.#retry = setTimeout(() => this.giveBackOwed(), this.#retryAfter);
    this.#retryAfter = Math.min(2 * this.#retryAfter, SLOW_POLL);
  }

  /**
   * @template T @param {T} absent the answer where there is no such mailbox any more
   * @param {(reading: import("./read-transaction.js").ReadTransaction, state: MailboxState) => Promise<T>} read
   * @param {(read: (reading: import("./read-transaction.js").ReadTransaction) => Promise<T>) => Promise<T>} [inTransaction] @returns {Promise<T>}
   */
  #read(absent, read, inTransaction = (read) => groupCommit.read(read)) {
    if (this.isClosed) return Promise.reject(closed());
    const reading = inTransaction(async (reading) => {
      this.#checkNotWiped();
      const state = await reading.stored(this.mailbox);
      return state === undefined ? absent : read(reading, state);
    });
    this.#reads.add(reading);
    const done = () => this.#reads.delete(reading);
    reading.then(done, done);
    return reading;
  }

  /**
   * Reads what may turn out to be unreadable: that becomes a dead letter, and it is read again.
   * @template T @param {T} absent @param {(reading: import("./read-transaction.js").ReadTransaction, state: MailboxState) => Promise<T>} read @returns {Promise<T>}
   */
  async #readWhole(absent, read) {
    if (groupCommit.isToLookAgain) await groupCommit.lookAgain();
    for (;;) {
      try {
        return await this.#read(absent, read);
      } catch (error) {
        if (!(error instanceof Unreadable)) throw error;
        const { place } = error;
        await this.#submit(async (commit, state) => {
          await commit.salvage(state, place);
          commit.changed(this.mailbox);
        });
      }
    }
  }

  /** Raised once: the messages are gone, and what comes next is a new mailbox. */
  #checkNotWiped() {
    if (this.#wipes === connection.wipes) return;
    this.#wipes = connection.wipes;
    noteSeen(this.mailbox, connection.birth);
    throw unavailable("This site's data was cleared, and all messages with it. The mailbox goes on empty.");
  }

  /** Where no lock shows that this holder lives, a beat does, for as long as it holds something. @param {boolean} holding */
  #beatIf(holding) {
    if ((this.#life.locked && holding) || (this.#heartbeat !== undefined) === holding) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    if (!holding) return;
    const beat = () =>
      this.#submit(async (commit, state) => {
        if (state.beat(this.#life.id)) commit.changed(this.mailbox);
      }).catch(() => {
        // a beat that is missed counts for nothing; the next one tells
      });
    this.#heartbeat = setInterval(beat, Math.min(this.#options.lease / 3, LONGEST_BEAT));
  }
}

/** Asks what the browser tells of the storage. @template T @param {(storage: StorageManager) => Promise<T>} question @returns {Promise<T | undefined>} undefined where there is none to ask */
async function ask(question) {
  const storage = globalThis.navigator?.storage;
  return storage && question(storage);
}

/** @param {Uint8Array} ids @returns {Uint8Array<ArrayBuffer>[]} */
const each = (ids) =>
  Array.from({ length: ids.length / ID_BYTES }, (_, i) => ids.slice(i * ID_BYTES, (i + 1) * ID_BYTES));

/** @param {import("../model/types.js").LaneRun[]} runs */
const countOf = (runs) => runs.reduce((count, { from, to }) => count + to - from, 0);
