/** A mailbox as a whole: read out page by page with all that is known of its messages, and filled again. */

import { result } from "../storage/database.js";
import { INFLIGHT, QUEUED, frameAt, framesIn, idIn, packBatch, viewOf } from "../model/frames.js";
import { failures, handOuts, isSuspect, restored } from "../model/delivery.js";
import { DELAYED, HELD } from "../model/page.js";
import { livingBetween } from "../model/queries.js";
import { givenIdsAlreadyThere, keyOf } from "./verbs.js";
import { Unreadable } from "./read-transaction.js";
import { ValueUnavailable, withId } from "./unavailable-values.js";
import { DEAD, isLetter, numberOfLetter } from "../storage/rows.js";

/** As in `pymailbox/_archive.py`. */
const PAGE_MESSAGES = 500;
const PAGE_BYTES = 4 * 1024 * 1024;

/** @typedef {import("./write-transaction.js").WriteTransaction} WriteTransaction */
/** @typedef {import("./read-transaction.js").ReadTransaction} ReadTransaction */
/** @typedef {import("../model/state.js").MailboxState} MailboxState */
/** @typedef {import("./types.js").Page} Page */

/**
 * The messages of a section, in the order of their numbers.
 * @param {ReadTransaction} reading @param {MailboxState} state @param {number} section a priority, or `DEAD`
 * @param {number} from the first number @param {number | undefined} until exclusive; if it is undefined, all there are now
 * @returns {Promise<Page>}
 * @throws {Unreadable}
 * @throws {ValueUnavailable} a message that belongs there cannot be read at present
 */
export async function read(reading, state, section, from, until) {
  try {
    if (section === DEAD) return await readDead(reading, state, from, until ?? state.nextDeadLetter);
    return await readLiving(reading, state, section, from, until ?? state.lanes[section].next);
  } catch (error) {
    if (!(error instanceof ValueUnavailable)) throw error;
    const [, ...key] = /** @type {number[]} */ (error.key);
    // the key of a segment ends in its first number
    const [id] = await reading.idsOf(state, [{ priority: section, sequence: key.at(-1) ?? 0 }]);
    throw withId(error, id);
  }
}

/** @param {ReadTransaction} reading @param {MailboxState} state @param {number} priority @param {number} from @param {number} until @returns {Promise<Page>} */
async function readLiving(reading, state, priority, from, until) {
  const runs = await reading.run(state, livingBetween(state.pages, priority, from, until, PAGE_MESSAGES));
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
    reading.entries(state, runs, QUEUED, PAGE_BYTES),
    errorsBetween(reading, state, priority, from, last),
  ]);
  const details = entries.map((entry, i) => {
    const { sequence, delivery, status, due } = places[i];
    entry.status = status;
    return [due, failures(delivery), isSuspect(delivery), errors.get(sequence) ?? null];
  });
  const isLast = entries.length === places.length && places.length < PAGE_MESSAGES;
  return [packBatch(entries), JSON.stringify(details), isLast ? until : places[entries.length - 1].sequence + 1, until];
}

/** What nacks said of messages. @param {ReadTransaction} reading @param {MailboxState} state @param {number} priority @param {number} from @param {number} last */
async function errorsBetween(reading, { number }, priority, from, last) {
  const range = IDBKeyRange.bound([number, priority, from], [number, priority, last]);
  const errors = reading.store("errors");
  const [keys, values] = await Promise.all([result(errors.getAllKeys(range)), result(errors.getAll(range))]);
  return new Map(keys.map((key, i) => [/** @type {number[]} */ (key)[2], typeof values[i] === "string" ? values[i] : undefined]));
}

/** @param {ReadTransaction} reading @param {MailboxState} state @param {number} from @param {number} until @returns {Promise<Page>} */
async function readDead(reading, state, from, until) {
  const entries = [];
  const details = [];
  let bytes = 0;
  if (from < until) {
    const range = IDBKeyRange.bound([state.number, from], [state.number, until], false, true);
    const keys = await result(reading.store("dead").getAllKeys(range, PAGE_MESSAGES));
    for (const number of keys.flatMap((key) => numberOfLetter(key) ?? [])) {
      const [letter] = await reading.values("dead", [state.number, number]);
      if (!isLetter(letter)) throw new Unreadable({ priority: DEAD, sequence: number });
      const { id, frame, deliveries, reason, error, diedAt } = letter;
      bytes += frame.length;
      if (bytes > PAGE_BYTES && entries.length > 0) return [packBatch(entries), JSON.stringify(details), number, until];
      entries.push({
        bytes: frame,
        frame: frameAt(viewOf(frame), 0),
        /** @param {DataView} view @param {number} offset */
        writeIdTo: (view, offset) => id.forEach((byte, i) => view.setUint8(offset + i, byte)),
        deliveryCount: deliveries,
        status: INFLIGHT,
      });
      details.push([null, 0, false, error ?? null, reason, diedAt]);
      from = number + 1;
    }
    if (keys.length < PAGE_MESSAGES) from = until;
  }
  return [packBatch(entries), JSON.stringify(details), from, until];
}

/**
 * Stores messages that are not there yet, as they are; dead letters among the dead letters.
 * @param {WriteTransaction} commit @param {MailboxState} state @param {Uint8Array} frames each with an id
 * @param {string} details JSON: of each `[deliveries, failures, suspect, error, reason, diedAt]`, the last three null where
 * there is none
 * @returns {Promise<{stored: Uint8Array, grown: boolean}>} a 1 for each that was stored, and whether the queue grew
 */
export async function adopt(commit, state, frames, details) {
  const incoming = [...framesIn(frames)];
  const known = await givenIdsAlreadyThere(commit, state, frames, incoming);
  await commit.openToAppend(state);
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
      const past = restored(delivered, 0, false);
      commit.addDeadLetter(state, { id, frame: bytes, deliveries: handOuts(past), reason, error: error ?? undefined, diedAt });
      continue;
    }
    const past = restored(delivered, failed, suspect);
    const sequence = commit.append(state, frames, frame, past);
    if (error !== null && failures(past) > 0) commit.keepError(state, { priority: frame.priority, sequence }, error);
    grown = true;
  }
  return { stored, grown };
}
