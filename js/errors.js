/**
 * Errors: one root, and one class for each thing that a caller can do next; the Python side has classes of the same names.
 *
 * `name` is written out in each, since a minifier may rename a class.
 */

/** The mailbox could not do what was asked. Its `cause` is the platform's own error, where there is one. */
export class MailboxError extends Error {
  /** @override */
  name = "MailboxError";

  /** @protected */
  static passes = false;

  /**
   * Whether what was in the way may be gone a moment later, so that the same call is worth another try: a lost connection, a
   * full storage, another tab that keeps an old version open. The class decides unless the error says.
   * @readonly @type {boolean}
   */
  passing;

  /** @param {string} [message] @param {ErrorOptions & {passing?: boolean}} [options] */
  constructor(message, { passing, ...options } = {}) {
    super(message, options);
    this.passing = passing ?? new.target.passes;
  }
}

/** The mailbox is closed; open it again. */
export class MailboxClosedError extends MailboxError {
  /** @override */
  name = "MailboxClosedError";
}

/** This place cannot do that, such as asking for persistent storage in a worker. */
export class UnsupportedError extends MailboxError {
  /** @override */
  name = "UnsupportedError";
}

/** There is no storage here to keep messages in: private browsing, blocked cookies, a database of a newer version. */
export class StorageUnavailableError extends MailboxError {
  /** @override */
  name = "StorageUnavailableError";
}

/** The storage is full and nothing was stored; claims, acknowledgements and nacks still work. */
export class StorageFullError extends MailboxError {
  /** @override */
  name = "StorageFullError";

  /** @override @protected */
  static passes = true;
}

/** The storage cannot be read as a mailbox. */
export class StorageCorruptError extends MailboxError {
  /** @override */
  name = "StorageCorruptError";
}

/** The connection to the storage was lost and could not be made again. */
export class ConnectionLostError extends MailboxError {
  /** @override */
  name = "ConnectionLostError";

  /** @override @protected */
  static passes = true;
}

/** @param {string} message @param {unknown} [cause] @param {boolean} [passing] */
export const unavailable = (message, cause, passing) => new StorageUnavailableError(message, { cause, passing });

/** @param {string} message @param {unknown} [cause] */
export const corrupt = (message, cause) => new StorageCorruptError(message, { cause });

export const closed = () => new MailboxClosedError("This mailbox is closed. Open it again.");

/** What each DOMException that a transaction ends in means to a caller. @type {Record<string, [typeof MailboxError, string]>} */
const MEANING_OF = {
  QuotaExceededError: [
    StorageFullError,
    "This site's storage is full and nothing was stored. Free some space, or acknowledge messages, and try again.",
  ],
  InvalidStateError: [ConnectionLostError, "The connection to IndexedDB was lost and could not be made again."],
  NotFoundError: [StorageCorruptError, "The IndexedDB database here lacks what a mailbox needs; something else made or changed it."],
  NotReadableError: [ConnectionLostError, "The browser cannot read a file of this site's IndexedDB."],
  DataError: [StorageCorruptError, "IndexedDB holds something that is no mailbox."],
  AbortError: [ConnectionLostError, "The browser ended a transaction, and could not do it again."],
  SecurityError: [StorageUnavailableError, "This page may not store anything. Private browsing, blocked cookies and sandboxed frames do that."],
  UnknownError: [ConnectionLostError, "IndexedDB failed for a reason that the browser does not tell, again and again."],
};

/** The mailbox's error for one of the platform's. @param {unknown} error */
export function translate(error) {
  if (error instanceof MailboxError) return error;
  const { name, message } = error instanceof Error || error instanceof DOMException ? error : { name: "", message: String(error) };
  const [Kind, meaning] = MEANING_OF[name] ?? [MailboxError, "IndexedDB could not do what was asked."];
  return new Kind(`${meaning} (${name || "no reason given"}: ${message})`, { cause: error });
}
