/** Export and import: reads a mailbox page by page, with everything known about its messages, and fills one again. */

import { result } from "../storage/requests.js";
import { INFLIGHT, QUEUED, framesIn, idIn, packBatch } from "../model/frames.js";
import { failures, handOuts, isSuspect, restored } from "../model/delivery.js";
import { keyOf } from "../model/ids.js";
import { DELAYED, HELD } from "../model/page.js";
import { livingBetween } from "../model/queries.js";
import { addDeadLetter } from "./dead-letter-rows.js";
import { keepError } from "./message-rows.js";
import { entryOf } from "./verbs/dead-letters.js";
import { customIdsAlreadyThere, enqueueFrame, openToEnqueue } from "./verbs/enqueue.js";
import { PAGE_BYTES, PAGE_MESSAGES } from "../model/limits.js";
import { Unreadable } from "./read-transaction.js";
import { ValueUnavailable, withId } from "./unavailable-values.js";
import { DEAD, isDeadLetter, numberOfDeadLetter } from "../storage/rows.js";

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("./read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("./types.js").Page} Page */

/**
 * The messages of a section, in the order of their numbers.
 * @param {ReadTransaction} tx @param {MailboxState} state @param {number} section a priority, or `DEAD`
 * @param {number} from the first number
 * @param {number | undefined} until exclusive; undefined for all that exist now
 * @returns {Promise<Page>}
 * @throws {Unreadable}
 * @throws {ValueUnavailable} one of these messages cannot be read at present
 */
export async function readSection(tx, state, section, from, until) {
  try {
    if (section === DEAD) return await readDead(tx, state, from, until ?? state.nextDeadLetter);
    return await readLiving(tx, state, section, from, until ?? state.lanes[section].next);
  } catch (error) {
    if (!(error instanceof ValueUnavailable)) throw error;
    const [, ...key] = /** @type {number[]} */ (error.key);
    // the key of a segment ends in its first number
    const [id] = await tx.idsOf(state, [{ priority: section, sequence: key.at(-1) ?? 0 }]);
    throw withId(error, id);
  }
}

/**
 * @param {ReadTransaction} tx @param {MailboxState} state @param {number} priority @param {number} from
 * @param {number} until @returns {Promise<Page>}
 */
async function readLiving(tx, state, priority, from, until) {
  const runs = await tx.run(state, livingBetween(state.pages, priority, from, until, PAGE_MESSAGES));
  const places = runs.flatMap(({ from, to, delivery, where, due }) =>
    Array.from({ length: to - from }, (_, i) => ({
      sequence: from + i,
      delivery,
      status: where >= HELD ? INFLIGHT : QUEUED,
      due: where === DELAYED ? due : null,
    })),
  );
  if (places.length === 0) return [packBatch([]), "[]", until, until];
  const last = places[places.length - 1].sequence;
  const [entries, errors] = await Promise.all([
    tx.entries(state, runs, QUEUED, PAGE_BYTES),
    errorsBetween(tx, state, priority, from, last),
  ]);
  const details = entries.map((entry, i) => {
    const { sequence, delivery, status, due } = places[i];
    entry.status = status;
    return [due, failures(delivery), isSuspect(delivery), errors.get(sequence) ?? null];
  });
  const isLast = entries.length === places.length && places.length < PAGE_MESSAGES;
  return [packBatch(entries), JSON.stringify(details), isLast ? until : places[entries.length - 1].sequence + 1, until];
}

/**
 * The errors that nacks gave for messages.
 * @param {ReadTransaction} tx @param {MailboxState} state @param {number} priority @param {number} from
 * @param {number} last
 */
async function errorsBetween(tx, { number }, priority, from, last) {
  const range = IDBKeyRange.bound([number, priority, from], [number, priority, last]);
  const errors = tx.store("errors");
  const [keys, values] = await Promise.all([result(errors.getAllKeys(range)), result(errors.getAll(range))]);
  return new Map(
    keys.map((key, i) => [/** @type {number[]} */ (key)[2], typeof values[i] === "string" ? values[i] : undefined]),
  );
}

/**
 * @param {ReadTransaction} tx @param {MailboxState} state @param {number} from @param {number} until
 * @returns {Promise<Page>}
 */
async function readDead(tx, state, from, until) {
  const entries = [];
  const details = [];
  let bytes = 0;
  if (from < until) {
    const range = IDBKeyRange.bound([state.number, from], [state.number, until], false, true);
    const keys = await result(tx.store("dead").getAllKeys(range, PAGE_MESSAGES));
    for (const number of keys.flatMap((key) => numberOfDeadLetter(key) ?? [])) {
      const [letter] = await tx.values("dead", [state.number, number]);
      if (!isDeadLetter(letter)) throw new Unreadable({ priority: DEAD, sequence: number });
      const { frame, reason, error, diedAt } = letter;
      bytes += frame.length;
      if (bytes > PAGE_BYTES && entries.length > 0) return [packBatch(entries), JSON.stringify(details), number, until];
      entries.push(entryOf(letter));
      details.push([null, 0, false, error ?? null, reason, diedAt]);
      from = number + 1;
    }
    if (keys.length < PAGE_MESSAGES) from = until;
  }
  return [packBatch(entries), JSON.stringify(details), from, until];
}

/**
 * Stores those messages that are not there yet, unchanged; dead letters become dead letters again.
 * @param {WriteTransaction} tx @param {MailboxState} state @param {Uint8Array} frames each with an id
 * @param {string} details JSON: `[deliveries, failures, suspect, error, reason, diedAt]` of each; any of the last three
 * may be null
 * @returns {Promise<{stored: Uint8Array, grown: boolean}>} a 1 for each that was stored, and whether the queue grew
 */
export async function adopt(tx, state, frames, details) {
  const incoming = framesIn(frames);
  const known = await customIdsAlreadyThere(tx, state, frames, incoming);
  await openToEnqueue(tx, state);
  const stored = new Uint8Array(incoming.length);
  let grown = false;
  for (const [i, [delivered, failed, suspect, error, reason, diedAt]] of JSON.parse(details).entries()) {
    const frame = incoming[i];
    const id = idIn(frames, frame);
    if (known.has(keyOf(id))) continue;
    known.add(keyOf(id));
    state.noteCustomId(id);
    stored[i] = 1;
    if (reason !== null) {
      const bytes = frames.slice(frame.offset, frame.end);
      const past = restored(delivered, 0, false, false);
      addDeadLetter(tx, state, {
        id,
        frame: bytes,
        deliveries: handOuts(past),
        reason,
        error: error ?? undefined,
        diedAt,
      });
      continue;
    }
    const past = restored(delivered, failed, suspect, error !== null);
    const sequence = enqueueFrame(tx, state, frames, frame, past);
    if (error !== null) keepError(tx, state, { priority: frame.priority, sequence }, error);
    grown = true;
  }
  return { stored, grown };
}
