/**
 * Write leases: who may write a mailbox's state without reading it first, which is half of what a small transaction
 * costs.
 *
 * Each write of a state adds a version of it under a key of its own, one above the last: that key is the fencing token.
 * A context that has had a mailbox to itself for a while gets the lease: it may keep the state in memory and add the
 * next version without reading. Any other writer reads the last version and adds the next, which ends the lease: the
 * next write without a read finds its key taken and fails, with everything in its transaction. Its context then reads,
 * and tries again.
 *
 * For that the key must stay taken, although versions before the last one are deleted. So the version that ended
 * somebody's lease is a seal: later writes do not delete it (`base`), and a row beside the mailbox's name records it,
 * one for each context. Whoever ends a lease of the same context again deletes the earlier seal: the context has
 * noticed that one, since it has written since. When a mailbox is deleted its versions go, but seals stay, empty.
 *
 * A seal must outlive what its context remembers. A Web Lock shows when a context is gone, but not for certain: another
 * script can steal a lock, and a browser may take it from a page that it caches. So a context writes without a read
 * only for a while after its last commit, and a seal stays much longer than that, whatever the locks say. Without locks
 * nobody gets a lease.
 */

import { isCount } from "../model/bytes.js";
import { result } from "../storage/requests.js";
import { lastVersion, versionsOf, writeHead } from "../storage/stored-state.js";
import { randomName } from "../model/ids.js";

/** After this many transactions in a row without another writer, a context tries to get the write lease. */
const UNCONTENDED_COMMITS = 3;

/** For this many milliseconds after its last transaction began, a context writes without reading. */
const TRUSTED = 30_000;

/** The least milliseconds that a seal stays. */
const KEPT = 3_600_000;

const LOCK_PREFIX = "pymailbox/context/";

/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {ReturnType<typeof moment>} Moment */
/** @typedef {(name: string) => IDBObjectStore} Stores of one transaction */

/** Thrown when a state turns out not to be the latest. */
export class FencedError extends Error {
  constructor() {
    super("another tab or worker has written to the mailbox");
  }
}

export class WriteLeases {
  /** This context's name in the states that it writes. */
  #context = randomName();
  #living = false;
  /**
   * States that may be written without reading, and when their transactions began.
   * @type {Map<string, {state: MailboxState, at: Moment}>}
   */
  #states = new Map();
  /** Transactions in a row that found no other writer, by mailbox. @type {Map<string, number>} */
  #uncontended = new Map();

  #release = () => {};
  #locks;

  /** @param {import("../coordination/locks.js").Locks} locks */
  constructor(locks) {
    this.#locks = locks;
    this.#live();
  }

  async #live() {
    const context = this.#context;
    try {
      const release = await this.#locks.keep(LOCK_PREFIX + context, () => this.#renewIf(context));
      if (context !== this.#context) return release();
      this.#release = release;
      this.#living = true;
    } catch {
      // then nobody gets a lease
    }
  }

  /** Ends all leases of this context: the memory of a cached page cannot be trusted. */
  suspend() {
    this.forget();
    this.#living = false;
    this.#release();
    this.#release = () => {};
    this.#context = randomName();
  }

  /** Starts again as another context. */
  renew() {
    this.suspend();
    this.#live();
  }

  /** @param {string} context whose lock was taken away */
  #renewIf(context) {
    if (context === this.#context) this.renew();
  }

  /** The state of a mailbox, if it may be written without reading. @param {string} mailbox */
  get(mailbox) {
    const kept = this.#states.get(mailbox);
    if (kept === undefined || isTrusted(kept.at)) return kept?.state;
    this.#states.delete(mailbox);
    return undefined;
  }

  /**
   * Writes a state that was read in this transaction.
   * @param {Stores} store @param {string} mailbox @param {MailboxState} state
   */
  async write(store, mailbox, state) {
    if (this.isLeasedToAnother(state)) await seal(store, mailbox, state.writer, state);
    this.writeUnsealed(store, mailbox, state);
  }

