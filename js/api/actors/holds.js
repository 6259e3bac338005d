/**
 * Who has the last word on a message: what a consumer was handed, and what handlers have settled themselves.
 *
 * The mailbox reports every settling verb that is called on it, whoever calls: a handler through its context, or
 * through the mailbox that it closes over. The engine knows what other handles do, and settles only what this one
 * holds.
 */

/** @typedef {import("../values.js").MessageRecord} MessageRecord */
/** @typedef {"ack" | "ackMany" | "ackAndSend" | "nack" | "deadLetter"} SettlingVerb */

/** One hand-out of a message. */
export class Hold {
  /** The verb with which somebody settled it. @type {SettlingVerb | undefined} */
  settledBy;
  /** The message has come back to this consumer, so that this hand-out is over. */
  handedOutAgain = false;
  /** A settling call has failed: nobody knows whether it took effect. */
  doubtful = false;
  /**
   * The page was left, so the message went back. Others may handle it, but it is already handled here: if it comes
   * again, no second handler begins.
   */
  givenBack = false;
  /** Settling calls under way. @type {Set<Promise<void>>} */
  #calls = new Set();

  /** @param {MessageRecord} record */
  constructor(record) {
    this.record = record;
    // now: a handler may set the record's date
    this.madeAt = record.createdAt.getTime();
  }

  /** Whether there is nothing left to settle. */
  get over() {
    return this.settledBy !== undefined || this.handedOutAgain;
  }

  get acked() {
    return this.settledBy?.startsWith("ack") ?? false;
  }

  /** Waits for settling calls that are under way. */
  async callsEnded() {
    while (this.#calls.size > 0) await Promise.all(this.#calls);
  }

  /**
   * A settling call begins.
   * @param {SettlingVerb} verb
   * @returns {(answer: boolean | number | undefined) => void} to be called with its result, undefined if there was none
   */
  settling(verb) {
    /** @type {() => void} */
    let end = () => {};
    const call = new Promise((/** @type {(value: void) => void} */ resolve) => {
      end = resolve;
    });
    this.#calls.add(call);
    return (answer) => {
      if (answer === undefined) this.doubtful = true;
      else if (answer && verb !== "ackMany") this.settledBy = verb;
      // after these nobody holds the message, whoever removed it
      else if (verb === "ack" || verb === "ackMany") this.settledBy ??= verb;
      this.#calls.delete(call);
      end();
    };
  }
}

/** What a consumer was handed and has not settled yet. */
export class Holds {
  /** @type {Map<string, Hold>} */
  #holds = new Map();

  /**
   * Records what was claimed. A message that was made at another time has only got the id of an earlier one.
   * @param {readonly MessageRecord[]} records
   * @returns {MessageRecord[]} what has to be handled: all except what is already being handled
   */
  add(records) {
    const toHandle = [];
    for (const record of records) {
      const earlier = this.#holds.get(record.id);
      if (earlier !== undefined) {
        if (earlier.givenBack && !earlier.over && earlier.madeAt === record.createdAt.getTime()) {
          earlier.givenBack = false;
          continue;
        }
        earlier.handedOutAgain = true;
      }
      this.#holds.set(record.id, new Hold(record));
      toHandle.push(record);
    }
    return toHandle;
  }

  /** The hold on a message that was claimed, if it is not over. @param {MessageRecord} record */
  of(record) {
    const hold = this.#holds.get(record.id);
    return hold?.record === record && !hold.over ? hold : undefined;
  }

  /**
   * Forgets messages that go back, and gives the ids of those that have to.
   * @param {readonly MessageRecord[]} records
   */
  drop(records) {
    const ids = [];
    for (const record of records) {
      const hold = this.#holds.get(record.id);
      if (hold?.record !== record) continue;
      this.#holds.delete(record.id);
      if (!hold.over) ids.push(record.id);
    }
    return ids;
  }

  /** Whether one of these is a message that is held. @param {string[]} ids */
  anyOf(ids) {
    return ids.some((id) => this.#holds.has(id));
  }

  /** All that is held went back. */
  allGivenBack() {
    for (const hold of this.#holds.values()) hold.givenBack = true;
  }

  /** Told by the mailbox, see `Hold.settling`. @param {SettlingVerb} verb @param {string[]} ids */
  settling(verb, ids) {
    const ends = ids.flatMap((id) => this.#holds.get(id)?.settling(verb) ?? []);
    return (/** @type {boolean | number | undefined} */ answer) => {
      for (const end of ends) end(answer);
    };
  }
}
