/**
 * Stores that a database lacks because something else made or changed it: they are rebuilt if that loses nothing.
 *
 * What `ids` holds is also in the messages; a mailbox can do without what `remembered`, `errors`, `notes` and `meta`
 * hold. The messages of a page that was in `pages` become dead letters when the page is needed. States, messages and
 * dead letters cannot be recovered from elsewhere, so their stores are rebuilt only if there were none.
 */

import { corrupt } from "../model/errors.js";
import { idIn } from "../model/frames.js";
import { hasCustomId } from "../model/delivery.js";
import { isCount } from "../model/bytes.js";
import { result } from "./requests.js";
import { DEAD, isDeadLetter, numberOfDeadLetter } from "./rows.js";
import { Segment } from "../model/segments.js";
import { lastVersion, rowOf, stateOf } from "./stored-state.js";

/** @typedef {import("../model/state.js").MailboxState} MailboxState */

/**
 * Fills stores that were rebuilt, while the database is upgraded.
 * @param {IDBTransaction} transaction of the upgrade @param {string[]} lacking the stores
 * @throws {import("../model/errors.js").StorageCorruptError} one of them held what cannot be recovered from elsewhere
 */
export async function mend(transaction, lacking) {
  const mailboxes = transaction.objectStore("mailboxes");
  const pages = transaction.objectStore("pages");
  const journal = transaction.objectStore("journal");
  const rows = await result(mailboxes.getAll(IDBKeyRange.upperBound([], true)));
  // a row of another shape never had its state there: it is from an older layout, and unreadable, or from another
  // script
  const numbers = rows.flatMap((row) => (isCount(row?.number) && Object.keys(row).length === 1 ? [row.number] : []));
  /** @type {MailboxState[]} */
  const states = [];
  let headless = 0;
  for (const number of lacking.includes("mailboxes") ? await numbersIn(journal) : numbers) {
    const last = await lastVersion(journal, number);
    const state = await stateOf(number, last, pages);
    if (state !== undefined) states.push(state);
    else if (last === undefined) headless += 1;
  }
  const hasMessages = states.some((state) => state.queuedCount() + state.inflightCount() > 0);
  const [segments, letters] = await Promise.all(
    ["segments", "dead"].map((name) => result(transaction.objectStore(name).count())),
  );
  const lost = lacking.find(
    (name) =>
      (name === "mailboxes" && (segments + letters > 0 || hasMessages)) ||
      (name === "journal" && headless > 0) ||
      (name === "segments" && hasMessages) ||
      (name === "dead" && states.some(({ deadLetters }) => deadLetters > 0)),
  );
  if (lost !== undefined) throw lostStore(lost);
  // states without a name would stay for ever; write leases are void, since an upgrade closes all connections
  if (lacking.includes("mailboxes")) journal.clear();
  if (!lacking.includes("ids")) return;
  for (const state of states) await index(transaction, state);
}

/** The numbers of mailboxes that have states. @param {IDBObjectStore} journal */
async function numbersIn(journal) {
  const keys = await result(journal.getAllKeys());
  return new Set(keys.flatMap((key) => (Array.isArray(key) && isCount(key[0]) ? [key[0]] : [])));
}

/** Rebuilds a mailbox's rows of the store `ids`. @param {IDBTransaction} transaction @param {MailboxState} state */
async function index(transaction, state) {
  const ids = transaction.objectStore("ids");
  const pages = transaction.objectStore("pages");
  const { number } = state;
  for (const entry of state.pages.allLacking()) state.pages.open(entry, await rowOf(pages, state, entry));
  const indexSegment = (/** @type {number} */ priority, /** @type {Segment} */ segment) => {
    for (let sequence = segment.first; sequence <= segment.last; sequence++) {
      const frame = segment.frameOf(sequence);
      if (!frame.hasCustomId) continue;
      // all messages of a page that cannot be read may live
      const isUnknown = state.pages.lacking(priority, sequence, sequence + 1).length > 0;
      const delivery = isUnknown ? undefined : state.deliveryOf({ priority, sequence });
      if (isUnknown || (delivery !== undefined && hasCustomId(delivery)))
        ids.put([priority, sequence], [number, idIn(segment.bytes, frame)]);
    }
  };
  for (const [priority, { carried }] of state.lanes.entries())
    for (const segment of carried) indexSegment(priority, segment);
  for await (const { key, value } of rowsOf(transaction, "segments", number)) {
    const [, priority] = /** @type {number[]} */ (key);
    const segment = Segment.from(value);
    if (segment !== undefined && state.lanes[priority] !== undefined) indexSegment(priority, segment);
  }
  for await (const { key, value } of rowsOf(transaction, "dead", number)) {
    const letter = numberOfDeadLetter(key);
    if (letter !== undefined && isDeadLetter(value)) ids.put([DEAD, letter], [number, value.id.slice()]);
  }
}

/**
 * The rows of a mailbox, one at a time: all of them may not fit into memory.
 * @param {IDBTransaction} transaction @param {string} store @param {number} number
 */
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
    `The IndexedDB database of the mailboxes lacks its store "${name}", whose contents cannot be recovered: ` +
      `something else ` +
      "deleted it. To start again without what remains, delete the database: clear this site's data, or call " +
      'indexedDB.deleteDatabase("pymailbox").',
  );
