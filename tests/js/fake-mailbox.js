// A mailbox in memory, and what else the tests of its consumers have at hand.

import assert from "node:assert/strict";

import { MailboxClosedError } from "../../js/model/errors.js";
import { RunningConsumer } from "../../js/api/actors/consumer.js";
import { checkConsumeOptions } from "../../js/api/actors/options.js";
import { Watchers } from "../../js/api/actors/watchers.js";

/** @typedef {import("../../js/api/actors/consumer.js").Source} Source */
/** @typedef {import("../../js/index.js").MessageRecord} MessageRecord */

let lastId = 0;

/** @param {string} sender @param {"normal" | "high"} [priority] @returns {MessageRecord} */
export function recordOf(sender, priority = "normal") {
  const text = new TextEncoder();
  const id = `${lastId++}`;
  const bytes = { sender: text.encode(sender), payload: text.encode(id) };
  const values = { headers: {}, createdAt: new Date(), status: /** @type {const} */ ("inflight"), deliveryCount: 1 };
  return { id, ...bytes, priority, ...values, json: () => undefined };
}

/** A mailbox of one handle, whose next calls wait or fail as they are told. */
export class FakeMailbox {
  /** @type {MessageRecord[]} */
  queue = [];
  /** @type {Set<string>} */
  held = new Set();
  /** As they begin, each with the ids that it was given. @type {string[]} */
  calls = [];
  /** By call, what it fails with next. @type {Record<string, Error[]>} */
  failures = {};
  /** By call, what it waits for. @type {Record<string, Promise<unknown> | undefined>} */
  doors = {};
  watchers = new Watchers();
  /** What handlers may call. */
  mailbox = /** @type {import("../../js/index.js").Mailbox} */ (
    /** @type {unknown} */ ({
      name: "fake",
      ack: (/** @type {string} */ id) => this.#settle("ack", id),
      nack: (/** @type {string} */ id) => this.#settle("nack", id),
      deadLetter: (/** @type {string} */ id) => this.#settle("deadLetter", id),
      ackAndSend: (/** @type {string} */ id) => this.#settle("ackAndSend", id),
    })
  );
  #isClosed = false;
  /** @type {(() => void) | undefined} */
  #wake;

  /** @param {number} count */
  constructor(count) {
    this.queue = Array.from({ length: count }, () => recordOf("sender"));
  }

  /** @param {string} call @param {string[]} [ids] */
  #begin(call, ids = []) {
    this.calls.push([call, ...ids].join(" "));
    const failure = this.failures[call]?.shift();
    if (failure !== undefined) throw failure;
  }

  /** @param {MessageRecord} record */
  enqueue(record) {
    this.queue.push(record);
    this.#wake?.();
  }

  /** Closes it: a claim that waits ends with an error. */
  end() {
    this.#isClosed = true;
    this.#wake?.();
  }

  /** @param {string[]} ids */
  #ack(ids) {
    const held = ids.filter((id) => this.held.delete(id));
    return held.length;
  }

  /** @param {import("../../js/api/actors/holds.js").SettlingVerb} verb @param {string} id */
  #settle(verb, id) {
    return this.watchers.settling(verb, [id], async () => {
      this.#begin(verb, [id]);
      return this.held.delete(id);
    });
  }

  /** @returns {Source} */
  source() {
    return {
      mailbox: this.mailbox,
      label: "Mailbox",
      batchSize: 8,
      claim: (limit, acked, onAcked) => {
        let isUndone = false;
        const claim = async () => {
          this.#begin("claim", acked);
          if (this.doors.claim !== undefined) await this.doors.claim;
          if (acked.length > 0 && !isUndone) {
            const count = this.#ack(acked);
            const lost = this.failures["claim's answer"]?.shift();
            if (lost !== undefined) throw lost;
            onAcked(count);
          }
          while (this.queue.length === 0 && !isUndone) {
            await new Promise((resolve) => {
              this.#wake = () => resolve(undefined);
            });
            if (this.#isClosed) throw new MailboxClosedError("on purpose");
          }
          const batch = isUndone ? [] : this.queue.splice(0, limit);
          for (const { id } of batch) this.held.add(id);
          return batch;
        };
        const undo = async () => {
          isUndone = true;
          this.#wake?.();
        };
        return { claimed: claim(), undo };
      },
      ackHeld: async (ids) => {
        if (this.#isClosed) throw new MailboxClosedError("on purpose");
        this.calls.push(["ackHeld", ...ids].join(" "));
        const failure = this.failures.ackHeld?.shift();
        if (failure === undefined) return this.#ack(ids);
        await turns();
        throw failure;
      },
      ackLate: async (ids, madeAt) => {
        this.#begin(
          "ackLate",
          ids.map((id, i) => `${id} of ${madeAt[i]}`),
        );
        this.#ack(ids);
      },
      release: async (ids) => {
        this.#begin("release", ids);
        await this.doors.release;
      },
      nack: (id) => this.#settle("nack", id),
      enqueueApart: (_, mailbox, messages) => mailbox.enqueueMany(messages),
      checkMailbox: () => {},
      companions: () => assert.fail("nothing is answered"),
      watch: (watcher) => this.watchers.add(watcher),
    };
  }
}

/**
 * @param {FakeMailbox} fake @param {import("../../js/index.js").Handler} handler
 * @param {import("../../js/index.js").ConsumeOptions} [options]
 */
export const consume = (fake, handler, options) =>
  new RunningConsumer(fake.source(), checkConsumeOptions(handler, options));

/** The console, kept from view. @param {import("node:test").TestContext} t */
export function consoleOf(t) {
  /** @type {string[]} */
  const lines = [];
  for (const level of /** @type {const} */ (["info", "warn", "error", "debug"]))
    t.mock.method(console, level, (/** @type {unknown[]} */ ...values) => lines.push(`${level}: ${values.join(" ")}`));
  return lines;
}

/** Time for all that goes on by itself. */
export async function turns() {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}
