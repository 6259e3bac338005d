/**
 * A handle on a mailbox: each verb is one operation, and at most one readwrite transaction.
 *
 * Messages cross as bytes, see `frames.js`; ids as 16 bytes each, one after the other.
 */

import { committer, connection, handles, signals } from "./context.js";
import { result } from "./database.js";
import { ConnectionLostError, UnsupportedError, closed, unavailable } from "./errors.js";
import { framesIn, idsOfBatch, packBatch } from "./frames.js";
import { Life, SECOND_LOOK } from "./holders.js";
import { ID_BYTES } from "./ids.js";
import * as operations from "./operations.js";
import { Unreadable } from "./reading.js";
import { Recovery } from "./recovery.js";
import { lastSeenIn, noteSeen } from "./seen.js";
import { goneAmongContexts, pruneRevocations, revokedContexts } from "./tenures.js";
import { Waiting } from "./waiting.js";
import * as whole from "./whole.js";

/** Milliseconds after which whoever waits looks all the same: hints may be lost. */
const SLOW_POLL = 5000;

/** Milliseconds between two looks at who else is alive, by a handle that finds enough to claim. */
const LOOK_ASIDE = 500;

const NO_BATCH = packBatch([]);

/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./recovery.js").Others} Others */
/** @typedef {import("./commit.js").Commit} Commit */
/** @typedef {import("./model/state.js").MailboxState} MailboxState */
/** @typedef {{durability?: import("./types.js").Durability, stores?: boolean, notes?: boolean}} Needs see `Operation` */

export class MailboxHandle {
  /** Told the queued count when somebody else has enqueued. @type {((depth: number) => void) | undefined} */
  onDepth;
  /** Told that all which this handle held has been given back, since the page is being left. @type {(() => void) | undefined} */
  onDeparture;

