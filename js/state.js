/**
 * A mailbox's state: which messages wait, and who holds which. Pure data and arithmetic; no storage, no waiting.
 *
 * Each priority is a lane of sequence numbers, given out in commit order. A living message's number is in exactly one
 * set: its lane's queue, its lane's delayed ones, or the claims of one holder. A number that is in no set is dead: its
 * message was acknowledged, purged, or became a dead letter. So one small record tells everything but the messages'
 * bytes; counting, claiming, giving back and recovering move runs in it and never touch the messages.
 */

import * as history from "./history.js";
import { ID_BYTES, newIdBase, placeOf } from "./ids.js";
import { Runs } from "./runs.js";

export const PRIORITIES = 2;

/** Lanes in the order in which they are emptied. */
const HIGHEST_FIRST = Array.from({ length: PRIORITIES }, (_, i) => PRIORITIES - 1 - i);

/** @typedef {import("./types.js").StoredState} StoredState */
/** @typedef {import("./types.js").Place} Place */
/** @typedef {import("./types.js").LaneRun} LaneRun */
/** @typedef {import("./types.js").HolderTerms} HolderTerms */
/** @typedef {HolderTerms & {beat: number, lanes: Runs[]}} Claims */

export class MailboxState {
  /** @param {StoredState} stored taken over, not copied */
  constructor(stored) {
    this.number = stored.number;
    this.token = stored.token;
    this.writer = stored.writer;
    this.idBase = stored.idBase;
    /** Living messages whose id was given by their sender. */
    this.named = stored.named;
    /** Whether a sender ever gave an id that this mailbox may yet generate. */
    this.guessed = stored.guessed;
    /** Dead letters. */
    this.dead = stored.dead;
    /** The number of the next dead letter. */
    this.nextDead = stored.nextDead;
    /** No delayed message is due before; milliseconds since 1970, Infinity for none. */
    this.nextDue = stored.nextDue;
    /** Of the transaction that wrote it last. */
    this.mark = stored.mark;
    this.lanes = stored.lanes.map(({ next, widest, queued, delayed }) => ({
      next,
      widest,
      queued: new Runs(queued),
      delayed: new Runs(delayed),
    }));
    /** @type {Map<string, Claims>} */
    this.claims = new Map(
      stored.claims.map(({ holder, lanes, ...terms }) => [holder, { ...terms, lanes: lanes.map((flat) => new Runs(flat)) }]),
    );
  }

  /** @param {number} number the mailbox's own in its database */
  static create(number) {
    const lane = () => ({ next: 0, widest: 0, queued: [], delayed: [] });
    return new MailboxState({
      number,
      token: undefined,
      writer: "",
      idBase: newIdBase(),
      named: 0,
      guessed: false,
      dead: 0,
      nextDead: 0,
      nextDue: Infinity,
      mark: 0,
      lanes: Array.from({ length: PRIORITIES }, lane),
      claims: [],
    });
  }

  /** @returns {StoredState} */
  toStored() {
    return {
      number: this.number,
      token: this.token,
      writer: this.writer,
      idBase: this.idBase,
      named: this.named,
      guessed: this.guessed,
      dead: this.dead,
      nextDead: this.nextDead,
      nextDue: this.nextDue,
      mark: this.mark,
      lanes: this.lanes.map((lane) => ({ ...lane, queued: lane.queued.flat, delayed: lane.delayed.flat })),
      claims: [...this.claims].map(([holder, { lanes, ...terms }]) => ({
        ...terms,
        holder,
        lanes: lanes.map((runs) => runs.flat),
      })),
    };
  }

  // -- counting ---------------------------------------------------------------------------------------------------------

  /** Queued messages by priority, delayed ones included. */
  queuedByPriority() {
    return this.lanes.map(({ queued, delayed }) => queued.size + delayed.size);
  }

  /** How many messages ever came into the queue: enqueued, sent, or redriven. */
  everQueued() {
    return sum(this.lanes.map(({ next }) => next));
  }

  queuedCount() {
    return sum(this.queuedByPriority());
  }

  inflightCount() {
    return sum([...this.claims.values()].flatMap(({ lanes }) => lanes.map((runs) => runs.size)));
  }

  // -- moving -----------------------------------------------------------------------------------------------------------

