/** How a handle claims: what one look does, in its own transaction or another's, and what memory already shows. */

import { closed } from "../model/errors.js";
import { NO_BATCH, countOfBatch, idsOfBatch } from "../model/frames.js";
import { eachId } from "../model/ids.js";
import { claimWithin } from "./claim-loop.js";
import { flush } from "./stored-segments.js";
import { claim, claimAtHand, findAtHand } from "./verbs/claim.js";
import { ack, ackAtHand, ackHeld } from "./verbs/settle.js";

/** @typedef {import("./operations.js").Operations} Operations */
/** @typedef {import("./claim-loop.js").Found} Found */
/** @typedef {import("./claim-loop.js").Claimant} Claimant */
/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("../coordination/liveness.js").Life} Life */
/** @typedef {import("../coordination/cancellation.js").Cancellation} Cancellation */
/**
 * What a claim acknowledges first: ids; the life in which they must be held, if that matters; and a function that is
 * called after the commit, with the number removed and whether the claim goes on waiting.
 * @typedef {{ids: Uint8Array, heldIn?: Life, onCommit?: (acked: number, waits: boolean) => void}} AckFirst
 */

/**
 * Takes the next batch; an empty one when the time is up.
 * @param {Operations} operations @param {import("./recovery.js").Recovery} recovery
 * @param {unknown} owner by whom it may be woken
 * @param {number} limit @param {number} wait milliseconds @param {Cancellation} cancelled @param {AckFirst} [ack]
 */
export function claimNext(operations, recovery, owner, limit, wait, cancelled, ack) {
  return claimWithin(new HandleClaimant(operations, recovery, limit, cancelled, ack), owner, wait, cancelled);
}

/** One claiming call of a handle. @implements {Claimant} */
class HandleClaimant {
  #operations;
  #limit;
  #cancelled;
  #ack;
  /**
   * How others' commits serve it, once it has waited.
   * @type {import("../coordination/waiters.js").Claiming<Found> | undefined}
   */
  #parked;

  /**
   * @param {Operations} operations @param {import("./recovery.js").Recovery} recovery @param {number} limit
   * @param {Cancellation} cancelled @param {AckFirst} [ack]
   */
  constructor(operations, recovery, limit, cancelled, ack) {
    this.#operations = operations;
    this.recovery = recovery;
    this.#limit = limit;
    this.#cancelled = cancelled;
    this.#ack = ack;
  }

  get engine() {
    return this.#operations.engine;
  }

  get mailbox() {
    return this.#operations.mailbox;
  }

  isClosed() {
    return this.#operations.holder.isClosed;
  }

  /** @param {boolean} waits @param {(found: Found) => void} onCommit */
  look(waits, onCommit) {
    const { engine, holder } = this.#operations;
    const look = () =>
      lookOnce(this.#operations, this.#limit, this.#cancelled, this.#ack, (found) => {
        this.#noteAcked(found, waits);
        onCommit(found);
      });
    return holder.life.mayClaim && !engine.groupCommit.isRetryDue ? look() : whenReady(this.#operations).then(look);
  }

  /** @param {Look} found @param {boolean} waits */
  #noteAcked({ acked, batch }, waits) {
    if (acked === undefined) return;
    this.#ack?.onCommit?.(acked, batch.length === NO_BATCH.length && waits);
    this.#ack = undefined;
  }

  lookInMemory() {
    return this.#ack === undefined ? lookAtMemory(this.#operations) : undefined;
  }

  parked() {
    return (this.#parked ??= parkedClaim(this.#operations, this.#limit, this.#cancelled));
  }
}

/**
 * Resolves when a handle may claim, after trying again what could not be read, if that is due.
 * @param {Operations} operations
 */
async function whenReady(operations) {
  await operations.holder.ready();
  await operations.retryUnavailableIfDue();
}

/**
 * What a look would find, if memory shows that this is nothing.
 * @param {Operations} operations @returns {Found | undefined}
 */
function lookAtMemory(operations) {
  const { engine, holder, mailbox } = operations;
  if (holder.isClosed || !holder.life.mayClaim || !operations.isCaughtUp) return undefined;
  const state = engine.groupCommit.stateInMemory(mailbox);
  if (state === undefined || holder.hasLostAll(state) || state.isReady(Date.now())) return undefined;
  return foundIn(operations, state, NO_BATCH, false, Infinity);
}

/**
 * The result of a look, from the state that it leaves.
 * @param {Operations} operations @param {MailboxState} state @param {Uint8Array} batch @param {boolean} more
 * @param {number} nextRetry @param {number} [acked] @returns {Look}
 */
const foundIn = ({ engine, holder }, state, batch, more, nextRetry, acked) => ({
  batch,
  life: holder.life,
  strangers: engine.liveness.elsewhereAmong(state.claims),
  more,
  nextDue: state.nextDue,
  nextRetry,
  acked,
});

/**
 * What a parked call claims in another's commit, if nothing has to be read for it.
 * @param {Operations} operations @param {number} limit @param {Cancellation} cancelled
 * @returns {import("../coordination/waiters.js").Claiming<Found>}
 */
