/**
 * Takes back what gone holders of other contexts held; there is one for each mailbox open here, for all its handles.
 *
 * It listens for the death of every holder that it has seen, and checks which holders live: when it first sees one, a
 * moment later, and now and then.
 */

import { SECOND_LOOK } from "../coordination/liveness.js";
import { IS_WEBKIT } from "../storage/one-at-a-time.js";
import { result } from "../storage/requests.js";
import { recover as recoverIn } from "./verbs/recover.js";

/** The most milliseconds until a note that a page wrote is visible elsewhere. */
const NOTE_DELAY = 100;

/** Milliseconds that a worker waits for a page to send its notes: longer than that delay. */
const ANSWER_LIMIT = 300;

/** @typedef {import("../coordination/liveness.js").Holders} Holders */
/** @typedef {import("../coordination/liveness.js").Gone} Gone */

/**
 * The result of a look: how many messages came back, and which holders elsewhere seem to live.
 * @typedef {{recovered: number, living: Holders}} Look
 */

/** An engine's recoveries, by mailbox. */
export class Recoveries {
  /** @type {Map<string, Recovery>} */
  #open = new Map();
  #engine;

  /** @param {import("./engine.js").Engine} engine */
  constructor(engine) {
    this.#engine = engine;
    const { notes, notifier } = engine;
    // a worker cannot see the notes that pages wrote
    if (typeof document !== "undefined") {
      notifier.onAsked = async () => {
        await sleep(NOTE_DELAY);
        return notes.kept();
      };
    }
    notifier.listen(({ mailbox, notes: left }) => {
      const recovery = this.#open.get(mailbox);
      if (left === undefined || recovery === undefined) return;
      notes.receive(left);
      recovery.nextLook = -Infinity;
      recovery.recoverInBackground();
    });
  }

  /** A mailbox's recovery, for one more user, who has to call `leave` at the end. @param {string} mailbox */
  enter(mailbox) {
    let recovery = this.#open.get(mailbox);
    if (recovery === undefined) {
      recovery = new Recovery(this.#engine, mailbox, () => this.#open.delete(mailbox));
      this.#open.set(mailbox, recovery);
    }
    recovery.enter();
    return recovery;
  }
}

export class Recovery {
  /** When to look next even if nothing was heard, on the clock of `performance.now()`. */
  nextLook = -Infinity;

  /**
   * Holders whose death it listens for, and when they were last seen.
   * @type {Map<string, {unwatched: AbortController, seenAt: number}>}
   */
  #watched = new Map();
  #users = 0;
  #engine;
  #onUnused;

  /**
   * @param {import("./engine.js").Engine} engine @param {string} mailbox
   * @param {() => void} onUnused called when its last user has left
   */
  constructor(engine, mailbox, onUnused) {
    this.mailbox = mailbox;
    this.#engine = engine;
    this.#onUnused = onUnused;
  }

  enter() {
    this.#users += 1;
  }