  /**
   * As `write`, if that ends nobody else's lease.
   * @param {Stores} store @param {string} mailbox @param {MailboxState} state
   */
  writeUnsealed(store, mailbox, state) {
    const others = state.writer !== this.#context;
    const uncontended = others ? 0 : (this.#uncontended.get(mailbox) ?? 0) + 1;
    this.#uncontended.set(mailbox, uncontended);
    state.writer = this.#context;
    if (others) state.leased = false;
    else if (this.#living && uncontended >= UNCONTENDED_COMMITS) state.leased = true;
    return writeHead(() => store("journal"), state);
  }

  /** Whether another context may write a state without reading. @param {MailboxState} state */
  isLeasedToAnother({ leased, writer }) {
    return leased && writer !== this.#context;
  }

  /**
   * Deletes a mailbox whose state was read in this transaction.
   * @param {Stores} store @param {string} mailbox @param {MailboxState} state
   */
  async delete(store, mailbox, { number, version, leased, writer }) {
    this.#states.delete(mailbox);
    this.#uncontended.delete(mailbox);
    const mailboxes = store("mailboxes");
    // even if there is no lease to end: somebody may have read it and be about to write
    const key = [mailbox, leased && writer !== this.#context ? writer : randomName()];
    await deleteSeal(store, await result(mailboxes.get(key)));
    mailboxes.delete(key);
    const seals = await result(mailboxes.getAll(IDBKeyRange.bound([mailbox], [mailbox, []])));
    mailboxes.delete(mailbox);
    const last = { number, from: version + 1, version: version + 1, at: Date.now() };
    mailboxes.put(last, key);
    seals.push(last);
    store("journal").delete(versionsOf(number));
    for (const one of seals)
      if (one?.number === number && isCount(one.version)) store("journal").put(null, [number, one.version]);
  }

  /**
   * To be called when a state has been committed.
   * @param {string} mailbox @param {MailboxState} state
   * @param {Moment} at when its transaction began: its end may be reported long after it happened
   */
  committed(mailbox, state, at) {
    // if this context was renewed during the transaction, the writer is another, without a lease
    if (!state.leased || state.writer !== this.#context) return;
    // as the last one: those of mailboxes that nobody uses any more come first
    this.#states.delete(mailbox);
    this.#states.set(mailbox, { state, at });
    for (const [first, kept] of this.#states) {
      if (isTrusted(kept.at)) break;
      this.#states.delete(first);
    }
  }

  /**
   * Makes sure that nobody writes a state that cannot be read and whose mailbox is deleted.
   * @param {Stores} store @param {string} mailbox @param {number} number
   */
  async sealUnreadable(store, mailbox, number) {
    const last = await lastVersion(store("journal"), number);
    if (last === undefined || !isCount(last.version)) return;
    const version = last.version + 1;
    store("journal").add(null, [number, version]);
    // all of its versions go with the seal
    store("mailboxes").put({ number, from: 0, version, at: Date.now() }, [mailbox, randomName()]);
  }

  /** Memory can no longer be trusted. */
  forget() {
    this.#states.clear();
    this.#uncontended.clear();
  }
}

/** The keys of the rows that record seals, in the store `mailboxes`. */
const seals = () => IDBKeyRange.lowerBound([]);

/** The contexts whose leases were ended. @param {IDBObjectStore} mailboxes @returns {Promise<string[]>} */
export async function sealedContexts(mailboxes) {
  const keys = /** @type {string[][]} */ (await result(mailboxes.getAllKeys(seals())));
  return keys.map(([, context]) => context);
}

/** Deletes the old seals of contexts that are gone. @param {Stores} store @param {Set<string>} gone */
export async function pruneSeals(store, gone) {
  const mailboxes = store("mailboxes");
  const [keys, values] = await Promise.all([result(mailboxes.getAllKeys(seals())), result(mailboxes.getAll(seals()))]);
  for (const [i, key] of keys.entries()) {
    const [, context] = /** @type {string[]} */ (key);
    if (gone.has(context) && isOld(values[i]) && (await deleteSeal(store, values[i]))) mailboxes.delete(key);
  }
}

/**
 * Deletes a seal and the version before it, unless it is still the latest state.
 * @param {Stores} store @param {any} told the content of its row @returns {Promise<boolean>} false if it stays
 */
async function deleteSeal(store, told) {
  const { number, from, version } = told ?? {};
  if (!isCount(number) || !isCount(version) || !isCount(from) || from > version) return true;
  const last = await lastVersion(store("journal"), number);
  if (last?.version === version && last.stored !== null) return false;
  store("journal").delete(versionsOf(number, from, version));
  return true;
}

/** Whether a seal, or what something else put in place of its row, has stayed long enough. @param {any} told */
const isOld = (told) => !(Math.abs(Date.now() - told?.at) < KEPT);

/** Now, on the clock that everybody shares and on the one that nobody can set. */
export const moment = () => ({ wall: Date.now(), steady: performance.now() });

/** @param {Moment} at when a state was committed or requested */
export function isTrusted(at) {
  const now = moment();
  return Math.abs(now.wall - at.wall) <= TRUSTED && now.steady - at.steady <= TRUSTED;
}

/**
 * Makes the next version of a state, which ends its writer's lease, a seal.
 * @param {Stores} store @param {string} mailbox @param {string} writer @param {MailboxState} state
 */
async function seal(store, mailbox, writer, state) {
  const key = [mailbox, writer];
  const { number, version, base } = state;
  await deleteSeal(store, await result(store("mailboxes").get(key)));
  // the last version stays with the seal, for a browser that commits the rest of a transaction without the next
  store("mailboxes").put({ number, from: version, version: version + 1, at: Date.now() }, key);
  if (base < version) store("journal").delete(versionsOf(number, base, version - 1));
  state.base = version + 2;
}

/**
 * Those of some contexts that are gone, if locks can tell.
 * @param {import("../coordination/locks.js").Locks} locks @param {string[]} contexts
 */
export async function goneAmongContexts(locks, contexts) {
  const unheld = await locks.unheldAmong(contexts.map((context) => LOCK_PREFIX + context));
  return new Set(contexts.filter((context) => unheld.has(LOCK_PREFIX + context)));
}