  /**
   * Appends a message to its lane.
   * @param {number} priority @param {boolean} named @param {boolean} delayed @param {number} [past] its history
   * @returns {number} its sequence number
   */
  append(priority, named, delayed, past = history.unseen(named)) {
    const lane = this.lanes[priority];
    if (lane.queued.isEmpty && !this.hasLiving(priority, 0, lane.next)) lane.widest = 0;
    const from = lane.next;
    lane.next += 1;
    lane[delayed ? "delayed" : "queued"].add({ from, to: lane.next, history: past });
    if (named) this.named += 1;
    return from;
  }

  /** Takes note of an id that a sender gave. @param {Uint8Array} id */
  noteGivenId(id) {
    const place = placeOf(id, this.idBase);
    if (place !== undefined && place.sequence >= (this.lanes[place.priority]?.next ?? Infinity)) this.guessed = true;
  }

  /**
   * Moves up to `limit` queued messages to a holder's claims, in the order in which they are to be handed out. A suspect
   * comes alone, and nothing that is behind it comes before it.
   * @param {string} holder @param {HolderTerms} terms @param {number} limit
   * @returns {LaneRun[]} with the history after this hand-out
   */
  claim(holder, terms, limit) {
    const taken = this.#takeBatch(limit);
    if (taken.length === 0) return taken;
    const alone = taken.length === 1 && taken[0].to - taken[0].from === 1;
    const claims = this.#claimsOf(holder, terms);
    for (const run of taken) {
      run.history = history.handedOut(run.history, alone);
      claims.lanes[run.priority].add(run);
    }
    return taken;
  }

  /** Takes note that a message of a holder's is the only one of its batch after all. @param {string} holder @param {Place} place */
  standAlone(holder, { priority, sequence }) {
    const held = this.claims.get(holder)?.lanes[priority];
    const past = held?.remove(sequence);
    if (past !== undefined) held?.add({ from: sequence, to: sequence + 1, history: history.alone(past) });
  }

  /** Whether a holder has a message. @param {string} holder @param {Place} place */
  isHeldBy(holder, { priority, sequence }) {
    return this.claims.get(holder)?.lanes[priority]?.historyOf(sequence) !== undefined;
  }

  /** Gives one message of a holder's back, its hand-out undone. @param {string} holder @param {Place} place */
  release(holder, place) {
    return this.#giveBack(holder, place, history.takenBack);
  }

  /** Gives one message of a holder's back as failed. @param {string} holder @param {Place} place */
  fail(holder, place) {
    return this.#giveBack(holder, place, history.failed);
  }

  /** Gives back all that a holder has, the hand-outs undone. @param {string} holder */
  releaseAll(holder) {
    return this.#giveAllBack(holder, history.takenBack);
  }

  /** Gives back all that a dead holder had. @param {string} holder */
  recover(holder) {
    return this.#giveAllBack(holder, history.orphaned);
  }

  /** Makes all that a holder has another's, who has nothing yet; false if it has nothing. @param {string} holder @param {string} heir @param {HolderTerms} terms */
  bequeath(holder, heir, terms) {
    const claims = this.claims.get(holder);
    if (claims === undefined || this.claims.has(heir)) return false;
    this.claims.delete(holder);
    this.claims.set(heir, { ...claims, ...terms });
    return true;
  }

  /** Puts a queued message off. @param {Place} place */
  delay({ priority, sequence }) {
    const { queued, delayed } = this.lanes[priority];
    const found = queued.remove(sequence);
    if (found !== undefined) delayed.add({ from: sequence, to: sequence + 1, history: found });
  }

  /** A delayed message has its old place again; nothing if it is delayed no more. @param {Place} place */
  fallDue({ priority, sequence }) {
    const { queued, delayed } = this.lanes[priority];
    const found = delayed.remove(sequence);
    if (found !== undefined) queued.add({ from: sequence, to: sequence + 1, history: found });
  }