  leave() {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#onUnused();
    for (const { unwatched } of this.#watched.values()) unwatched.abort();
  }

  /** Records holders elsewhere, and listens for their death. @param {Holders} holders */
  see(holders) {
    const seenAt = performance.now();
    for (const [holder, { locked }] of holders) {
      const watched = this.#watched.get(holder);
      if (watched !== undefined) watched.seenAt = seenAt;
      else if (this.#users > 0) {
        const unwatched = new AbortController();
        this.#watched.set(holder, { unwatched, seenAt });
        this.nextLook = -Infinity;
        if (locked) this.#recoverAfterDeath(holder, unwatched);
      }
    }
  }

  /** Whether it is time to check who lives. */
  get isDue() {
    return performance.now() >= this.nextLook;
  }

  /** Takes back what one look finds. @returns {Promise<Look>} */
  async recover() {
    const before = new Set(this.#watched.keys());
    const isFirst = this.nextLook === -Infinity;
    this.nextLook = performance.now() + SECOND_LOOK;
    const [notes, holders] = await Promise.all([this.#countNotes(), this.#holders()]);
    const gone = await this.#engine.liveness.goneAmong(this.mailbox, holders);
    const living = new Map([...holders].filter(([holder]) => !gone.has(holder)));
    this.see(living);
    const { slowPoll } = this.#engine.settings;
    const now = performance.now();
    // a page in the back/forward cache needs a second look
    const isNews = isFirst || [...living.keys()].some((holder) => !before.has(holder));
    this.nextLook = now + (isNews ? SECOND_LOOK : Math.min(slowPoll, ...leasesOf(living)));
    for (const [holder, { unwatched, seenAt }] of this.#watched) {
      if (now - seenAt < slowPoll) continue;
      unwatched.abort();
      this.#watched.delete(holder);
    }
    if (gone.size === 0 && notes === 0) return { recovered: 0, living };
    return { recovered: await this.recoverFrom(gone), living };
  }

  /** Recovers beside other work: messages must come back even if the mailbox never runs dry. */
  recoverInBackground() {
    if (!this.isDue) return;
    this.recover().catch(() => {
      // a handle's next call meets the same error and can report it
    });
  }

  /**
   * Takes back what some gone holders had, and what notes give back.
   * @param {Gone} gone @returns {Promise<number>} how many messages
   */
  async recoverFrom(gone) {
    if (IS_WEBKIT && [...gone.values()].includes(undefined)) await this.#notesOfOthers();
    const { groupCommit, notes } = this.#engine;
    /** @type {import("../coordination/unload-notes.js").Note[]} */
    let known = [];
    const recovered = await groupCommit.submit({
      durability: "relaxed",
      stores: false,
      needsNotes: () => true,
      run: async (tx) => {
        const state = await tx.state(this.mailbox);
        // not earlier: a note may arrive while others keep the storage busy
        known = notes.known();
        for (const [holder, mailbox] of known) tx.store("notes").put(mailbox, holder);
        const recovered = await recoverIn(tx, this.mailbox, state, gone);
        if (recovered > 0) {
          tx.changed(this.mailbox);
          tx.announce(this.mailbox, undefined, [], recovered);
        }
        return recovered;
      },
    });
    notes.forget(known.map(([holder]) => holder));
    return recovered;
  }

  /** @param {string} holder @param {AbortController} unwatched */
  async #recoverAfterDeath(holder, unwatched) {
    try {
      await this.#engine.liveness.death(holder, unwatched.signal);
      if (this.#users > 0) await this.recoverFrom(new Map([[holder, undefined]]));
    } catch {
      // it is no longer watched; or storage failed, and a handle's next call meets the same error and can report it
    } finally {
      if (this.#watched.get(holder)?.unwatched === unwatched) this.#watched.delete(holder);
    }
  }

  /** How many notes of pages that were left there are for this mailbox. @returns {Promise<number>} */
  async #countNotes() {
    const { groupCommit, notes } = this.#engine;
    const stored = await groupCommit.readAtOnce((tx) => result(tx.store("notes").getAll()), ["notes"]);
    return [...stored, ...notes.known().map(([, mailbox]) => mailbox)].filter((mailbox) => mailbox === this.mailbox)
      .length;
  }

  /** The holders elsewhere. @returns {Promise<Holders>} */
  #holders() {
    const { groupCommit, liveness } = this.#engine;
    return groupCommit.readAtOnce(async (tx) =>
      liveness.elsewhereAmong((await tx.stored(this.mailbox))?.claims ?? new Map()),
    );
  }

  /** Before a death is believed, waits for notes of others that may be on their way. */
  async #notesOfOthers() {
    const { notes, notifier } = this.#engine;
    if (typeof document === "undefined") notes.receive(await notifier.ask(ANSWER_LIMIT));
    else await sleep(NOTE_DELAY);
  }
}

/** How long holders without a lock may be silent. @param {Holders} holders */
const leasesOf = (holders) => [...holders.values()].filter(({ locked }) => !locked).map(({ lease }) => lease);

/** @param {number} milliseconds */
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
