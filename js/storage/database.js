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
 * What an older library wrote is brought to this layout when it is opened, see `storage/upgrades.js`. A store that
 * something else deleted is made anew where it can be, see `mending.js`. Both take a version of their own, so the
 * version may be above the layout.
 */

import { closed, corrupt, translate, translateOpening, unavailable } from "../model/errors.js";
import { randomName } from "../model/ids.js";
import { mend } from "./mending.js";
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
 * The stores of ordinary transactions. An unload note is the last thing that a page writes, and must not wait for them:
 * a transaction that waits is aborted when its page goes.
 */
export const ORDINARY_STORES = STORES.filter((store) => store !== "notes");

/** The stores whose keys begin with a mailbox's number, and those whose rows go with it. */
export const ROWS_BY_MAILBOX = ["pages", "segments", "ids", "remembered", "errors", "dead"];
export const STORES_BY_MAILBOX = ["journal", ...ROWS_BY_MAILBOX];

/** How often a lost connection is restored before a call fails. */
export const RECONNECTIONS = 3;

/** Milliseconds that opening waits for any answer: it queues behind other tabs, and some browsers lose the request. */
const ANSWER_LIMIT = 20_000;

/** How often opening looks again at a database that other tabs upgrade at the same time. */
const OPENINGS = 5;

/**
 * Bytes kept to be deleted when the storage is full, so that claims, acknowledgements and nacks still find room.
 * Chromium keeps a value above 64 KiB in a file of its own, and only such a file makes room the moment that it is
 * deleted; each small write then takes some of it until the browser next tidies up.
 */
const RESERVE_BYTES = 1024 * 1024;

/** As many random bytes as one call gives. */
const RANDOM_BYTES = 64 * 1024;

/** Milliseconds that it is waited for that. */
const LONGEST_TIDYING = 5000;

/** A database that is there for a moment only. */
const SHORT_LIVED = "pymailbox-tidy-up";

/**
 * Makes the browser tidy up its files of this origin. Chromium appends what is written, deletes too, to a log of up to
 * some MiB, which counts as used until it is brought into the files; it does that when a database is deleted.
 */
export async function tidyUp() {
  try {
    const tidying = async () => {
      (await result(indexedDB.open(SHORT_LIVED))).close();
      await result(indexedDB.deleteDatabase(SHORT_LIVED));
    };
    // a context that is frozen amid this keeps all others from it
    await Promise.race([tidying(), new Promise((resolve) => setTimeout(resolve, LONGEST_TIDYING))]);
  } catch {
    // whoever needs the room tries all the same, and meets the error itself
  }
}

/** What cannot be compressed away. */
export function newReserve() {
  const reserve = new Uint8Array(RESERVE_BYTES);
  for (let at = 0; at < RESERVE_BYTES; at += RANDOM_BYTES)
    crypto.getRandomValues(reserve.subarray(at, at + RANDOM_BYTES));
  return reserve;
}

/**
 * Firefox completes a transaction whose request fails once it was asked to commit, with all that did not fail; only a
 * last request that was made outside of another's handler aborts it (Firefox 153). Its engine is known by an error of
 * its own.
 */
export const ABORTS_AFTER_COMMIT = !("InternalError" in globalThis);

/**
 * What a connection takes from its surroundings.
 * @typedef {object} ConnectionSettings
 * @property {number} layout that the database is brought to
 * @property {number} blockedLimit milliseconds that opening waits for another tab to give up an older layout
 * @property {boolean} asksToCommit whether transactions of several requests are ended as soon as may be
 */

/** Opens once, is opened again when the browser or a newer version closed it, and is closed with its last user. */
export class Connection {
  /** How often the site's data was found to have been cleared since this context first opened the database. */
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

