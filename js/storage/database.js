/**
 * The one IndexedDB database of an origin, and this context's connection to it.
 *
 * | store       | key                                  | value                                            |
 * |-------------|--------------------------------------|--------------------------------------------------|
 * | `mailboxes` | name                                 | its number, the first part of all keys below     |
 * |             | [name, context]                      | a seal, see `write-lease.js`                     |
 * | `journal`   | [mailbox, version]                   | its state's head, see `model/head-codec.js`, and |
 * |             |                                      | small segments: of the last version; the ones    |
 * |             |                                      | before it are debris                             |
 * | `pages`     | [mailbox, kind, number]              | the rest of its state, see `model/blocks.js`     |
 * | `segments`  | [mailbox, priority, last, first]     | messages, packed, see `segments.js`              |
 * | `ids`       | [mailbox, id]                        | [priority, sequence] of messages whose id does   |
 * |             |                                      | not tell where they are; dead letters too        |
 * | `remembered`| [mailbox, id]                        | until when an id is known, whatever became of    |
 * |             |                                      | its message: milliseconds since 1970             |
 * |             | [mailbox, until, id]                 | 0; so that those whose time is over are found    |
 * | `errors`    | [mailbox, priority, sequence]        | what the last nack of a living message said      |
 * | `dead`      | [mailbox, number]                    | a dead letter, numbered in the order of death    |
 * | `notes`     | holder                               | an unload note: the mailbox where what it held   |
 * |             |                                      | is to be released                                |
 * | `meta`      | what                                 | `nextMailbox`: the number of the next mailbox;   |
 * |             |                                      | `birth`: random, drawn with the database;        |
 * |             |                                      | `reserve`: bytes to delete when storage is full; |
 * |             |                                      | `layout`: which of these tables it is after      |
 *
 * Opening brings what an older library wrote to this layout, see `storage/upgrades.js`, and rebuilds a store that
 * something else deleted if that is possible, see `mending.js`. Both use up a version, so the version may be above the
 * layout.
 */

import { closed, corrupt, translate, translateOpening, unavailable } from "../model/errors.js";
import { randomName } from "../model/ids.js";
import { mend } from "./mending.js";
import {
  INTERRUPTIONS,
  IS_GECKO,
  beginFilling,
  endFilling,
  interruptedAlways,
  isTooLate,
  wasInterrupted,
} from "./interruptions.js";
import { commitEarly, isFree, nextFree, watch } from "./one-at-a-time.js";
import { result } from "./requests.js";
import { SeenMailboxes } from "./database-identity.js";
import { upgradeFrom } from "./upgrades.js";

export { result } from "./requests.js";

export const DATABASE_NAME = "pymailbox";
export const DATABASE_VERSION = 5;
export const STORES = [
  "mailboxes",
  "journal",
  "pages",
  "segments",
  "ids",
  "remembered",
  "errors",
  "dead",
  "notes",
  "meta",
];

/**
 * The stores of ordinary transactions. An unload note is the last thing that a page writes and must not wait for them:
 * a waiting transaction is aborted when its page goes.
 */
export const ORDINARY_STORES = STORES.filter((store) => store !== "notes");

/** The stores whose keys begin with a mailbox's number and whose rows are deleted with it. */
export const ROWS_BY_MAILBOX = ["pages", "segments", "ids", "remembered", "errors", "dead"];
export const STORES_BY_MAILBOX = ["journal", ...ROWS_BY_MAILBOX];

/** How often a lost connection is restored before a call fails. */
export const RECONNECTIONS = 3;

/** How often opening tries again while other tabs upgrade the database. */
const OPENINGS = 5;

/**
 * Bytes that are deleted when the disk is full, so that claims, acknowledgements and nacks still find space. Chromium
 * keeps a value above 64 KiB in a file of its own, and only deleting such a file frees space at once; each small write
 * then takes some of it until the browser next tidies up.
 */
const RESERVE_BYTES = 1024 * 1024;

/** The most random bytes that one call gives. */
const RANDOM_BYTES = 64 * 1024;

/** Milliseconds to wait for the browser to tidy up. */
const LONGEST_TIDYING = 5000;

/** A database that exists only for a moment. */
const SHORT_LIVED = "pymailbox-tidy-up";

/**
 * Makes the browser tidy up its files of this origin. Chromium appends all writes, deletes included, to a log of up to
 * some MiB, which counts as used until it is merged into the files; deleting a database does that.
 */
export async function tidyUp() {
  try {
    const tidying = async () => {
      (await result(indexedDB.open(SHORT_LIVED))).close();
      await result(indexedDB.deleteDatabase(SHORT_LIVED));
    };
    // a context that is frozen in the middle of this blocks all others
    await Promise.race([tidying(), new Promise((resolve) => setTimeout(resolve, LONGEST_TIDYING))]);
  } catch {
    // whoever needs the space tries anyway, and meets the error
  }
}

