/** What is known about one message, term by term. Pure. */

import { line, lineOf, whole } from "./preview.js";
import * as format from "./format.js";

/** @typedef {import("../api/values.js").MessageRecord} MessageRecord */
/** @typedef {import("../api/values.js").DeadLetter} DeadLetter */

/**
 * Where the holder of a message is; "none" if nobody holds it any more.
 * @typedef {import("../coordination/liveness.js").Whereabouts | "none"} Held
 */

/**
 * A message as it is listed; `held` only if it is in flight.
 * @typedef {{record: MessageRecord, letter?: DeadLetter | undefined, held?: Held | undefined}} Item
 */

/** @typedef {[term: string, value: string]} Fact */

/** Who holds a message, in words. @type {Record<Held, string>} */
export const HOLDERS = { here: "this tab", elsewhere: "another tab or worker", gone: "nobody: gone", none: "nobody" };

/** What the mailbox knows about a message. @param {Item} item @returns {Fact[]} */
export function factsOf({ record, letter, held }) {
  const { id, sender, payload, priority, createdAt, status, deliveryCount, dueAt } = record;
  return [
    ["Sender", line(sender)],
    ["Priority", priority],
    ["Status", letter === undefined ? { queued: "queued", inflight: "in flight" }[status] : "dead letter"],
    ...factIf("Held by", held && heldBy(held)),
    ["Enqueued", format.moment(createdAt)],
    ...factIf("Due", dueAt && format.moment(dueAt)),
    ...factIf("Died", letter && format.moment(letter.diedAt)),
    ["Handed out", format.count(deliveryCount, "time")],
    ["Size", format.count(payload.length, "byte")],
    ["Id", id],
  ];
}

/** What the sender said about a message. @param {MessageRecord} record @returns {Fact[]} */
export const headersOf = ({ headers }) =>
  Object.entries(headers).map(([name, value]) => [lineOf(name), value === "" ? "(empty)" : whole(value)]);

/** @param {string} term @param {string | undefined} value @returns {Fact[]} */
const factIf = (term, value) => (value === undefined ? [] : [[term, value]]);

/** @param {Held} held */
const heldBy = (held) =>
  held === "gone"
    ? `${HOLDERS.gone}. It goes back to the queue as soon as a consumer looks for messages`
    : HOLDERS[held];
