/**
 * Leave to write a mailbox's state without reading it first, which is half of what a small transaction costs.
 *
 * A context that has had a mailbox to itself for a while writes a token into its state, known to nobody else: a tenure.
 * From then on it may keep the state in memory and write it blind. Whoever else writes the state takes the token out, and
 * in the same transaction revokes it: a record beside the state holds the token, and since tokens are unique in the store
 * (by its index), the next blind write fails, with all that is in its transaction. Its context then reads, and tries again.
 *
 * A revocation must outlive what its context remembers. A Web Lock tells when a context is gone, but not for certain: another
 * script can steal a lock, and a browser may take it from a page that it keeps to show it again. So a context writes blind
 * only for a while after its last commit, and a revocation stays much longer than that, whatever the locks say. Without locks
 * there are no tenures.
 */

import { result } from "./database.js";
import { keepLock, unheldAmong } from "./coordination/locks.js";
import { randomName } from "./ids.js";

/** Transactions in a row that found no other writer, after which a context tries to have the mailbox to itself. */
const QUIET = 3;

/** Milliseconds after its last commit for which a context writes blind. */
const TRUSTED = 30_000;

/** Milliseconds that a revocation stays at least. */
const KEPT = 3_600_000;

const LOCK_PREFIX = "pymailbox/context/";

/** @typedef {import("./model/state.js").MailboxState} MailboxState */
/** @typedef {ReturnType<typeof moment>} Moment */

/** Thrown where a state turns out not to be the latest. */
export class Stale extends Error {
  constructor() {
    super("another tab or worker has written to the mailbox");
  }
}

export class Tenures {
  /** This context, in the states that it writes. */
  #context = randomName();
  #living = false;
  /** States that may be written blind, and when they were committed. @type {Map<string, {state: MailboxState, at: Moment}>} */
  #states = new Map();
  /** @type {Map<string, number>} */
  #quiet = new Map();

  #release = () => {};

  constructor() {
    this.#live();
  }

  async #live() {
    const context = this.#context;
    try {
      const release = await keepLock(LOCK_PREFIX + context, () => this.#renewIf(context));
      if (context !== this.#context) return release();
      this.#release = release;
      this.#living = true;
    } catch {
      // then there are no tenures
    }
  }

  /** Ends all that this context may do, until it is renewed: what is in memory of a page in a cache is not to be trusted. */
  suspend() {
    this.forget();
    this.#living = false;
    this.#release();
    this.#release = () => {};
    this.#context = randomName();
  }

  /** Begins anew as another context. */
  renew() {
    this.suspend();
    this.#live();
  }

  /** @param {string} context whose lock was taken away */
  #renewIf(context) {
    if (context === this.#context) this.renew();
  }

  /** The state of a mailbox, if it may be written blind. @param {string} mailbox */
  get(mailbox) {
    const kept = this.#states.get(mailbox);
    if (kept === undefined || isTrusted(kept.at)) return kept?.state;
    this.#states.delete(mailbox);
    return undefined;
  }

  /**
   * Writes a state that was read in this transaction.
   * @param {IDBObjectStore} store the one of the states @param {string} mailbox @param {MailboxState} state
   */
  write(store, mailbox, state) {
    const { token, writer } = state;
    const others = writer !== this.#context;
    const quiet = others ? 0 : (this.#quiet.get(mailbox) ?? 0) + 1;
    this.#quiet.set(mailbox, quiet);
    state.writer = this.#context;
    if (others) state.token = undefined;
    else if (this.#living && quiet >= QUIET) state.token ??= randomName();
    store.put(state.toStored(), mailbox);
    if (others) revoke(store, mailbox, writer, token);
  }

  /** Deletes a state that was read in this transaction. @param {IDBObjectStore} store @param {string} mailbox @param {MailboxState} state */
  delete(store, mailbox, { writer, token }) {
    this.#states.delete(mailbox);
    store.delete(mailbox);
    revoke(store, mailbox, writer, token);
  }

  /** To be called when a state has been committed. @param {string} mailbox @param {MailboxState} state */
  committed(mailbox, state) {
    if (state.token !== undefined && state.writer === this.#context) this.#states.set(mailbox, { state, at: moment() });
  }

  /** What is in memory is not to be trusted. */
  forget() {
    this.#states.clear();
    this.#quiet.clear();
  }

}

/** The keys of revocations, in the store of the states. */
const revocations = () => IDBKeyRange.lowerBound([]);

/** The contexts whose tenures were revoked. @param {IDBObjectStore} store @returns {Promise<string[]>} */
export async function revokedContexts(store) {
  const keys = /** @type {string[][]} */ (await result(store.getAllKeys(revocations())));
  return keys.map(([, context]) => context);
}

/** Deletes the old revocations of contexts that are gone. @param {IDBObjectStore} store @param {Set<string>} gone */
export async function pruneRevocations(store, gone) {
  const [keys, values] = await Promise.all([result(store.getAllKeys(revocations())), result(store.getAll(revocations()))]);
  for (const [i, key] of keys.entries()) {
    const [, context] = /** @type {string[]} */ (key);
    if (gone.has(context) && isOld(values[i])) store.delete(key);
  }
}

/** Whether a revocation, or what something else wrote in its place, has stayed long enough. @param {any} revocation */
const isOld = (revocation) => !(Math.abs(Date.now() - revocation?.at) < KEPT);

/** Now, by the clock that everybody shares and by the one that nobody can set. */
const moment = () => ({ wall: Date.now(), steady: performance.now() });

/** @param {Moment} at when a state was committed */
function isTrusted(at) {
  const now = moment();
  return Math.abs(now.wall - at.wall) <= TRUSTED && now.steady - at.steady <= TRUSTED;
}

/** Ends a tenure, once the token is in the state no more. @param {IDBObjectStore} store @param {string} mailbox @param {string} context @param {string | undefined} token */
function revoke(store, mailbox, context, token) {
  if (token !== undefined) store.put({ token, at: Date.now() }, [mailbox, context]);
}

/** Those of some contexts that are gone, where locks can tell. @param {string[]} contexts */
export async function goneAmongContexts(contexts) {
  const unheld = await unheldAmong(contexts.map((context) => LOCK_PREFIX + context));
  return new Set(contexts.filter((context) => unheld.has(LOCK_PREFIX + context)));
}
