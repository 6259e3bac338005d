/**
 * Decides from the calls and answers whether what a mailbox did was right, whatever went wrong meanwhile. It knows
 * nothing of engines: only when each call began, when and how it ended if it did, and when the life of a handle may
 * have been over.
 *
 * A call took effect at some moment between its beginning and its end; one that failed or was never heard of again took
 * effect then, later, or never. So only what no such moment explains is wrong.
 */

/** @typedef {{name: string, max: number, livesOver: {at: number, counts: boolean}[], isAbsent: boolean}} Handle */
/**
 * @typedef {{handle: Handle, verb: string, given: any, called: number, returned: number, failed: boolean, value?: any}}
 * Call
 */
/** @typedef {{call: Call, count: number, endedAt: number}} Delivery */
/**
 * @typedef {object} Message
 * @property {string} label @property {string | undefined} id
 * @property {boolean} urgent @property {boolean} delayed
 * @property {boolean} isBeside whether it is sent to another mailbox, from which only the last one takes
 * @property {Call} storing
 * @property {boolean} stored whether that is certain @property {boolean} refused whether it is certain that it never
 * was
 * @property {Delivery[]} deliveries
 * @property {Call[]} removals calls that may have removed it
 * @property {Call | undefined} removed the one that has
 * @property {number} nacks how often it may have been given back as failed
 * @property {boolean} buried whether it may have been made a dead letter by a call
 * @property {boolean} redriven
 */

export class Wrong extends Error {}

export class Judge {
  #now = 0;
  /** @type {Map<string, Message>} */
  #messages = new Map();
  /** @type {Call[]} */
  #claims = [];
  /** Calls that remove what they find: purges and deletions of the mailbox. @type {Call[]} */
  #sweeps = [];
  /** @type {Handle[]} */
  #handles = [];
  /** When a holder may have died, or been believed dead. @type {number[]} */
  #deaths = [];
  /** What was seen, for human readers. @type {string[]} */
  log = [];

  /**
   * @param {string} name @param {number} max failed deliveries, after which a message becomes a dead letter
   * @returns {Handle}
   */
  handle(name, max) {
    const handle = { name, max, livesOver: [], isAbsent: false };
    this.#handles.push(handle);
    return handle;
  }

  /** @param {string} what */
  note(what) {
    this.log.push(`${this.#now} ${what}`);
  }

  /**
   * Others may have what a handle holds from now on.
   * @param {Handle} handle @param {string} why @param {boolean} counts whether its hand-outs count as failed
   */
  lifeOver(handle, why, counts) {
    const at = ++this.#now;
    this.note(`${handle.name} ${why}`);
    handle.livesOver.push({ at, counts });
    if (counts) this.#deaths.push(at);
    for (const { deliveries } of this.#messages.values()) {
      for (const delivery of deliveries)
        if (delivery.call.handle === handle) delivery.endedAt = Math.min(delivery.endedAt, at);
    }
  }

  /** Messages that a handle has, as far as is known. @param {Handle} handle */
  heldBy(handle) {
    return [...this.#messages.values()].filter(({ deliveries }) =>
      deliveries.some(({ call, endedAt }) => call.handle === handle && endedAt === Infinity),
    );
  }

