/** Messages that were claimed and wait for a handler. */

/** @typedef {import("../values.js").MessageRecord} MessageRecord */
/** @typedef {{number: number, record: MessageRecord}} Entry with its place in the order of arrival */

/** What every buffer does. */
export class PrefetchBuffer {
  /** Messages in the order in which they came, by priority. @type {Record<"high" | "normal", MessageRecord[]>} */
  #queues = { high: [], normal: [] };

  get size() {
    return this.#queues.high.length + this.#queues.normal.length;
  }

  /** @param {readonly MessageRecord[]} records */
  add(records) {
    for (const record of records) this.#queues[record.priority].push(record);
  }

  /** The next one that may be handled now, high ones first; `finished` comes after it. */
  take() {
    return this.#queues.high.shift() ?? this.#queues.normal.shift();
  }

  /** The handler of a message that was taken is done with it. @param {MessageRecord} _record */
  finished(_record) {}

  /**
   * The messages that have to wait for one that was taken.
   * @param {MessageRecord} _record @returns {MessageRecord[]}
   */
  successors(_record) {
    return [];
  }

  /** Takes those out. @param {MessageRecord} _record @returns {MessageRecord[]} */
  takeSuccessors(_record) {
    return [];
  }

  /** Whether there are messages that may be handled now. */
  get hasFree() {
    return this.size > 0;
  }

  /** Takes out the messages that may be handled now, and those that only wait for them. @returns {MessageRecord[]} */
  takeFree() {
    return this.takeAll();
  }

  /** Takes out everything, in order. @returns {MessageRecord[]} */
  takeAll() {
    const { high, normal } = this.#queues;
    this.#queues = { high: [], normal: [] };
    return [...high, ...normal];
  }
}

/**
 * The same, but with one message of each sender at a time: its others wait behind that one.
 * @implements {Pick<PrefetchBuffer, keyof PrefetchBuffer>}
 */
export class SenderOrderedBuffer {
  /** Each sender's messages. @type {Map<string, SenderQueue>} */
  #senders = new Map();
  /**
   * The first message of each sender that has none being handled, in the order of arrival; one that is no longer its
   * sender's first is skipped.
   * @type {Record<"high" | "normal", {number: number, sender: string}[]>}
   */
  #ready = { high: [], normal: [] };
  /** Senders with a message that is being handled. @type {Set<string>} */
  #busy = new Set();
  #next = 0;
  size = 0;

  /** @param {readonly MessageRecord[]} records */
  add(records) {
    for (const record of records) {
      const sender = keyOf(record);
      let queue = this.#senders.get(sender);
      if (queue === undefined) this.#senders.set(sender, (queue = new SenderQueue()));
      const entry = { number: this.#next++, record };
      queue.add(entry);
      this.size += 1;
      if (queue.first === entry) this.#offer(sender);
    }
  }

  take() {
    for (const ready of [this.#ready.high, this.#ready.normal]) {
      for (let one = ready.shift(); one !== undefined; one = ready.shift()) {
        const queue = this.#senders.get(one.sender);
        if (queue?.first?.number !== one.number || this.#busy.has(one.sender)) continue;
        this.#busy.add(one.sender);
        const { record } = /** @type {Entry} */ (queue.shift());
        this.size -= 1;
        if (queue.first === undefined) this.#senders.delete(one.sender);
        return record;
      }
    }
    return undefined;
  }

  /** @param {MessageRecord} record */
  finished(record) {
    const sender = keyOf(record);
    this.#busy.delete(sender);
    this.#offer(sender);
  }

  /** @param {MessageRecord} record @returns {MessageRecord[]} */
  successors(record) {
    return (this.#senders.get(keyOf(record))?.entries ?? []).map((entry) => entry.record);
  }

  /** @param {MessageRecord} record @returns {MessageRecord[]} */
  takeSuccessors(record) {
    return this.#takeFrom([keyOf(record)]);
  }

  get hasFree() {
    return this.#free.length > 0;
  }

  /** @returns {MessageRecord[]} */
  takeFree() {
    return this.#takeFrom(this.#free);
  }

  get #free() {
    return [...this.#senders.keys()].filter((sender) => !this.#busy.has(sender));
  }

  /** @returns {MessageRecord[]} */
  takeAll() {
    return this.#takeFrom([...this.#senders.keys()]);
  }

  /** @param {string[]} senders */
  #takeFrom(senders) {
    const entries = senders.flatMap((sender) => this.#senders.get(sender)?.entries ?? []);
    for (const sender of senders) this.#senders.delete(sender);
    this.size -= entries.length;
    return entries.sort(inOrder).map(({ record }) => record);
  }

  /** @param {string} sender */
  #offer(sender) {
    const first = this.#senders.get(sender)?.first;
    if (first === undefined || this.#busy.has(sender)) return;
    const ready = this.#ready[first.record.priority];
    let at = ready.length;
    while (at > 0 && ready[at - 1].number > first.number) at -= 1;
    ready.splice(at, 0, { number: first.number, sender });
  }
}

/** One sender's messages. */
class SenderQueue {
  /** @type {Record<"high" | "normal", Entry[]>} */
  #queues = { high: [], normal: [] };

  get first() {
    return this.#queues.high[0] ?? this.#queues.normal[0];
  }

  get entries() {
    return [...this.#queues.high, ...this.#queues.normal];
  }

  /** @param {Entry} entry */
  add(entry) {
    this.#queues[entry.record.priority].push(entry);
  }

  shift() {
    return this.#queues.high.shift() ?? this.#queues.normal.shift();
  }
}

/** @param {Entry} one @param {Entry} other */
const inOrder = (one, other) =>
  Number(other.record.priority === "high") - Number(one.record.priority === "high") || one.number - other.number;

/** A decoder that maps every byte to a character of its own. */
const LATIN = new TextDecoder("latin1");

/** @param {MessageRecord} record */
const keyOf = ({ sender }) => LATIN.decode(sender);