/** Bytes that cannot be compressed. */
export function newReserve() {
  const reserve = new Uint8Array(RESERVE_BYTES);
  for (let at = 0; at < RESERVE_BYTES; at += RANDOM_BYTES)
    crypto.getRandomValues(reserve.subarray(at, at + RANDOM_BYTES));
  return reserve;
}

/**
 * If a request fails after its transaction was asked to commit, Firefox commits everything that did not fail; only a
 * last request made outside of another's handler aborts it (Firefox 153).
 */
export const ABORTS_AFTER_COMMIT = !IS_GECKO;

/**
 * A connection's settings.
 * @typedef {object} ConnectionSettings
 * @property {number} layout that the database is brought to
 * @property {number} answerLimit milliseconds that opening waits for an answer
 * @property {number} blockedLimit milliseconds that opening waits for another tab to close an older layout
 * @property {boolean} asksToCommit whether transactions of several requests ask to be committed as soon as possible
 */

/** One connection for all users: reopened when the browser or a newer version closed it, closed with the last user. */
export class Connection {
  /** How often this context has found the site's data cleared since it first opened the database. */
  wipes = 0;

  /** Called when the browser or a newer version closed the connection. */
  onLost = () => {};

  /** In which database the mailboxes were seen. */
  seen = new SeenMailboxes();

  /** @type {Promise<IDBDatabase> | undefined} */
  #opening;
  /** @type {IDBDatabase | undefined} */
  #opened;
  #openings = 0;
  #users = 0;
  /** @type {string | undefined} */
  #birth;
  #settings;

  /** @param {ConnectionSettings} settings */
  constructor(settings) {
    this.#settings = settings;
  }

  /** The random identity of the database that was last opened; empty before the first. */
  get birth() {
    return this.#birth ?? "";
  }

  get isInUse() {
    return this.#users > 0;
  }

  /** Must be paired with `leave`. */
  enter() {
    this.#users += 1;
  }