  /** Messages that were handed out once. */
  seen() {
    return [...this.#messages.values()].filter(({ id }) => id !== undefined);
  }

  /** @param {Handle} handle @param {string} verb @param {any} given @returns {Call} */
  begin(handle, verb, given) {
    const called = ++this.#now;
    const call = { handle, verb, given, called, returned: Infinity, failed: false };
    this.note(`${handle.name} ${verb} ${JSON.stringify(given)}`);
    if (verb === "enqueue") for (const message of given.messages) this.#expect(message.label, message, call);
    if (verb === "ackAndSend") this.#expect(given.label, given, call);
    if (verb === "dequeue") this.#claims.push(call);
    if (verb === "purge" || verb === "delete") this.#sweeps.push(call);
    if (verb === "delete") {
      for (const { deliveries } of this.#messages.values())
        for (const delivery of deliveries) delivery.endedAt = Math.min(delivery.endedAt, called);
    }
    for (const id of removedBy(call)) {
      const message = this.#find(id);
      message?.removals.push(call);
      for (const delivery of message?.deliveries ?? []) delivery.endedAt = Math.min(delivery.endedAt, called);
    }
    if (["nack", "deadLetter"].includes(verb)) {
      const message = this.#find(given.id);
      for (const delivery of message?.deliveries ?? []) {
        if (delivery.call.handle === handle) delivery.endedAt = Math.min(delivery.endedAt, called);
      }
      if (message !== undefined && verb === "nack") message.nacks += 1;
      if (message !== undefined && verb === "deadLetter") message.buried = true;
    }
    if (verb === "redrive") {
      const message = this.#find(given.id);
      if (message !== undefined) message.redriven = true;
    }
    if (verb === "close") this.lifeOver(handle, "closes", false);
    return call;
  }

  /**
   * A call failed, or was never heard of again, and then it has no end.
   * @param {Call} call @param {string} why
   */
  fail(call, why) {
    const now = ++this.#now;
    if (!why.startsWith("Killed")) call.returned = now;
    call.failed = true;
    this.note(`${call.handle.name} ${call.verb} of ${call.called}: ${why}`);
    if (why.startsWith("StorageFullError") && call.verb === "enqueue") {
      for (const { label } of call.given.messages) this.#get(label).refused = true;
    }
  }

  /** A call returned. @param {Call} call @param {any} value @throws {Wrong} */
  end(call, value) {
    call.returned = ++this.#now;
    call.value = value;
    this.note(`${call.handle.name} ${call.verb} of ${call.called}: ${JSON.stringify(value)}`);
    const { verb, given } = call;
    if (verb === "enqueue") {
      for (const [i, { label }] of given.messages.entries()) this.#store(this.#get(label), value[i]);
    }
    if (verb === "dequeue") this.#endDequeue(call, value);
    if (verb === "peek") this.#endPeek(call, value);
    if (verb === "delete") {
      for (const message of this.#messages.values()) {
        if (message.stored && !message.isBeside && message.storing.returned < call.called) message.removed ??= call;
      }
    }
    if (verb === "ack" || verb === "ackAndSend") {
      const message = this.#find(given.id);
      if (message !== undefined) this.#endRemoval(call, message, value);
    }
    if (verb === "ackAndSend") {
      const sent = this.#get(given.label);
      if (value) this.#store(sent, undefined);
      else sent.refused = true;
    }
    if (verb === "ackMany" && value === given.ids.length) {
      for (const id of given.ids) this.#endRemoval(call, this.#find(id), true);
    }
  }

  /**
   * Everything is over and drained: each message was seen or was allowed to go.
   * @param {string[]} letters labels of all dead letters @throws {Wrong}
   */
  finish(letters) {
    this.note(`dead letters: ${letters.join()}`);
    for (const label of letters) {
      const message = this.#messages.get(label);
      if (message === undefined) throw new Wrong(`a dead letter that nobody sent: ${label}`);
      if (message.refused) throw new Wrong(`${label} was refused and is a dead letter`);
      if (!this.#mayBeDead(message)) throw new Wrong(`${label} is a dead letter without a reason`);
    }
    if (new Set(letters).size !== letters.length) throw new Wrong("a message is a dead letter twice");
    for (const message of this.#messages.values()) {
      const { label, stored, removed, deliveries } = message;
      if (letters.includes(label) && removed !== undefined && !message.redriven)
        throw new Wrong(`${label} was removed, and is a dead letter`);
      if (!stored || letters.includes(label)) continue;
      const isThere = deliveries.some(({ call }) => call.handle.name === "the last");
      if (!isThere && !this.#mayBeGone(message)) throw new Wrong(`${label} is lost`);
    }
  }

  /** @param {string} label @param {any} options @param {Call} storing */
  #expect(label, { priority, delay, isBeside = false }, storing) {
    this.#messages.set(label, {
      label,
      id: undefined,
      urgent: priority === "high",
      delayed: delay > 0,
      isBeside,
      storing,
      stored: false,
      refused: false,
      deliveries: [],
      removals: [],
      removed: undefined,
      nacks: 0,
      buried: false,
      redriven: false,
    });
  }

  /** @param {string} label */
  #get(label) {
    return /** @type {Message} */ (this.#messages.get(label));
  }

  /** @param {string} id */
  #find(id) {
    return /** @type {Message} */ ([...this.#messages.values()].find((message) => message.id === id));
  }

  /** @param {Message} message @param {string | undefined} id */
  #store(message, id) {
    message.stored = true;
    message.id ??= id;
    message.storing.returned = Math.min(message.storing.returned, this.#now);
  }

  /** @param {Call} call @param {{id: string, label: string, count: number}[]} records */
  #endDequeue(call, records) {
    for (const { id, label, count } of records) {
      const message = this.#messages.get(label);
      if (message === undefined) throw new Wrong(`${label} is handed out, and nobody sent it`);
      if (message.refused) throw new Wrong(`${label} is handed out, and was refused`);
      if (message.isBeside && call.handle.name !== "the last") throw new Wrong(`${label} was sent to another mailbox`);
      if (message.id !== undefined && message.id !== id) throw new Wrong(`${label} is handed out under another id`);
      this.#store(message, id);
      if (message.removed !== undefined && message.removed.returned < call.called) {
        throw new Wrong(`${label} is handed out after it was removed`);
      }
      const over = call.handle.livesOver.find(({ at }) => at > call.called);
      const own = { call, count, endedAt: over?.at ?? Infinity };
      for (const other of message.deliveries) {
        const letGo = other.endedAt < call.returned || own.endedAt < other.call.returned;
        if (!letGo)
          throw new Wrong(`${label} is handed out to ${call.handle.name} while ${other.call.handle.name} has it`);
        if (!message.redriven && other.call.returned < call.called && count < other.count) {
          throw new Wrong(`${label} is handed out for the ${count}th time after the ${other.count}th`);
        }
      }
      message.deliveries.push(own);
    }
    if (new Set(records.map(({ label }) => label)).size !== records.length)
      throw new Wrong("a message is in a batch twice");
    this.#checkOrder(
      call,
      records.map(({ label }) => this.#get(label)),
    );
  }

  /** @param {Call} call @param {Message[]} batch */
  #checkOrder(call, batch) {
    const { handle } = call;
    if (handle.isAbsent || handle.livesOver.some(({ at }) => at > call.called)) return;
    for (const waiting of this.#messages.values()) {
      if (!this.#waitedThroughout(waiting, call, batch)) continue;
      if (batch.length === 0) throw new Wrong(`nothing is handed out though ${waiting.label} waits`);
      const place = batch.includes(waiting) ? batch.indexOf(waiting) : Infinity;
      for (const [i, other] of batch.entries()) {
        if (i >= place || other.redriven || other.delayed) continue;
        const isBehind =
          waiting.urgent === other.urgent ? waiting.storing.returned < other.storing.called : waiting.urgent;
        if (isBehind) throw new Wrong(`${other.label} is handed out before ${waiting.label}`);
      }
    }
  }

  /**
   * Whether a message was available to a claim from its beginning to its end.
   * @param {Message} message @param {Call} call @param {Message[]} batch
   */
  #waitedThroughout(message, call, batch) {
    if (!message.stored || message.isBeside || message.delayed || message.storing.returned > call.called) return false;
    const before = message.deliveries.filter((delivery) => delivery.call !== call);
    if (before.length > 0 || message.buried || message.redriven || this.#mayBeGone(message)) return false;
    if (batch.includes(message)) return true;
    // what a claim took is not known while it is under way, if it failed, or if its holder's life was over in it
    return !this.#claims.some(
      (claim) =>
        claim !== call &&
        claim.returned > message.storing.called &&
        (claim.returned === Infinity || claim.failed || claim.handle.livesOver.some(({ at }) => at > claim.called)),
    );
  }

