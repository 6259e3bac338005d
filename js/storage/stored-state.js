/** A mailbox's state in the stores `mailboxes`, `journal` and `pages`. */

import { isCount } from "../model/bytes.js";
import { LARGEST_COUNT } from "../model/limits.js";
import { MailboxState } from "../model/state.js";
import { result } from "./requests.js";

/**
 * The last version of a state, which something else may have changed.
 * @typedef {{version: number, stored: unknown}} Version
 */

/**
 * The number that a mailbox had when its row was last read, so that its state can be requested together with the row.
 * @type {Map<string, number>}
 */
const numbers = new Map();

/**
 * The last version of a mailbox's state; undefined if there is none.
 * @param {IDBObjectStore} journal @param {number} number @returns {Promise<Version | undefined>}
 */
export async function lastVersion(journal, number) {
  const cursor = await result(journal.openCursor(versionsOf(number), "prev"));
  if (cursor === null) return undefined;
  const [, version] = /** @type {unknown[]} */ (cursor.key);
  return { version: isCount(version) ? version : NaN, stored: cursor.value };
}

/**
 * Whether a version of a mailbox's state is the last one.
 * @param {IDBObjectStore} journal @param {{number: number, version: number}} state
 */
export async function isLastVersion(journal, { number, version }) {
  const keys = await result(journal.getAllKeys(versionsOf(number, version, version + 1)));
  return keys.length === 1 && /** @type {number[]} */ (keys[0])[1] === version;
}

/**
 * A text that changes with each commit to a mailbox.
 * @param {string} mailbox @param {(name: string) => IDBObjectStore} store
 */
export async function lastCommitOf(mailbox, store) {
  const guess = numbers.get(mailbox);
  const [row, key] = await Promise.all([
    result(store("mailboxes").get(mailbox)),
    guess === undefined ? undefined : lastKeyOf(store("journal"), guess),
  ]);
  if (row === undefined) return "none";
  return String(row.number === guess ? key : await lastKeyOf(store("journal"), row.number));
}

/** @param {IDBObjectStore} journal @param {number} number */
async function lastKeyOf(journal, number) {
  const cursor = await result(journal.openKeyCursor(versionsOf(number), "prev"));
  return cursor?.key;
}

/** Whether a mailbox's state can be requested together with its row. @param {string} mailbox */
export const isNumberKnown = (mailbox) => numbers.has(mailbox);

/** The name of a mailbox whose state was read here. @param {number} number */
export const nameOfMailbox = (number) => [...numbers].find(([, known]) => known === number)?.[0];

/** A mailbox that is deleted has no number. @param {string} mailbox */
export const forgetNumber = (mailbox) => numbers.delete(mailbox);

/** All keys of a mailbox in a store whose keys begin with its number. @param {{number: number}} state */
export const keysOf = ({ number }) => IDBKeyRange.bound([number], [number, []]);

/** The keys of a mailbox's versions. @param {number} number @param {number} [first] @param {number} [last] */
export const versionsOf = (number, first = 0, last = LARGEST_COUNT) =>
  IDBKeyRange.bound([number, first], [number, last]);

/**
 * The state of a mailbox.
 * @param {string} mailbox @param {(name: string) => IDBObjectStore} store
 * @returns {Promise<MailboxState | "unreadable" | undefined>} undefined if there is no such mailbox
 */
export async function readState(mailbox, store) {
  const guess = numbers.get(mailbox);
  // now: a transaction that was asked to commit gives none later
  const [journal, pages] = [store("journal"), store("pages")];
  const [row, guessed] = await Promise.all([
    result(store("mailboxes").get(mailbox)),
    guess === undefined ? undefined : lastVersion(journal, guess),
  ]);
  if (row === undefined) {
    numbers.delete(mailbox);
    return undefined;
  }
  if (!isCount(row?.number)) return "unreadable";
  numbers.set(mailbox, row.number);
  const last = row.number === guess ? guessed : await lastVersion(journal, row.number);
  return (await stateOf(row.number, last, pages)) ?? "unreadable";
}

/**
 * The state of a version, with the rows that belong to it; undefined if it cannot be read.
 * @param {number} number @param {Version | undefined} last @param {IDBObjectStore} pages
 * @returns {Promise<MailboxState | undefined>}
 */
export async function stateOf(number, last, pages) {
  const state = last && isCount(last.version) ? MailboxState.from(last.stored, last.version) : undefined;
  if (state?.number !== number) return undefined;
  const { absent } = state;
  if (absent.length === 0) return state;
  const rows = await Promise.all(absent.map((block) => rowOf(pages, state, block)));
  return state.fill(rows) ? state : undefined;
}

/**
 * The row of a block.
 * @param {IDBObjectStore} pages @param {MailboxState} state @param {{kind: number, number: number}} block
 * @returns {Promise<unknown>}
 */
export const rowOf = (pages, { number }, block) => result(pages.get([number, block.kind, block.number]));

/**
 * Writes what has changed in a state, except its head.
 * @param {() => IDBObjectStore} store gives `pages` @param {MailboxState} state
 */
export function writeRows(store, state) {
  const changes = state.pack();
  for (const { key, to, bytes } of changes) {
    const [kind, first] = key;
    const pages = store();
    if (bytes !== undefined) pages.put(bytes, [state.number, kind, first]);
    else if (to === first) pages.delete([state.number, kind, first]);
    else pages.delete(IDBKeyRange.bound([state.number, kind, first], [state.number, kind, to]));
  }
  return changes;
}

/** The most old versions before those that nobody needs are deleted. */
const VERSIONS = 16;

/** If a head with the segments that travel with it has more bytes than this, each write deletes the old versions. */
const LARGE_HEAD = 6 * 1024;

/**
 * Writes the next version of a state; fails if somebody else has. The version before it stays, in case a browser
 * commits the rest of a transaction without the new one.
 * @param {() => IDBObjectStore} store gives `journal` @param {MailboxState} state
 */
export function writeHead(store, state) {
  const { number, base } = state;
  const version = state.version + 1;
  const stored = state.toStored();
  const last = version - 2;
  const sweeps = last - base >= VERSIONS || (last >= base && stored.head.length + state.carriedBytes > LARGE_HEAD);
  if (sweeps) stored.base = state.base = last + 1;
  const added = store().add(stored, [number, version]);
  if (sweeps) store().delete(versionsOf(number, base, last));
  state.version = version;
  return added;
}
