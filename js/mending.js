/**
 * Stores that a database lacks, since something else made or changed it: made anew where nothing that they held is lost.
 *
 * What `ids` and `delayed` say is in the messages, too; `errors`, `departed` and `meta` hold what a mailbox can do without.
 * The states, the messages and the dead letters cannot be had from elsewhere, so they are made anew only if there were none.
 */

import { corrupt } from "./errors.js";
import { idIn } from "./frames.js";
import { isNamed } from "./history.js";
import { result } from "./requests.js";
import { DEAD, isLetter, numberOfLetter } from "./rows.js";
import { Segment } from "./segments.js";
import { MailboxState, isStoredState } from "./state.js";

/**
 * Makes stores anew, and fills them again, while the database is upgraded.
 * @param {IDBDatabase} database @param {IDBTransaction} transaction of the upgrade @param {string[]} lacking the stores
 * @throws {import("./errors.js").StorageCorruptError} one of them held what cannot be had from elsewhere
 */
export async function mend(database, transaction, lacking) {
  for (const name of lacking) database.createObjectStore(name);
  const mailboxes = transaction.objectStore("mailboxes");
  const stored = await result(mailboxes.getAll(IDBKeyRange.upperBound([], true)));
  const states = stored.filter(isStoredState).map((state) => new MailboxState(state));
  const [segments, letters] = await Promise.all(["segments", "dead"].map((name) => result(transaction.objectStore(name).count())));
  const lost = lacking.find(
    (name) =>
      (name === "mailboxes" && segments + letters > 0) ||
      (name === "segments" && states.some((state) => state.queuedCount() + state.inflightCount() > 0)) ||
      (name === "dead" && states.some(({ dead }) => dead > 0)),
  );
  if (lost !== undefined) throw lostStore(lost);
  if (!lacking.includes("ids") && !lacking.includes("delayed")) return;
  for (const state of states) await index(transaction, state, lacking);
}

/** Writes what the stores `ids` and `delayed` say of a mailbox. @param {IDBTransaction} transaction @param {MailboxState} state @param {string[]} lacking which of them */
async function index(transaction, state, lacking) {
  const ids = lacking.includes("ids") ? transaction.objectStore("ids") : undefined;
  const delayed = lacking.includes("delayed") ? transaction.objectStore("delayed") : undefined;
  const { number } = state;
  for await (const { key, value } of rowsOf(transaction, "segments", number)) {
    const [, priority] = /** @type {number[]} */ (key);
    const segment = Segment.from(value);
    if (segment === undefined || state.lanes[priority] === undefined) continue;
    for (let sequence = segment.first; sequence <= segment.last; sequence++) {
      const frame = segment.frameOf(sequence);
      const history = state.historyOf({ priority, sequence });
      if (history === undefined) continue;
      if (frame.named && isNamed(history)) ids?.put([priority, sequence], [number, idIn(segment.bytes, frame)]);
      // how long a nack has put it off is not known any more: then it comes when the first of them is due
      const due = Math.max(frame.due, Number.isFinite(state.nextDue) ? state.nextDue : 0);
      if (state.lanes[priority].delayed.historyOf(sequence) !== undefined) delayed?.put(true, [number, due, priority, sequence]);
    }
  }
  if (ids === undefined) return;
  for await (const { key, value } of rowsOf(transaction, "dead", number)) {
    const letter = numberOfLetter(key);
    if (letter !== undefined && isLetter(value)) ids.put([DEAD, letter], [number, value.id.slice()]);
  }
}

/** The rows of a mailbox, one at a time: all of them may be more than there is memory. @param {IDBTransaction} transaction @param {string} store @param {number} number */
async function* rowsOf(transaction, store, number) {
  const request = transaction.objectStore(store).openCursor(IDBKeyRange.bound([number], [number, []]));
  for (let cursor = await result(request); cursor !== null; cursor = await result(request)) {
    yield { key: cursor.key, value: cursor.value };
    cursor.continue();
  }
}

/** @param {string} name */
const lostStore = (name) =>
  corrupt(
    `The IndexedDB database of the mailboxes lacks its store "${name}", which held what cannot be made anew: something else ` +
      "deleted it. To begin anew, without what is left, delete the database: clear this site's data, or call " +
      'indexedDB.deleteDatabase("pymailbox").',
  );