  /** What the database that was opened last drew at random when it was made; empty before the first. */
  get birth() {
    return this.#birth ?? "";
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
   * arrives; `opening` counts how often the database has been opened
   */
  async begin(mode, durability, stores = ORDINARY_STORES) {
    for (let attempt = 1; ; attempt++) {
      // a connection that nobody would close must not be opened
      if (this.#users === 0) throw closed();
      /** @type {IDBDatabase | undefined} */
      let database;
      try {
        database = this.#opened ?? (await this.#open());
        return { transaction: database.transaction(stores, mode, { durability }), opening: this.#openings };
      } catch (error) {
        if (database !== undefined) this.drop(database);
        const failure = translate(error);
        if (failure.name !== "ConnectionLostError" || attempt > RECONNECTIONS) throw failure;
      }
    }
  }

  /**
   * Begins a transaction now, where the database is open.
   * @param {IDBTransactionMode} mode @param {IDBTransactionDurability} durability @param {string[]} [stores]
   * @returns {IDBTransaction | undefined}
   */
  beginNow(mode, durability, stores = ORDINARY_STORES) {
    if (this.#users === 0) return undefined;
    try {
      return this.#opened?.transaction(stores, mode, { durability });
    } catch {
      return undefined; // it is closing, and whoever waits for it meets the error
    }
  }

  /**
   * Ends a transaction, to which nothing is added any more, as soon as may be: whole, or not at all.
   * @param {IDBTransaction} transaction
   */
  commit(transaction) {
    if (this.#settings.asksToCommit) transaction.commit();
  }

  /** How often the database has been opened, while it is open; undefined while it is not. */
  get openings() {
    return this.#opened === undefined ? undefined : this.#openings;
  }

  /** Lets a connection go that does not work any more; the next call opens another. @param {IDBDatabase} database */
  drop(database) {
    if (this.#opened === database) this.#forget();
    database.close();
  }

  /**
   * Last writes while the page is left: at once, or not at all.
   * @param {string} store @param {[IDBValidKey, unknown][]} entries keys and values
   */
  writeAtOnce(store, entries) {
    if (entries.length === 0) return;
    try {
      const transaction = this.#opened?.transaction([store], "readwrite");
      for (const [key, value] of entries) transaction?.objectStore(store).put(value, key);
      transaction?.commit();
    } catch {
      // the connection is closing, or this page must not write any more
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
    // a newer tab wants to upgrade, and its layout waits for this connection; or the browser closed it
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
 * @param {string | undefined} birth what this context knows of it
 * @returns {Promise<{database: IDBDatabase, birth: string}>}
 */
async function openWhole(settings, seen, birth) {
  const { layout } = settings;
  // what this context has opened before it takes as it is now: after a version that is refused, amid the upgrade that
  // closed its connection, Firefox (153) may take 12 s to open the next
  /** @type {number | undefined} */
  let version = birth === undefined ? layout : undefined;
  /** @type {unknown} */
  let versionError;
  for (let attempt = 1; ; attempt++) {
    /** @type {IDBDatabase} */
    let database;
    try {
      database = await open(settings, seen, version, birth);
    } catch (error) {
      // it has a higher version: of a newer layout, or of this one, mended
      const isHigher = error instanceof DOMException && error.name === "VersionError" && attempt < OPENINGS;
      if (!isHigher) throw translateOpening(error);
      versionError = error;
      version = undefined;
      continue;
    }
    const found = await look(database, layout).catch((error) => {
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
 * What a database is like.
 * @param {IDBDatabase} database @param {number} ours the layout that this library writes
 * @returns {Promise<{layout: number, isWhole: boolean, birth: string}>}
 */
async function look(database, ours) {
  const lacking = storesLackingIn(database);
  // without any, it holds nothing of any layout
  if (lacking.length === STORES.length) return { layout: 0, isWhole: false, birth: "" };
  // each deletion takes a version of its own, which says nothing of the layout; a newer layout lacks nothing of this
  // one
  if (lacking.includes("meta")) return { layout: ours, isWhole: false, birth: "" };
  const meta = database.transaction("meta").objectStore("meta");
  const [layout, birth] = await Promise.all([result(meta.get("layout")), result(meta.get("birth"))]);
  return { layout: typeof layout === "number" ? layout : ours, isWhole: lacking.length === 0, birth };
}

/** @param {IDBDatabase} database @throws {import("../model/errors.js").StorageCorruptError} it is another program's */
function storesLackingIn({ objectStoreNames }) {
  const lacking = STORES.filter((store) => !objectStoreNames.contains(store));
  if (lacking.length < STORES.length || objectStoreNames.length === 0) return lacking;
  throw corrupt(
    `The IndexedDB database "${DATABASE_NAME}" of this site is another program's: it has none of the stores of a ` +
      `mailbox. ` +
      "Let that program take another name, or delete its database if it is not needed.",
  );
}

/**
 * @param {ConnectionSettings} settings @param {SeenMailboxes} seen
 * @param {number | undefined} version undefined for the one that it has @param {string | undefined} birth
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
    /** Why the upgrade failed; the request itself only says that it did. @type {unknown} */
    let reason;
    let abandoned = false;
    /** @param {number} milliseconds @param {string} message */
    const giveUpAfter = (milliseconds, message) =>
      setTimeout(() => {
        abandoned = true;
        reject(unavailable(message, undefined, true));
      }, milliseconds);
    let patience = giveUpAfter(
      ANSWER_LIMIT,
      "IndexedDB does not answer. Another tab may be keeping it busy: close or reload the other tabs and try again.",
    );
    request.onupgradeneeded = () => {
      // how long it takes depends on what is there
      clearTimeout(patience);
      const { result: database, transaction } = request;
      if (transaction === null) return;
      transaction.onabort = () => (reason ??= transaction.error);
      upgrade(database, transaction, settings.layout, seen, birth).catch((error) => {
        // a request that is aborted only says that the transaction was
        if (!(error instanceof DOMException) || error.name !== "AbortError") reason ??= error;
        abort(transaction);
      });
    };
    request.onblocked = () => {
      clearTimeout(patience);
      patience = giveUpAfter(
        settings.blockedLimit,
        "Another tab keeps an older version of the mailboxes open. Close or reload it and try again.",
      );
    };
    request.onerror = () => {
      clearTimeout(patience);
      reject(reason ?? request.error);
    };
    request.onsuccess = () => {
      clearTimeout(patience);
      const { result: database } = request;
      database.onversionchange = () => database.close();
      if (abandoned) database.close();
      else resolve(database);
    };
  });
}

/**
 * Brings the database to this layout, with all its stores; within a major version layouts only add.
 * @param {IDBDatabase} database @param {IDBTransaction} transaction @param {number} ours @param {SeenMailboxes} seen
 * @param {string | undefined} birth
 */
async function upgrade(database, transaction, ours, seen, birth) {
  const lacking = storesLackingIn(database);
  const isNew = lacking.length === STORES.length;
  for (const name of lacking) database.createObjectStore(name);
  const told = await result(transaction.objectStore("meta").get("layout"));
  const layout = typeof told === "number" ? told : (layoutBy(lacking, database) ?? ours);
  if (!isNew) await upgradeFrom(layout, database, transaction);
  await mend(transaction, lacking);
  const mailboxes = transaction.objectStore("mailboxes");
  const meta = transaction.objectStore("meta");
  if (lacking.includes("meta")) {
    // a mailbox that is still there is still the same
    const [name] = isNew ? [] : await result(mailboxes.getAllKeys(undefined, 1));
    const before = isNew ? undefined : (birth ?? (typeof name === "string" ? seen.lastIn(name) : undefined));
    meta.put(before ?? randomName(), "birth");
    meta.put(newReserve(), "reserve");
  }
  meta.put(ours, "layout");
}

/**
 * The older layout that a database shows by its stores: the first layout did not say which it is, and neither does one
 * whose `meta` is gone.
 * @param {string[]} lacking @param {IDBDatabase} database @returns {number | undefined}
 */
function layoutBy(lacking, { objectStoreNames }) {
  if (lacking.includes("pages")) return 1;
  if (lacking.includes("journal")) return 2;
  if (objectStoreNames.contains("departed")) return 3;
  return lacking.includes("remembered") ? 4 : undefined;
}

/** Undoes a transaction, unless it is over. @param {IDBTransaction} transaction */
export function abort(transaction) {
  try {
    transaction.abort();
  } catch {
    // it is over already
  }
}
