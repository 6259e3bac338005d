// The model replays what callers did in tests/traces.json (by tools/traces.py), with the same answers and counts.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { failures, handOuts, hasCustomId } from "../../js/model/delivery.js";
import { viewOf } from "../../js/model/frames.js";
import { ID_BYTES, writeId } from "../../js/model/ids.js";
import { delays, firstDelayed, firstInflight, firstQueued } from "../../js/model/queries.js";
import { MailboxState } from "../../js/model/state.js";
import { Rows } from "./rows.js";

/** @typedef {import("../../js/model/types.js").Place} Place */
/** @typedef {import("../../js/model/types.js").LaneRun} LaneRun */
/** @typedef {[name: string, priority: number, delay: number | null, custom: boolean]} Written */
/** @typedef {[what: string, who: string, given: any, answer: any, counts: number[][]]} Step */
/**
 * @typedef {{name: string, priority: number, deliveries: number, error: string | null, reason: string | null}}
 * DeadLetter
 */

/** @type {Step[][]} */
const TRACES = JSON.parse(readFileSync(new URL("../traces.json", import.meta.url), "utf-8"));

const MAILBOXES = ["a", "b"];

/** What the engine keeps besides a state (ids, errors and dead letters), and what it does with them. */
class Mailbox {
  rows = new Rows();
  /** Ids that the mailbox made. @type {Map<string, Uint8Array>} */
  #own = new Map();
  /** The places of messages with custom ids. @type {Map<string, Place>} */
  #custom = new Map();
  /** By place. @type {Map<string, string>} */
  #names = new Map();
  /** By place. @type {Map<string, string>} */
  #errors = new Map();
  /** @type {Map<number, DeadLetter>} */
  #letters = new Map();

  /** @param {number} number @param {{pageNumbers: number, pagesInHead: number}} sizes */
  constructor(number, sizes) {
    this.state = MailboxState.create(number, sizes);
  }

  restart() {
    this.rows.save(this.state);
    this.state = this.rows.load();
  }

  /** @param {number} now */
  counts(now) {
    const { due } = this.rows.run(this.state, delays(this.state.pages, now));
    const { state } = this;
    return [...state.queuedByPriority(), state.inflightCount(), state.deadLetters, state.delayedCount - due];
  }

  /** The place of a living message, whose page is then open. @param {string} name @returns {Place | undefined} */
  find(name) {
    const own = this.#own.get(name);
    const place = (own && this.state.ownPlaceOf(own)) ?? this.#custom.get(name);
    if (place === undefined) return undefined;
    this.#open(place);
    if (own !== undefined && this.state.livingPlaceOf(own) !== undefined) return place;
    const custom = this.#custom.get(name);
    if (custom === undefined) return undefined;
    this.#open(custom);
    const delivery = this.state.deliveryOf(custom);
    return delivery !== undefined && hasCustomId(delivery) ? custom : undefined;
  }