  /**
   * Removes a message, wherever it is.
   * @param {Place} place @param {string} [likelyHolder] where to look first
   * @returns {number | undefined} its history; undefined if there is no such message
   */
  remove({ priority, sequence }, likelyHolder) {
    const lane = this.lanes[priority];
    if (lane === undefined) return undefined;
    const holders = likelyHolder === undefined ? [...this.claims.keys()] : [likelyHolder, ...this.claims.keys()];
    for (const holder of holders) {
      const removed = this.claims.get(holder)?.lanes[priority].remove(sequence);
      if (removed !== undefined) {
        this.#forgetIfIdle(holder);
        return this.#removed(removed);
      }
    }
    const removed = lane.queued.remove(sequence) ?? lane.delayed.remove(sequence);
    return removed === undefined ? undefined : this.#removed(removed);
  }

  /** Removes all living messages of a lane from `from` to `to` (exclusive). @param {number} priority @param {number} from @param {number} to @returns {number} how many there were */
  removeBetween(priority, from, to) {
    let count = 0;
    for (let sequence = from; sequence < to; sequence++) {
      if (this.remove({ priority, sequence }) !== undefined) count += 1;
    }
    return count;
  }

  /** Removes all queued messages, delayed ones too. @returns {LaneRun[]} */
  removeQueued() {
    this.nextDue = Infinity;
    const removed = this.lanes.flatMap(({ queued, delayed }, priority) =>
      [...queued.takeAll(), ...delayed.takeAll()].map((run) => ({ ...run, priority })),
    );
    for (const { from, to, history: past } of removed) if (history.isNamed(past)) this.named -= to - from;
    return removed;
  }

  // -- looking ----------------------------------------------------------------------------------------------------------

  /** A message's history wherever it is; undefined if it is dead or never was. @param {Place} place */
  historyOf({ priority, sequence }) {
    for (const runs of this.#setsOf(priority)) {
      const found = runs.historyOf(sequence);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Whether any message of a lane from `from` to `to` (exclusive) lives. @param {number} priority @param {number} from @param {number} to */
  hasLiving(priority, from, to) {
    return this.#setsOf(priority).some((runs) => runs.intersects(from, to));
  }

  /** The place of a living message that an own id names, unless it is known by another name. @param {Uint8Array} id */
  livingPlaceOf(id) {
    const place = placeOf(id, this.idBase);
    const found = place && this.historyOf(place);
    return found === undefined || history.isNamed(found) ? undefined : place;
  }

  /** Up to `limit` queued messages in the order in which they would be handed out; no delayed ones. @param {number} limit */
  firstQueued(limit) {
    return this.#first(limit, (priority) => [this.lanes[priority].queued]);
  }

  /** All delayed messages. @returns {LaneRun[]} */
  delayedRuns() {
    return this.lanes.flatMap(({ delayed }, priority) => [...delayed].map((run) => ({ ...run, priority })));
  }

  /** Up to `limit` inflight messages, in the same order. @param {number} limit */
  firstInflight(limit) {
    return this.#first(limit, (priority) => [...this.claims.values()].map(({ lanes }) => lanes[priority]));
  }

  /**
   * The first `limit` living messages of a lane from `from` to `until` (exclusive), wherever they are.
   * @param {number} priority @param {number} from @param {number} until @param {number} limit
   * @returns {(LaneRun & {inflight: boolean, delayed: boolean})[]}
   */
  livingBetween(priority, from, until, limit) {
    const { queued, delayed } = this.lanes[priority];
    const found = this.#setsOf(priority).flatMap((runs) =>
      [...runs.between(from, until)].map((run) => ({
        ...run,
        priority,
        inflight: runs !== queued && runs !== delayed,
        delayed: runs === delayed,
      })),
    );
    const first = [];
    for (const run of found.sort((a, b) => a.from - b.from)) {
      if (limit <= 0) break;
      run.to = Math.min(run.to, run.from + limit);
      limit -= run.to - run.from;
      first.push(run);
    }
    return first;
  }

  /** Whether anything can be claimed that is due. */
  get isReady() {
    return this.lanes.some(({ queued }) => !queued.isEmpty);
  }

  // -- inside -----------------------------------------------------------------------------------------------------------

  /** @param {number} limit @returns {LaneRun[]} */
  #takeBatch(limit) {
    /** @type {LaneRun[]} */
    const taken = [];
    for (const priority of HIGHEST_FIRST) {
      const { queued } = this.lanes[priority];
      const suspectFirst = taken.length === 0 && queued.firstHistory !== undefined && history.isSuspect(queued.firstHistory);
      const runs = suspectFirst
        ? queued.takeFirst(1)
        : queued.takeFirst(limit, (past) => !history.isSuspect(past));
      for (const run of runs) {
        taken.push({ ...run, priority });
        limit -= run.to - run.from;
      }
      if (suspectFirst || !queued.isEmpty) break;
    }
    return taken;
  }