  leave() {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#opening?.then(
      (database) => database.close(),
      () => {},
    );
    this.#forget();
  }

  /**
   * Begins a transaction.
   * @param {IDBTransactionMode} mode @param {IDBTransactionDurability} durability @param {string[]} [stores]
   * @returns {Promise<{transaction: IDBTransaction, opening: number}>} boxed, so that it is still active when it
   * arrives; `opening` counts the openings of the database
   */
  async begin(mode, durability, stores = ORDINARY_STORES) {
    for (let attempt = 1; ; attempt++) {
      // a connection that nobody would close must not be opened
      if (!this.isInUse) throw closed();
      /** @type {IDBDatabase | undefined} */
      let database;
      try {
        database = this.#opened ?? (await this.#open());
        while (!isFree()) await nextFree();
        return { transaction: begun(database, stores, mode, durability), opening: this.#openings };
      } catch (error) {
        if (database !== undefined) this.drop(database);
        const failure = translate(error);
        if (failure.name !== "ConnectionLostError" || attempt > RECONNECTIONS) throw failure;
      }
    }
  }

  /**
   * Begins a transaction at once, if the database is open.
   * @param {IDBTransactionMode} mode @param {IDBTransactionDurability} durability @param {string[]} [stores]
   * @returns {IDBTransaction | undefined}
   */
  beginNow(mode, durability, stores = ORDINARY_STORES) {
    if (!this.isInUse || this.#opened === undefined || !isFree()) return undefined;
    try {
      return begun(this.#opened, stores, mode, durability);
    } catch {
      return undefined; // it is closing; whoever waits for it meets the error
    }
  }

  /**
   * Commits a transaction, to which nothing more is added, as soon as possible: completely or not at all.
   * @param {IDBTransaction} transaction
   */
  commit(transaction) {
    if (this.#settings.asksToCommit) commitEarly(transaction);
  }

  /** How often the database has been opened; undefined while it is not open. */
  get openings() {
    return this.#opened === undefined ? undefined : this.#openings;
  }

  /** Drops a connection that no longer works; the next call opens another. @param {IDBDatabase} database */
  drop(database) {
    if (this.#opened === database) this.#forget();
    database.close();
  }

  /**
   * Last writes while the page is left: at once or not at all.
   * @param {string} store @param {[IDBValidKey, unknown][]} entries keys and values
   */
  writeAtOnce(store, entries) {
    if (entries.length === 0) return;
    try {
      const transaction = this.#opened?.transaction([store], "readwrite");
      for (const [key, value] of entries) transaction?.objectStore(store).put(value, key);
      transaction?.commit();
    } catch {
      // the connection is closing, or this page may no longer write
    }
  }

  #forget() {
    this.#opening = undefined;
    this.#opened = undefined;
  }

  /** @returns {Promise<IDBDatabase>} */
  #open() {
    this.#opening ??= this.#connect().catch((error) => {
      this.#forget();
      throw error;
    });
    return this.#opening;
  }

  async #connect() {
    const { database, birth } = await openWhole(this.#settings, this.seen, this.#birth);
    // a newer tab waits for this connection to end, to upgrade the database; or the browser closed it
    database.onclose = database.onversionchange = () => {
      this.drop(database);
      this.onLost();
    };
    if (this.#birth !== undefined && this.#birth !== birth) this.wipes += 1;
    this.#birth = birth;
    this.#openings += 1;
    this.#opened = database;
    return database;
  }
}

/**
 * Opens the database in this layout, with all its stores.
 * @param {ConnectionSettings} settings @param {SeenMailboxes} seen
 * @param {string | undefined} birth what this context knows about it
 * @returns {Promise<{database: IDBDatabase, birth: string}>}
 */
async function openWhole(settings, seen, birth) {
  const { layout } = settings;
  // what this context has opened before is opened without naming a version: after Firefox (153) refuses a version,
  // during the upgrade that closed the connection, it may take 12 s to open the next
  /** @type {number | undefined} */
  let version = birth === undefined ? layout : undefined;
  /** @type {unknown} */
  let versionError;
  let interruptions = 0;
  for (let attempt = 1; ; attempt++) {
    /** @type {IDBDatabase} */
    let database;
    try {
      database = await open(settings, seen, version, birth);
    } catch (error) {
      if (error instanceof InterruptedError) {
        if (++interruptions > INTERRUPTIONS) throw interruptedAlways();
        attempt -= 1;
        continue;
      }
      // it has a higher version: a newer layout, or this one, mended
      const isHigher = error instanceof DOMException && error.name === "VersionError" && attempt < OPENINGS;
      if (!isHigher) throw translateOpening(error);
      versionError = error;
      version = undefined;
      continue;
    }
    const found = await inTime(look(database, layout), settings).catch((error) => {
      database.close();
      throw error;
    });
    if (found.layout === layout && found.isWhole) return { database, birth: found.birth };
    database.close();
    if (found.layout > layout) {
      throw unavailable(
        `The mailboxes here are in layout ${found.layout}, written by a newer pymailbox; ` +
          `this one reads layout ${layout}. Reload to get the newer one.`,
        versionError,
      );
    }
    if (attempt >= OPENINGS)
      throw unavailable("Other tabs keep changing the database of the mailboxes. Close or reload them and try again.");
    version = database.version + 1;
  }
}

/**
 * @param {IDBDatabase} database @param {string[]} stores @param {IDBTransactionMode} [mode]
 * @param {IDBTransactionDurability} [durability]
 */
function begun(database, stores, mode, durability) {
  const transaction = database.transaction(stores, mode, { durability });
  watch(transaction);
  return transaction;
}

/** @param {string} message of an error that may be over later */
const passing = (message) => unavailable(message, undefined, true);

const noAnswer = () =>
  passing(
    "IndexedDB does not answer. Another tab may be keeping it busy: close or reload the other tabs and try again.",
  );

/**
 * Gives up on what WebKit may never answer: where a page that was left amid a transaction is kept, or a worker was
 * ended amid one, it may end no other.
 * @template T @param {Promise<T>} answer @param {ConnectionSettings} settings @returns {Promise<T>}
 */
function inTime(answer, { answerLimit }) {
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(reject, answerLimit, noAnswer())));
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

/**
 * What kind of database this is.
 * @param {IDBDatabase} database @param {number} ours the layout that this library writes
 * @returns {Promise<{layout: number, isWhole: boolean, birth: string}>}
 */
async function look(database, ours) {
  const lacking = storesLackingIn(database);
  // with no stores it has nothing of any layout
  if (lacking.length === STORES.length) return { layout: 0, isWhole: false, birth: "" };
  // each deletion uses up a version, which says nothing about the layout; a newer layout lacks nothing of this one
  if (lacking.includes("meta")) return { layout: ours, isWhole: false, birth: "" };
  const meta = begun(database, ["meta"]).objectStore("meta");
  const [layout, birth] = await Promise.all([result(meta.get("layout")), result(meta.get("birth"))]);
  return { layout: typeof layout === "number" ? layout : ours, isWhole: lacking.length === 0, birth };
}

/**
 * @param {IDBDatabase} database @throws {import("../model/errors.js").StorageCorruptError} it belongs to another
 * program
 */