  #options;
  #life;
  #closed = false;
  /** Whether this handle may hold messages. */
  #holding = false;
  /** How often all that was held was given back by a note, since the page was left. */
  #departures = 0;
  /** The last of these whose note is gone. */
  #returned = 0;
  /** Claims on their way. */
  #claiming = 0;
  #waiting = new Waiting();
  /** Reads under way; they do not queue with what writes. @type {Set<Promise<unknown>>} */
  #reads = new Set();
  /** When it last looked, while it found enough to claim, at who else is alive. */
  #lookedAside = -Infinity;
  #recovery = new Recovery({
    notes: () => this.#countNotes(),
    others: () => this.#others(),
    takeBack: (gone) => this.#takeBack(gone),
  });
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #heartbeat;
  /** Wipes of the site's data that this handle's calls have been told of. */
  #wipes = connection.wipes;
  #wipesAtOpen = connection.wipes;
  /** Whether the site's data was cleared between the last time that this mailbox was seen and its opening. */
  #wipedBefore = false;

  /** @param {string} mailbox its name @param {Options} options @param {Life} life */
  constructor(mailbox, options, life) {
    this.mailbox = mailbox;
    this.#options = options;
    this.#life = life;
  }

  /** @param {string} mailbox @param {import("./types.js").Durability} durability @param {number} maxDeliveries 0 for any number @param {number} lease milliseconds */
  static async open(mailbox, durability, maxDeliveries, lease) {
    connection.enter();
    const life = await Life.begin();
    const handle = new MailboxHandle(mailbox, { durability, maxDeliveries, lease }, life);
    // now, so that others know of it before it is open
    signals.add(handle);
    try {
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
    const [[stored, revoked], notes] = await Promise.all([
      committer.read(async (reading) =>
        Promise.all([reading.stored(this.mailbox), revokedContexts(reading.store("mailboxes"))]),
      ),
      committer.read((reading) => result(reading.store("departed").count()), ["departed"]),
    ]);
    this.#wipes = this.#wipesAtOpen = connection.wipes;
    const seenIn = lastSeenIn(this.mailbox);
    this.#wipedBefore = seenIn !== undefined && seenIn !== connection.birth;
    noteSeen(this.mailbox, connection.birth);
    if (stored === undefined) await this.#submit(async (commit) => commit.changed(this.mailbox));
    else if (stored.claims.size > 0) this.#recovery.watch((await this.#recovery.now()).living);
    if (notes > 0) await this.#takeBack(new Map());
    const gone = await goneAmongContexts(revoked);
    if (gone.size > 0) await this.#submit((commit) => pruneRevocations(commit.store("mailboxes"), gone));
  }

  /**
   * Stores messages, all or none.
   * @param {Uint8Array} frames
   * @returns {Promise<[Uint8Array, number | undefined]>} each message's id; and how many were queued just after these,
   * undefined if none was stored
   */
  enqueue(frames) {
    return this.#submitStoring(async (commit, state) => {
      const { ids, stored } = await operations.store(commit, state, frames);
      if (stored === 0) return [ids, undefined];
      commit.changed(this.mailbox);
      return [ids, this.#announceDepth(commit, state)];
    });
  }

  /**
   * Marks up to `limit` messages inflight.
   * @param {number} limit @param {number} wait milliseconds that it waits for the first one
   * @returns {{batch: Promise<Uint8Array>, undo: () => Promise<void>}} `undo` also undoes a claim that is still on its
   * way, and resolves when nothing of it is held any more
   */
  claim(limit, wait) {
    const cancelled = new AbortController();
    const batch = this.#claim(limit, wait, cancelled.signal);
    const undo = async () => {
      cancelled.abort();
      try {
        await this.release(idsOfBatch(await batch));
      } catch {
        // nothing was claimed, or it goes back when this handle is closed
      }
    };
    return { batch, undo };
  }

  /** Gives messages back that this handle holds, their hand-outs undone. @param {Uint8Array} ids */
  async release(ids) {
    if (ids.length === 0 || this.#closed) return;
    await this.#submit(async (commit, state) => {
      if ((await operations.release(commit, state, this.#life.id, each(ids))) > 0) this.#announce(commit);
    });
  }

  /** Deletes messages, wherever they are. @param {Uint8Array} ids @returns {Promise<number>} how many there were */
  remove(ids) {
    return this.#submit(async (commit, state) => {
      const removed = await operations.remove(commit, state, each(ids));
      if (removed > 0) commit.changed(this.mailbox);
      return removed;
    });
  }

  /** Deletes those of the messages that this handle holds. @param {Uint8Array} ids @returns {Promise<number>} how many it held */
  settle(ids) {
    return this.#submit(async (commit, state) => {
      const removed = await operations.removeHeld(commit, state, this.#life.id, each(ids));
      if (removed > 0) commit.changed(this.mailbox);
      return removed;
    });
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
      await operations.remove(commit, state, [one]);
      commit.changed(this.mailbox);
      /** @type {Set<string>} */
      const grown = new Set();
      for (const [i, frame] of [...framesIn(frames)].entries()) {
        const { mailbox } = targets[i];
        const sent = frames.subarray(frame.offset, frame.end);
        if ((await operations.store(commit, await commit.state(mailbox), sent)).stored > 0) grown.add(mailbox);
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
      return operations.fail(commit, state, this.#life.id, this.#options.maxDeliveries, each(id)[0], due, error);
    });
  }

  /** Moves a message that this handle holds to the dead letters. @param {Uint8Array} id @param {string} reason */
  bury(id, reason) {
    return this.#submitStoring(async (commit, state) => {
      const buried = await operations.bury(commit, state, this.#life.id, each(id)[0], reason);
      if (buried) commit.changed(this.mailbox);
      return buried;
    });
  }

  /**
   * @param {number} limit @param {number} [offset] how many are passed over
   * @returns {Promise<[Uint8Array, string]>} a batch, newest first, and JSON: `[reason, error, diedAt]` of each
   */
  deadLetters(limit, offset = 0) {
    return this.#readWhole([NO_BATCH, "[]"], (reading, state) => operations.deadLetters(reading, state, limit, offset));
  }

  /**
   * Puts a dead letter at the end of its priority, as new.
   * @param {Uint8Array} id @returns {Promise<number | undefined>} the queued count after it; undefined if there is none
   */
  redrive(id) {
    return this.#submitStoring(async (commit, state) => {
      const redriven = await operations.redrive(commit, state, each(id)[0]);
      commit.changed(this.mailbox);
      return redriven ? this.#announceDepth(commit, state) : undefined;
    });
  }

  /** Deletes a dead letter. @param {Uint8Array} id @returns {Promise<boolean>} false if there is none */
  discard(id) {
    return this.#submit(async (commit, state) => {
      const discarded = await operations.discard(commit, state, each(id)[0]);
      commit.changed(this.mailbox);
      return discarded;
    });
  }

  /** Takes back what holders had who are gone. @returns {Promise<number>} how many messages came back */
  async recover() {
    const { recovered, living } = await this.#recovery.now();
    const here = new Set([...handles].map((handle) => handle.#life.id));
    if (![...living].some(([holder, terms]) => terms.locked && !here.has(holder))) return recovered;
    await sleep(SECOND_LOOK);
    return recovered + (await this.#recovery.now()).recovered;
  }

  /** @returns {Promise<number[]>} dead letters, inflight messages, then queued ones by priority */
  async count() {
    return (await this.tally()).slice(1);
  }

  /** @returns {Promise<number[]>} how many were ever queued; then as `count`, at the same moment */
  tally() {
    return this.#read([0, 0, 0, 0, 0], async (_, state) => [
      state.everQueued(),
      state.deadLetters,
      state.inflightCount(),
      ...state.queuedByPriority(),
    ]);
  }

  /**
   * Shows messages, queued ones first.
   * @param {number} limit @param {number | undefined} status only these @param {number} [offset] how many are passed over
   * @returns {Promise<Uint8Array>} a batch
   */
  peek(limit, status, offset = 0) {
    return this.#readWhole(NO_BATCH, (reading, state) => operations.peek(reading, state, limit, status, offset));
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
   * @param {Uint8Array} frames @param {string} details see `whole.js`
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
    await committer.read(async () => {});
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
    if (this.#closed) return;
    this.#stop();
    await Promise.allSettled(this.#reads);
    try {
      await this.#commit(async (commit, state) => {
        if ((await commit.run(state, state.releaseAll(this.#life.id))).length > 0) this.#announce(commit);
      });
    } finally {
      this.#leave();
    }
  }

  /** Leaves everything as a death would; for a handle that nobody refers to any more. */
  abandon() {
    if (this.#closed) return;
    this.#stop();
    this.#leave();
  }

  /**
   * Gives back what this handle holds while the page is being left or frozen: one write without a read, since nothing
   * may run any more that could look at an answer. Whoever comes next, or this handle if it goes on, acts on it.
   */
  depart() {
    if ((!this.#holding && this.#claiming === 0) || this.#closed) return;
    if (!connection.writeAtOnce("departed", this.mailbox, this.#life.id)) return;
    this.#departures += 1;
    this.onDeparture?.();
    signals.publish({ mailbox: this.mailbox, depth: undefined });
  }

  /** News of this mailbox. @param {number | undefined} depth */
  hear(depth) {
    if (depth !== undefined) this.onDepth?.(depth);
    this.#waiting.wake();
  }

  // -- inside -----------------------------------------------------------------------------------------------------------

  /** @param {number} limit @param {number} wait @param {AbortSignal} cancelled */
  async #claim(limit, wait, cancelled) {
    const deadline = performance.now() + wait;
    let lookedAround = -Infinity;
    let lookAgain = SLOW_POLL;
    for (;;) {
      const news = this.#waiting.listen(cancelled);
      try {
        const { batch, others, nextDue } = await this.#claimNow(limit, cancelled);
        if (batch.length > NO_BATCH.length && others.length > 0) this.#lookAside();
        if (batch.length > NO_BATCH.length || cancelled.aborted) return batch;
        // a call that was under way when the handle was closed is let finish; one that waits ends with an error
        if (this.#closed && wait === 0) return batch;
        const looked = performance.now() - lookedAround >= SECOND_LOOK;
        if (others.length > 0 && looked) {
          // what others hold may be theirs no more; a page in the back/forward cache takes a second look
          const first = lookedAround === -Infinity;
          lookedAround = performance.now();
          const { recovered, living } = await this.#recovery.now();
          this.#recovery.watch(living);
          lookAgain = Math.min(SLOW_POLL, ...leasesOf(living));
          if (this.#closed && wait === 0) return batch;
          if (recovered > 0) continue;
          if (first && performance.now() < deadline) {
            await news.within(Math.min(SECOND_LOOK, deadline - performance.now()));
            continue;
          }
        }
        // woken so soon after a look that it did not look again, it does so in time
        const nextLook = others.length > 0 && !looked ? lookedAround + SECOND_LOOK - performance.now() : Infinity;
        const patience = Math.min(deadline - performance.now(), nextDue - Date.now(), nextLook, lookAgain);
        if (deadline <= performance.now()) return batch;
        await news.within(Math.max(0, patience));
      } finally {
        news.stop();
      }
    }
  }

  /**
   * Looks now and then, beside what is going on, for what others hold who are gone: a mailbox that never runs dry must not
   * keep it from coming back.
   */
  #lookAside() {
    if (performance.now() - this.#lookedAside < LOOK_ASIDE) return;
    this.#lookedAside = performance.now();
    this.#recovery.now().then(
      ({ living }) => this.#recovery.watch(living),
      () => {
        // this handle's next call meets the same error, and can tell somebody
      },
    );
  }

  /** @param {number} limit @param {AbortSignal} cancelled */
  async #claimNow(limit, cancelled) {
    this.#claiming += 1;
    try {
      return await this.#submit(async (commit, state) => {
        // cancelled before its turn, or before it was tried again: nothing is claimed, so nothing has to go back
        if (cancelled.aborted) return { batch: NO_BATCH, others: [], nextDue: Infinity };
        const claimed = await operations.claim(commit, state, this.#life.id, this.#terms, limit);
        if (claimed.changed) commit.changed(this.mailbox);
        return { batch: claimed.batch, others: state.otherHolders(this.#life.id), nextDue: state.nextDue };
      });
    } finally {
      this.#claiming -= 1;
    }
  }

  /** How many notes of departure there are for this mailbox. @returns {Promise<number>} */
  #countNotes() {
    return committer.read(
      async (reading) => (await result(reading.store("departed").getAll())).filter((mailbox) => mailbox === this.mailbox).length,
      ["departed"],
    );
  }

  /** Who else holds something. @returns {Promise<Others>} */
  #others() {
    return this.#read(
      /** @type {Others} */ (new Map()),
      async (_, state) => new Map([...state.claims].filter(([holder]) => holder !== this.#life.id)),
    );
  }

  /** Takes back what some had who are gone, and what notes of departure give back. @param {import("./holders.js").Gone} gone @returns {Promise<number>} */
  #takeBack(gone) {
    return this.#submit(
      async (commit, state) => {
        const recovered = await operations.recover(commit, this.mailbox, state, gone);
        if (recovered > 0) this.#announce(commit);
        return recovered;
      },
      { notes: true },
    );
  }

  #stop() {
    this.#closed = true;
    handles.delete(this);
    clearInterval(this.#heartbeat);
    this.#recovery.stop();
    this.#waiting.wake();
  }

  /** The end, when others have been told what was given back. */
  #leave() {
    signals.remove(this);
    this.#life.end();
    connection.leave();
  }

  get #terms() {
    const { maxDeliveries, lease } = this.#options;
    return { maxDeliveries, lease, locked: this.#life.locked };
  }

  /** Others may find something to claim. @param {Commit} commit */
  #announce(commit) {
    commit.changed(this.mailbox);
    commit.announce(this.mailbox, undefined, []);
  }

  /** Others may find something to claim, and observers hear of it. @param {Commit} commit @param {MailboxState} state */
  #announceDepth(commit, state) {
    const depth = state.queuedCount();
    commit.announce(this.mailbox, depth, [this]);
    return depth;
  }

  /** @template T @param {(commit: Commit, state: MailboxState) => Promise<T>} run @returns {Promise<T>} */
  #submitStoring(run) {
    return this.#submit(run, { durability: this.#options.durability, stores: true });
  }

  /** An operation that may give something back to the queue; its result says whether it did. @template T @param {(commit: Commit, state: MailboxState) => Promise<T>} run @returns {Promise<T>} */
  #submitMoving(run) {
    return this.#submit(async (commit, state) => {
      const moved = await run(commit, state);
      if (moved) this.#announce(commit);
      return moved;
    });
  }

  /**
   * @template T @param {(commit: Commit, state: MailboxState) => Promise<T>} run
   * @param {Needs} [needs] @returns {Promise<T>}
   */
  #submit(run, needs) {
    return this.#closed ? Promise.reject(closed()) : this.#commit(run, needs);
  }

  /**
   * @template T @param {(commit: Commit, state: MailboxState) => Promise<T>} run
   * @param {Needs} [needs] @returns {Promise<T>}
   */
  #commit(run, { durability = "relaxed", stores = false, notes = false } = {}) {
    return committer.submit({
      durability,
      stores,
      needsNotes: () => notes || this.#isDeparted,
      run: async (commit) => {
        this.#checkNotWiped();
        const state = await commit.state(this.mailbox);
        if (this.#isDeparted) await this.#comeBack(commit, state);
        const done = await run(commit, state);
        this.#keepAlive(state.claims.has(this.#life.id));
        return done;
      },
    });
  }

  get #isDeparted() {
    return this.#departures > this.#returned;
  }

  /**
   * Goes on after a departure: the note must not be there any more when this handle claims again.
   * @param {Commit} commit @param {MailboxState} state
   */
  async #comeBack(commit, state) {
    if (!commit.seesNotes) throw new ConnectionLostError("The page was left in the middle of this call.");
    if (commit.returned.has(this.#life.id)) return;
    // the page may be left again before this is committed
    const departures = this.#departures;
    commit.returned.set(this.#life.id, () => {
      this.#returned = departures;
    });
    commit.store("departed").delete(this.#life.id);
    if ((await commit.run(state, state.releaseAll(this.#life.id))).length > 0) this.#announce(commit);
  }

  /**
   * @template T @param {T} absent the answer where there is no such mailbox any more
   * @param {(reading: import("./reading.js").Reading, state: MailboxState) => Promise<T>} read @returns {Promise<T>}
   */
  #read(absent, read) {
    if (this.#closed) return Promise.reject(closed());
    const reading = committer.read(async (reading) => {
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
   * @template T @param {T} absent @param {(reading: import("./reading.js").Reading, state: MailboxState) => Promise<T>} read @returns {Promise<T>}
   */
  async #readWhole(absent, read) {
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
  #keepAlive(holding) {
    this.#holding = holding;
    if (this.#life.locked || (this.#heartbeat !== undefined) === holding) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    if (!holding) return;
    const beat = () =>
      this.#submit(async (commit, state) => {
        if (state.beat(this.#life.id)) commit.changed(this.mailbox);
      }).catch(() => {
        // a beat that is missed counts for nothing; the next one tells
      });
    this.#heartbeat = setInterval(beat, this.#options.lease / 3);
  }
}

/** Asks what the browser tells of the storage. @template T @param {(storage: StorageManager) => Promise<T>} question @returns {Promise<T | undefined>} undefined where there is none to ask */
async function ask(question) {
  const storage = globalThis.navigator?.storage;
  return storage && question(storage);
}

/** How long holders may be silent of whose death no lock tells. @param {Others} others */
const leasesOf = (others) => [...others.values()].filter(({ locked }) => !locked).map(({ lease }) => lease);

/** @param {Uint8Array} ids @returns {Uint8Array<ArrayBuffer>[]} */
const each = (ids) =>
  Array.from({ length: ids.length / ID_BYTES }, (_, i) => ids.slice(i * ID_BYTES, (i + 1) * ID_BYTES));

/** @param {number} milliseconds */
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
