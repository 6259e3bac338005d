/**
 * The one IndexedDB database of an origin, and this context's connection to it.
 *
 * | store       | key                                  | value                                            |
 * |-------------|--------------------------------------|--------------------------------------------------|
 * | `mailboxes` | name                                 | the mailbox's state, see `state.js`              |
 * |             | [name, context]                      | a revocation, see `tenures.js`; unique `token`   |
 * | `segments`  | [mailbox, priority, last, first]     | messages, packed, see `segments.js`              |
 * | `ids`       | [mailbox, id]                        | [priority, sequence] of messages whose id does   |
 * |             |                                      | not tell where they are; dead letters too        |
 * | `delayed`   | [mailbox, due, priority, sequence]   | true; may outlive its message                    |
 * | `errors`    | [mailbox, priority, sequence]        | what the last nack of a living message said      |
 * | `dead`      | [mailbox, number]                    | a dead letter, numbered in the order of death    |
 * | `departed`  | holder                               | true: what it held is to be given back           |
 * | `meta`      | what                                 | `nextMailbox`: the number of the next mailbox;   |
 * |             |                                      | `birth`: random, drawn with the database;        |
 * |             |                                      | `reserve`: bytes to delete when storage is full  |
 */

import { MailboxError, closed, translate, unavailable } from "./errors.js";
import { randomName } from "./ids.js";

export const DATABASE_NAME = "pymailbox";
export const DATABASE_VERSION = 1;
export const STORES = ["mailboxes", "segments", "ids", "delayed", "errors", "dead", "departed", "meta"];

/**
 * What ordinary transactions are over. A note of departure is the last that a page writes, and is not to wait for them:
 * a transaction that waits is aborted when its page goes.
 */
export const ORDINARY_STORES = STORES.filter((store) => store !== "departed");

/** The stores whose keys begin with a mailbox's number. */
export const STORES_BY_MAILBOX = ["segments", "ids", "delayed", "errors", "dead"];

/** Milliseconds that opening waits for another tab to let an older layout go. */
const BLOCKED_LIMIT = 5000;

/** How often a lost connection is made again before a call fails. */
export const RECONNECTIONS = 3;

/** Milliseconds that opening waits for an answer at all: it queues behind what other tabs do, and some browsers lose it. */
const ANSWER_LIMIT = 20_000;

/**
 * Bytes kept to be deleted when the storage is full, so that claims, acknowledgements and nacks still find room. Chromium
 * keeps a value above 64 KiB in a file of its own, and only such a file makes room the moment that it is deleted; each
 * small write then takes some of it for good until the browser next tidies up, so this has to last for a while.
 */
const RESERVE_BYTES = 1024 * 1024;

/** As many random bytes as one call gives. */
const RANDOM_BYTES = 64 * 1024;

/** What cannot be compressed away. */
export function newReserve() {
  const reserve = new Uint8Array(RESERVE_BYTES);
  for (let at = 0; at < RESERVE_BYTES; at += RANDOM_BYTES) crypto.getRandomValues(reserve.subarray(at, at + RANDOM_BYTES));
  return reserve;
}

/** A request as a promise. Inside a transaction it may be awaited, as long as nothing else is. @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
export function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * Firefox completes a transaction whose request fails once it was asked to commit, with all that did not fail; only a last
 * request that was made outside of another's handler aborts it (Firefox 153). Its engine is known by an error of its own.
 */
const ABORTS_AFTER_COMMIT = !("InternalError" in globalThis);

/** Ends a transaction, to which nothing is added any more, as soon as may be: whole, or not at all. @param {IDBTransaction} transaction */
export function commit(transaction) {
  if (ABORTS_AFTER_COMMIT) transaction.commit();
}

/** Opens once, is opened again when the browser or a newer version closed it, and is closed with its last user. */
export class Connection {
  /** How often the site's data was found to have been cleared since this context first opened the database. */
  wipes = 0;

  /** Called when the browser or a newer version closed the connection. */
  onLost = () => {};

