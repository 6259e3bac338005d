/**
 * Leave to write a mailbox's state without reading it first, which is half of what a small transaction costs.
 *
 * A context that has had a mailbox to itself for a while writes a token into its state, known to nobody else: a tenure.
 * From then on it may keep the state in memory and write it blind. Whoever else writes the state takes the token out, and
 * in the same transaction revokes it: a record beside the state holds the token, and since tokens are unique in the store
 * (by its index), the next blind write fails, with all that is in its transaction. Its context then reads, and tries again.
 *
 * A revocation must outlive the context whose token it holds, and no longer; a Web Lock tells. Without locks there are no
 * tenures.
 */

import { result } from "./database.js";
import { keepLock, unheldAmong } from "./holders.js";
import { randomName } from "./ids.js";

/** Transactions in a row that found no other writer, after which a context tries to have the mailbox to itself. */
const QUIET = 3;

const LOCK_PREFIX = "pymailbox/context/";

/** @typedef {import("./model/state.js").MailboxState} MailboxState */

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
  /** States that may be written blind. @type {Map<string, MailboxState>} */
  #states = new Map();
  /** @type {Map<string, number>} */
  #quiet = new Map();

  constructor() {
    keepLock(LOCK_PREFIX + this.#context).then(
      () => {
        this.#living = true;
      },
      () => {
        // then there are no tenures
      },
    );
  }

  /** The state of a mailbox, if it may be written blind. @param {string} mailbox */
  get(mailbox) {
    return this.#states.get(mailbox);
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
    if (state.token !== undefined) this.#states.set(mailbox, state);
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

/** Deletes the revocations of contexts that are gone. @param {IDBObjectStore} store @param {Set<string>} gone */
export async function pruneRevocations(store, gone) {
  for (const key of await result(store.getAllKeys(revocations()))) {
    const [, context] = /** @type {string[]} */ (key);
    if (gone.has(context)) store.delete(key);
  }
}

/** Ends a tenure, once the token is in the state no more. @param {IDBObjectStore} store @param {string} mailbox @param {string} context @param {string | undefined} token */
function revoke(store, mailbox, context, token) {
  if (token !== undefined) store.put({ token }, [mailbox, context]);
}

/** Those of some contexts that are gone, where locks can tell. @param {string[]} contexts */
export async function goneAmongContexts(contexts) {
  const unheld = await unheldAmong(contexts.map((context) => LOCK_PREFIX + context));
  return new Set(contexts.filter((context) => unheld.has(LOCK_PREFIX + context)));
}