  /** @param {Call} call @param {{id: string, label: string}[]} records */
  #endPeek(call, records) {
    const labels = records.map(({ label }) => label);
    if (new Set(labels).size !== labels.length) throw new Wrong("a message is shown twice");
    for (const label of labels) {
      const message = this.#messages.get(label);
      if (message === undefined) throw new Wrong(`${label} is shown, and nobody sent it`);
      if (message.isBeside) throw new Wrong(`${label} is shown, and was sent to another mailbox`);
      if (message.removed !== undefined && message.removed.returned < call.called)
        throw new Wrong(`${label} is shown after it was removed`);
    }
    for (const message of this.#messages.values()) {
      const { label, stored, storing, isBeside } = message;
      if (!stored || isBeside || storing.returned > call.called || labels.includes(label)) continue;
      if (!this.#mayBeGone(message) && !this.#mayBeDead(message)) throw new Wrong(`${label} is not shown`);
    }
  }

  /** @param {Call} call @param {Message} message @param {boolean} removed */
  #endRemoval(call, message, removed) {
    if (removed) {
      if (message.removed !== undefined && message.removed.returned < call.called)
        throw new Wrong(`${message.label} is removed twice`);
      message.removed ??= call;
      return;
    }
    message.removals.splice(message.removals.indexOf(call), 1);
    if (call.verb !== "ack") return;
    if (!this.#mayBeGone(message) && !this.#mayBeDead(message))
      throw new Wrong(`${message.label} is not there to be acknowledged`);
  }

  /** @param {Message} message */
  #mayBeGone({ storing, removals, removed, isBeside }) {
    const isSwept = !isBeside && this.#sweeps.some((sweep) => sweep.returned > storing.called);
    return removed !== undefined || removals.length > 0 || isSwept;
  }

  /** @param {Message} message */
  #mayBeDead({ storing, buried, nacks }) {
    const deaths = this.#deaths.filter((at) => at > storing.called).length;
    return buried || nacks + deaths >= Math.min(...this.#handles.map(({ max }) => max));
  }
}

/** The ids of what a call may remove. @param {Call} call @returns {string[]} */
function removedBy({ verb, given }) {
  if (verb === "ack" || verb === "ackAndSend") return [given.id];
  if (verb === "ackMany") return given.ids;
  if (verb === "dequeue") return given.ack ?? [];
  return [];
}