function parkedClaim(operations, limit, cancelled) {
  const { holder, mailbox } = operations;
  const operation = operations.operation(() => Promise.reject(closed()), {
    atHand: (tx, state) => {
      if (cancelled.isCancelled || holder.isClosed || !holder.life.mayClaim) return undefined;
      flush(tx);
      const found = findAtHand(tx, state, limit);
      if (found === undefined || found.entries.length === 0) return undefined;
      const batch = claimAtHand(tx, state, holder.life.id, holder.terms, found);
      tx.changed(mailbox);
      tx.claimedByWaiting(mailbox, countOfBatch(batch));
      return foundIn(operations, state, batch, false, Infinity);
    },
  });
  return {
    claim: (/** @type {WriteTransaction} */ tx) => {
      const found = operation.atHand(tx);
      if (found !== undefined) holder.underWay += 1;
      return found;
    },
    committed: (found) => {
      holder.underWay -= 1;
      operation.onCommit(found);
    },
    failed: (found, undone) => {
      holder.underWay -= 1;
      if (!undone) owe(operations, found);
    },
  };
}

/** Has no `acked` if nothing was done. @typedef {Found & {acked?: number}} Look */

/**
 * @param {Operations} operations @param {number} limit @param {Cancellation} cancelled
 * @param {AckFirst | undefined} first what it acknowledges first
 * @param {(found: Look) => void} onCommit called as soon as it is committed
 * @returns {Promise<Look>}
 */
function lookOnce(operations, limit, cancelled, first, onCommit) {
  const { holder, mailbox } = operations;
  const atHand = (/** @type {WriteTransaction} */ tx, /** @type {MailboxState} */ state) => {
    if (cancelled.isCancelled || !holder.life.mayClaim) return undefined;
    const found = findAtHand(tx, state, limit);
    if (found === undefined || (found.entries.length === 0 && first === undefined)) return undefined;
    // acknowledging a queued message removes what could be claimed
    if (first !== undefined && first.heldIn === undefined && !areHeld(state, holder.life.id, first.ids))
      return undefined;
    const acked = first === undefined ? 0 : ackAtHandIn(operations, tx, state, first.ids, first.heldIn);
    if (acked === undefined) return undefined;
    const batch = claimAtHand(tx, state, holder.life.id, holder.terms, found);
    tx.changed(mailbox);
    const nextRetry = tx.unavailable.nextRetryOf(state.number);
    return foundIn(operations, state, batch, state.isReady(Date.now()), nextRetry, acked);
  };
  return operations.submit(
    async (tx, state) => {
      const found = {
        batch: NO_BATCH,
        life: holder.life,
        strangers: new Map(),
        more: true,
        nextDue: Infinity,
        nextRetry: Infinity,
      };
      // cancelled before its turn, or before another attempt: nothing is claimed, so nothing has to go back
      if (cancelled.isCancelled || !holder.life.begun) return found;
      // others may have what this life held, which is not seen any more once it has claimed something else
      if (holder.life.hasLostLock) return { ...found, isCutShort: true };
      const acked = first === undefined ? 0 : await ackIn(operations, tx, state, first.ids, first.heldIn);
      // the page has been left or a lock lost meanwhile: the next life holds nothing until it has what the last one
      // held
      if (holder.life !== found.life) return { ...found, acked, isCutShort: true };
      const claimed = await claim(tx, state, holder.life.id, holder.terms, limit);
      if (claimed.changed) tx.changed(mailbox);
      const nextRetry = tx.unavailable.nextRetryOf(state.number);
      const all = foundIn(operations, state, claimed.batch, state.isReady(Date.now()), nextRetry, acked);
      // the page may have been left meanwhile: the batch belongs to the life in which the claim began
      return { ...all, life: found.life };
    },
    { atHand, onCommit, onDoubt: (found) => owe(operations, found) },
  );
}

/**
 * Whether a holder has all those of the messages that exist; also false if a page for that is not in memory.
 * @param {MailboxState} state @param {string} holder @param {Uint8Array} ids
 */
const areHeld = (state, holder, ids) =>
  eachId(ids).every((id) => {
    const own = state.ownPlaceOf(id);
    if (own !== undefined && state.pages.lacking(own.priority, own.sequence, own.sequence + 1).length > 0) return false;
    const place = state.livingPlaceOf(id);
    return place === undefined || state.isHeldBy(holder, place);
  });

/**
 * Acknowledges messages.
 * @param {Operations} operations @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} ids
 * @param {Life} [heldIn] only those that the handle has held since this life
 */
export async function ackIn({ holder, mailbox }, tx, state, ids, heldIn) {
  // a life whose messages another has inherited is not over
  if (heldIn !== undefined && holder.isOverIn(heldIn, tx)) return 0;
  const acked = heldIn ? await ackHeld(tx, state, holder.life.id, eachId(ids)) : await ack(tx, state, eachId(ids));
  if (acked > 0) tx.changed(mailbox);
  return acked;
}

/**
 * As `ackIn`, if nothing has to be read for it.
 * @param {Operations} operations @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} ids
 * @param {Life} [heldIn]
 */
export function ackAtHandIn({ holder, mailbox }, tx, state, ids, heldIn) {
  if (heldIn?.over) return undefined;
  const acked = ackAtHand(tx, state, eachId(ids), heldIn && holder.life.id);
  if (acked !== undefined) tx.changed(mailbox);
  return acked;
}

/**
 * Releases what may have been claimed and did not reach anybody; whether it was is unknown.
 * @param {Operations} operations @param {Found} found
 */
function owe({ holder }, { batch, life }) {
  if (!life.over && !holder.isClosed) holder.owe(eachId(idsOfBatch(batch)));
}