  /** @type {Promise<IDBDatabase> | undefined} */
  #opening;
  /** @type {IDBDatabase | undefined} */
  #opened;
  #openings = 0;
  #users = 0;
  /** @type {string | undefined} */
  #birth;

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
    this.#opening?.then((database) => database.close(), () => {});
    this.#forget();
  }

  /**
   * Begins a transaction.
   * @param {IDBTransactionMode} mode @param {IDBTransactionDurability} durability @param {string[]} [stores]
   * @returns {Promise<{transaction: IDBTransaction, opening: number}>} boxed, so that it is still active when it arrives;
   * `opening` counts how often the database has been opened
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

  /** Lets a connection go that does not work any more; the next call opens another. @param {IDBDatabase} database */
  drop(database) {
    if (this.#opened === database) this.#forget();
    database.close();
  }

  /**
   * Begins a last write while the page is left: at once, or not at all.
   * @param {string} store @returns {IDBTransaction | undefined}
   */
  beginAtOnce(store) {
    try {
      return this.#opened?.transaction([store], "readwrite");
    } catch {
      return undefined;
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
    const database = await open();
    // a newer tab wants to upgrade, and its layout waits for this connection; or the browser closed it
    database.onclose = database.onversionchange = () => {
      this.drop(database);
      this.onLost();
    };
    let birth;
    try {
      birth = await result(database.transaction("meta").objectStore("meta").get("birth"));
    } catch (error) {
      database.close();
      throw error;
    }
    if (this.#birth !== undefined && this.#birth !== birth) this.wipes += 1;
    this.#birth = birth;
    this.#openings += 1;
    this.#opened = database;
    return database;
  }
}

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    if (typeof indexedDB === "undefined") {
      reject(unavailable("There is no IndexedDB here. Mailboxes live in a browser: in its pages, workers and service workers."));
      return;
    }
    /** @type {IDBOpenDBRequest} */
    let request;
    try {
      request = indexedDB.open(DATABASE_NAME, DATABASE_VERSION);
    } catch (error) {
      refused(error).then(reject);
      return;
    }
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
    request.onupgradeneeded = ({ oldVersion }) => {
      if (request.transaction !== null) upgrade(request.result, request.transaction, oldVersion);
    };
    request.onblocked = () => {
      clearTimeout(patience);
      patience = giveUpAfter(
        BLOCKED_LIMIT,
        "Another tab keeps an older version of the mailboxes open. Close or reload it and try again.",
      );
    };
    request.onerror = () => {
      clearTimeout(patience);
      refused(request.error).then(reject);
    };
    request.onsuccess = () => {
      clearTimeout(patience);
      if (abandoned) request.result.close();
      else resolve(request.result);
    };
  });
}

/**
 * Brings the database to this layout; within a major version layouts only add.
 * @param {IDBDatabase} database @param {IDBTransaction} transaction @param {number} oldVersion 0 if it is new
 */
function upgrade(database, transaction, oldVersion) {
  for (const store of STORES) {
    if (!database.objectStoreNames.contains(store)) database.createObjectStore(store);
  }
  if (oldVersion > 0) return;
  transaction.objectStore("mailboxes").createIndex("token", "token", { unique: true });
  const meta = transaction.objectStore("meta");
  meta.put(randomName(), "birth");
  meta.put(newReserve(), "reserve");
}

/** @param {unknown} error why the database would not open */
async function refused(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "VersionError") {
    return unavailable(
      `The mailboxes here are in layout ${await storedVersion()}, written by a newer pymailbox; ` +
        `this one reads layout ${DATABASE_VERSION}. Reload to get the newer one.`,
      error,
    );
  }
  if (name === "QuotaExceededError") return translate(error);
  const told = error instanceof Error || error instanceof DOMException ? error.message : String(error);
  return unavailable(
    `IndexedDB would not open (${name || "no reason given"}: ${told}). Private browsing and blocked cookies do that.`,
    error instanceof MailboxError ? error.cause : error,
  );
}

/** The version of the database that is there. */
async function storedVersion() {
  try {
    const databases = await indexedDB.databases();
    return databases.find(({ name }) => name === DATABASE_NAME)?.version ?? "unknown";
  } catch {
    return "unknown";
  }
}