  /** @param {Place} place */
  #open({ priority, sequence }) {
    this.rows.open(this.state, this.state.pages.lacking(priority, sequence, sequence + 1));
  }

  /** @param {string} name @returns {number | undefined} its dead letter's number */
  #letterOf(name) {
    return [...this.#letters].find(([, letter]) => letter.name === name)?.[0];
  }

  /** @param {Written[]} messages @param {number} now @returns {number | null} what an observer is told */
  enqueue(messages, now) {
    let stored = false;
    for (const [name, priority, delay, custom] of messages) {
      if (custom && (this.find(name) !== undefined || this.#letterOf(name) !== undefined)) continue;
      const sequence = this.#append(name, priority, custom, delay === null ? 0 : now + Math.round(delay * 1000));
      if (!custom) {
        const id = new Uint8Array(ID_BYTES);
        writeId(viewOf(id), 0, this.state.idBase, priority, sequence);
        this.#own.set(name, id);
      }
      stored = true;
    }
    return stored ? this.state.queuedCount() : null;
  }

  /** @param {string} name @param {number} priority @param {boolean} custom @param {number} due */
  #append(name, priority, custom, due) {
    this.rows.open(this.state, this.state.pages.lackingToEnqueue());
    const sequence = this.state.enqueue(priority, custom, due);
    this.#names.set(`${priority}/${sequence}`, name);
    if (custom) this.#custom.set(name, { priority, sequence });
    return sequence;
  }

  /** @param {Consumer} consumer @param {number} limit @param {number} now */
  dequeue({ holder, maxDeliveries }, limit, now) {
    const terms = { maxDeliveries, lease: 0, locked: true };
    return this.#shown(this.rows.run(this.state, this.state.claim(holder, terms, limit, now)).taken);
  }

  /** @param {LaneRun[]} runs @returns {[string | undefined, number][]} */
  #shown(runs) {
    return runs.flatMap(({ priority, from, to, delivery }) =>
      Array.from({ length: to - from }, (_, i) => [this.#names.get(`${priority}/${from + i}`), handOuts(delivery)]),
    );
  }

  /** @param {string[]} names */
  ack(names) {
    const places = names.map((name) => this.find(name));
    return places.filter((place) => place !== undefined && this.state.ack(place) !== undefined).length;
  }

  /**
   * @param {Consumer} consumer @param {[name: string, delay: number | null, error: string | null, failed: boolean]} how
   * @param {number} now
   */
  nack({ holder, maxDeliveries }, [name, delay, error, failed], now) {
    const place = this.find(name);
    const delivery = place && this.state.nack(holder, place, failed, error !== null);
    if (place === undefined || delivery === undefined) return false;
    if (error !== null) this.#errors.set(`${place.priority}/${place.sequence}`, error);
    if (failed && maxDeliveries > 0 && failures(delivery) >= maxDeliveries) this.#bury(place, delivery, null);
    else if (delay !== null) this.state.delay(place, now + Math.round(delay * 1000));
    return true;
  }

  /** @param {Consumer} consumer @param {string} name @param {string} reason */
  deadLetter({ holder }, name, reason) {
    const place = this.find(name);
    if (place === undefined || !this.state.isHeldBy(holder, place)) return false;
    this.#bury(place, this.state.deliveryOf(place) ?? 0, reason);
    return true;
  }

  /** @param {Place} place @param {number} delivery @param {string | null} reason */
  #bury(place, delivery, reason) {
    const key = `${place.priority}/${place.sequence}`;
    const name = this.#names.get(key) ?? "";
    const error = this.#errors.get(key) ?? null;
    const letter = { name, priority: place.priority, deliveries: handOuts(delivery), error, reason };
    this.#letters.set(this.state.bury(place), letter);
  }

  /** The newest first. */
  deadLetters() {
    const letters = [...this.#letters].sort(([a], [b]) => b - a);
    return letters.map(([, { name, deliveries, error, reason }]) => [name, deliveries, error, reason]);
  }

  /** @param {string} name */
  redrive(name) {
    const letter = this.#letters.get(this.#letterOf(name) ?? -1);
    if (letter === undefined) return null;
    this.discard(name);
    this.#append(name, letter.priority, true, 0);
    return this.state.queuedCount();
  }

  /** @param {string} name */
  discard(name) {
    const number = this.#letterOf(name);
    if (number === undefined) return false;
    this.#letters.delete(number);
    this.state.deadLetters -= 1;
    return true;
  }

  /** @param {number} now */
  peek(now) {
    const { pages } = this.state;
    const queries = [
      firstQueued(pages, Infinity, now),
      firstDelayed(pages, Infinity, now),
      firstInflight(pages, Infinity),
    ];
    return queries.flatMap((query) => this.#shown(this.rows.run(this.state, query)));
  }

  /** @param {string[] | null} names @param {number} now */
  promote(names, now) {
    const places = names?.map((name) => this.find(name)).filter((place) => place !== undefined);
    return this.rows.run(this.state, this.state.promote(places, now)).running;
  }

  purge() {
    return this.rows.run(this.state, this.state.purge()).count;
  }

  /** @param {Consumer} consumer */
  close({ holder }) {
    this.rows.run(this.state, this.state.releaseAll(holder));
  }

  /** @param {Consumer} consumer */
  recover({ holder, maxDeliveries }) {
    for (const { priority, from, to, delivery, before } of this.rows.run(this.state, this.state.recover(holder))) {
      if (maxDeliveries === 0 || failures(delivery) === failures(before) || failures(delivery) < maxDeliveries)
        continue;
      for (let sequence = from; sequence < to; sequence++) this.#bury({ priority, sequence }, delivery, null);
    }
  }
}

/** A handle. @typedef {{holder: string, maxDeliveries: number}} Consumer */

class Database {
  now = 1000;
  /** @type {Map<string, Consumer>} */
  #consumers = new Map();
  /** @type {Map<string, Mailbox>} */
  #mailboxes;

  /** @param {{pageNumbers: number, pagesInHead: number}} sizes */
  constructor(sizes) {
    this.#mailboxes = new Map(MAILBOXES.map((name, i) => [name, new Mailbox(i + 1, sizes)]));
  }

  get mailboxes() {
    return [...this.#mailboxes.values()];
  }

  /** Takes a step. @param {string} what @param {string} who @param {any} given */
  answer(what, who, given) {
    if (what === "open") this.#consumers.set(who, { holder: who, maxDeliveries: given ?? 0 });
    const consumer = this.#consumers.get(who);
    const mailbox = this.#mailbox(who);
    assert.ok(consumer);
    switch (what) {
      case "open":
        return null;
      case "enqueue_many":
        return mailbox.enqueue(given, this.now);
      case "dequeue":
        mailbox.ack(given[1]);
        return mailbox.dequeue(consumer, given[0], this.now);
      case "ack_many":
        return mailbox.ack(given);
      case "ack_and_send":
        return this.#ackAndSend(mailbox, consumer, given);
      case "nack":
        return mailbox.nack(consumer, given, this.now);
      case "dead_letter":
        return mailbox.deadLetter(consumer, given[0], given[1]);
      case "dead_letters":
        return mailbox.deadLetters();
      case "redrive":
        return mailbox.redrive(given);
      case "discard":
        return mailbox.discard(given);
      case "peek":
        return mailbox.peek(this.now);
      case "promote":
        return mailbox.promote(given, this.now);
      case "purge":
        return mailbox.purge();
      case "close":
        mailbox.close(consumer);
        return null;
      case "die":
        mailbox.recover(consumer);
        return null;
      case "let_time_pass":
        this.now += 1000;
        return null;
      default:
        throw new Error(`nobody knows ${what}`);
    }
  }

  /** @param {Mailbox} mailbox @param {Consumer} consumer @param {[string, [string, ...Written][]]} given */
  #ackAndSend(mailbox, { holder }, [name, sends]) {
    const place = mailbox.find(name);
    if (place === undefined || !mailbox.state.isHeldBy(holder, place)) return false;
    mailbox.ack([name]);
    for (const [target, ...message] of sends) this.#mailbox(target).enqueue([message], this.now);
    return true;
  }

  /** @param {string} who a mailbox or a consumer of it */
  #mailbox(who) {
    return /** @type {Mailbox} */ (this.#mailboxes.get(who[0] ?? ""));
  }
}

/**
 * Dead letters as in a trace: those that died together sorted by name, without a mailbox's own wording.
 * @param {any[]} actual @param {any[][]} groups
 */
function grouped(actual, groups) {
  let at = 0;
  const found = groups.map(({ length }) => {
    const group = actual.slice(at, (at += length));
    return group.sort(([a], [b]) => (a < b ? -1 : 1));
  });
  return [...found, ...actual.slice(at)];
}

const SIZES = [
  { pageNumbers: 1, pagesInHead: 0 },
  { pageNumbers: 4, pagesInHead: 60 },
  { pageNumbers: 1024, pagesInHead: 2048 },
];

test("the file has traces", () => {
  assert.ok(TRACES.length >= 10);
  assert.ok(TRACES.every((trace) => trace.length > 50));
});

for (const sizes of SIZES) {
  test(`what the model answers and counts is what callers were answered, with pages of ${sizes.pageNumbers}`, () => {
    for (const [number, trace] of TRACES.entries()) {
      const database = new Database(sizes);
      for (const [i, [what, who, given, answer, counts]] of trace.entries()) {
        const where = `trace ${number}, step ${i}: ${what} of ${who}`;
        const actual = /** @type {any} */ (database.answer(what, who, given));
        assert.deepEqual(what === "dead_letters" ? grouped(actual, answer) : actual, answer, where);
        assert.deepEqual(
          database.mailboxes.map((mailbox) => mailbox.counts(database.now)),
          counts,
          where,
        );
        for (const mailbox of database.mailboxes) mailbox.restart();
      }
    }
  });
}