function storesLackingIn({ objectStoreNames }) {
  const lacking = STORES.filter((store) => !objectStoreNames.contains(store));
  if (lacking.length < STORES.length || objectStoreNames.length === 0) return lacking;
  throw corrupt(
    `The IndexedDB database "${DATABASE_NAME}" of this site belongs to another program: it has none of the stores of ` +
      "a mailbox. Let that program use another name, or delete its database if it is not needed.",
  );
}

/**
 * @param {ConnectionSettings} settings @param {SeenMailboxes} seen
 * @param {number | undefined} version undefined for the present one @param {string | undefined} birth
 * @returns {Promise<IDBDatabase>}
 */
function open(settings, seen, version, birth) {
  return new Promise((resolve, reject) => {
    const { indexedDB } = globalThis;
    if (!indexedDB) {
      reject(
        unavailable(
          "There is no IndexedDB here. Mailboxes live in a browser: in its pages, workers and service workers.",
        ),
      );
      return;
    }
    const request = indexedDB.open(DATABASE_NAME, version);
    /** Why the upgrade failed; the request says only that it did. @type {unknown} */
    let reason;
    /** @type {IDBTransaction | undefined} */
    let upgrading;
    let abandoned = false;
    /** @param {number} milliseconds @param {Error} why */
    const giveUpAfter = (milliseconds, why) =>
      setTimeout(() => {
        abandoned = true;
        reject(why);
      }, milliseconds);
    let timer = giveUpAfter(settings.answerLimit, noAnswer());
    request.onupgradeneeded = () => {
      // how long this takes depends on how much there is
      clearTimeout(timer);
      const { result: database, transaction } = request;
      if (transaction === null) return;
      upgrading = transaction;
      transaction.onabort = () => (reason ??= transaction.error);
      upgrade(database, transaction, settings.layout, seen, birth).catch((error) => {
        // an aborted request says only that its transaction was aborted
        const isTold = !(error instanceof DOMException) || error.name !== "AbortError";
        if (abort(transaction) && isTooLate(error)) reason ??= new InterruptedError();
        else if (isTold) reason ??= error;
      });
    };
    request.onblocked = () => {
      clearTimeout(timer);
      timer = giveUpAfter(
        settings.blockedLimit,
        passing("Another tab keeps an older version of the mailboxes open. Close or reload it and try again."),
      );
    };
    request.onerror = () => {
      clearTimeout(timer);
      reject(upgrading && wasInterrupted(upgrading) ? new InterruptedError() : (reason ?? request.error));
    };
    request.onsuccess = () => {
      clearTimeout(timer);
      const { result: database } = request;
      database.onversionchange = () => database.close();
      if (abandoned) database.close();
      else resolve(database);
    };
  });
}

/**
 * Brings the database to this layout, with all its stores; within a major version layouts only add things.
 * @param {IDBDatabase} database @param {IDBTransaction} transaction @param {number} ours @param {SeenMailboxes} seen
 * @param {string | undefined} birth
 */
async function upgrade(database, transaction, ours, seen, birth) {
  const lacking = storesLackingIn(database);
  const isNew = lacking.length === STORES.length;
  for (const name of lacking) database.createObjectStore(name);
  beginFilling(transaction);
  const told = await result(transaction.objectStore("meta").get("layout"));
  const layout = typeof told === "number" ? told : (layoutBy(lacking, database) ?? ours);
  if (!isNew) await upgradeFrom(layout, database, transaction);
  await mend(transaction, lacking);
  const mailboxes = transaction.objectStore("mailboxes");
  const meta = transaction.objectStore("meta");
  if (lacking.includes("meta")) {
    // a mailbox that still exists is still the same
    const [name] = isNew ? [] : await result(mailboxes.getAllKeys(undefined, 1));
    const before = isNew ? undefined : (birth ?? (typeof name === "string" ? seen.lastIn(name) : undefined));
    meta.put(before ?? randomName(), "birth");
    meta.put(newReserve(), "reserve");
  }
  meta.put(ours, "layout");
  endFilling(transaction);
}

/**
 * The older layout that a database's stores reveal: the first layout did not record it, nor does one without `meta`.
 * @param {string[]} lacking @param {IDBDatabase} database @returns {number | undefined}
 */
function layoutBy(lacking, { objectStoreNames }) {
  if (lacking.includes("pages")) return 1;
  if (lacking.includes("journal")) return 2;
  if (objectStoreNames.contains("departed")) return 3;
  return lacking.includes("remembered") ? 4 : undefined;
}

/** Thrown if a dialog of the page kept an upgrade from being completed: nothing was changed. */
class InterruptedError extends Error {}

/** Aborts a transaction; false if it is already over. @param {IDBTransaction} transaction */
export function abort(transaction) {
  try {
    transaction.abort();
    return true;
  } catch {
    return false;
  }
}