  /** @param {string} holder @param {Place} place @param {(past: number) => number} change */
  #giveBack(holder, { priority, sequence }, change) {
    const held = this.claims.get(holder)?.lanes[priority]?.remove(sequence);
    if (held === undefined) return undefined;
    const past = change(held);
    this.lanes[priority].queued.add({ from: sequence, to: sequence + 1, history: past });
    this.#forgetIfIdle(holder);
    return past;
  }

  /** @param {string} holder @param {(past: number) => number} change @returns {(LaneRun & {before: number})[]} as they are queued now, and their histories before */
  #giveAllBack(holder, change) {
    const lanes = this.claims.get(holder)?.lanes ?? [];
    this.claims.delete(holder);
    const returned = lanes.flatMap((runs, priority) =>
      [...runs].map((run) => ({ ...run, priority, history: change(run.history), before: run.history })),
    );
    for (const run of returned) this.lanes[run.priority].queued.add(run);
    return returned;
  }

  /**
   * @param {number} limit @param {(priority: number) => Runs[]} setsOf
   * @returns {LaneRun[]}
   */
  #first(limit, setsOf) {
    /** @type {LaneRun[]} */
    const first = [];
    for (const priority of HIGHEST_FIRST) {
      const runs = setsOf(priority).flatMap((set) => [...set]);
      for (const run of runs.sort((a, b) => a.from - b.from)) {
        if (limit === 0) return first;
        const to = Math.min(run.to, run.from + limit);
        first.push({ ...run, to, priority });
        limit -= to - run.from;
      }
    }
    return first;
  }

  /** All sets that a lane's messages can be in. @param {number} priority */
  #setsOf(priority) {
    const lane = this.lanes[priority];
    if (lane === undefined) return [];
    return [lane.queued, lane.delayed, ...[...this.claims.values()].map(({ lanes }) => lanes[priority])];
  }

  /** @param {string} holder @param {HolderTerms} terms */
  #claimsOf(holder, terms) {
    let claims = this.claims.get(holder);
    if (claims === undefined) {
      claims = { ...terms, beat: 0, lanes: this.lanes.map(() => new Runs()) };
      this.claims.set(holder, claims);
    }
    return claims;
  }

  /** @param {string} holder */
  #forgetIfIdle(holder) {
    if (this.claims.get(holder)?.lanes.every((runs) => runs.isEmpty)) this.claims.delete(holder);
  }

  /** @param {number} removed */
  #removed(removed) {
    if (history.isNamed(removed)) this.named -= 1;
    return removed;
  }
}

/** @param {unknown} value @returns {value is number} */
export const isCount = (value) => Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;

/**
 * Whether a stored value can be a mailbox's state: everything that the code here relies on.
 * @param {any} value @returns {value is StoredState}
 */
export function isStoredState(value) {
  const lanes = value?.lanes;
  return (
    [value?.number, value?.named, value?.dead, value?.nextDead].every(isCount) &&
    value.idBase instanceof Uint8Array &&
    value.idBase.length === ID_BYTES &&
    typeof value.nextDue === "number" &&
    value.nextDue >= 0 &&
    areLanes(lanes) &&
    lanes.every(
      (/** @type {any} */ lane) =>
        isCount(lane?.next) && isCount(lane.widest) && Runs.isFlat(lane.queued, lane.next) && Runs.isFlat(lane.delayed, lane.next),
    ) &&
    Array.isArray(value.claims) &&
    value.claims.every(
      (/** @type {any} */ claims) =>
        typeof claims?.holder === "string" &&
        isCount(claims.maxDeliveries) &&
        areLanes(claims.lanes) &&
        claims.lanes.every((/** @type {unknown} */ flat, /** @type {number} */ i) => Runs.isFlat(flat, lanes[i].next)),
    )
  );
}

/** @param {unknown} value */
const areLanes = (value) => Array.isArray(value) && value.length === PRIORITIES;

/** @param {number[]} numbers */
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
