/**
 * Errors: one root, and one class for each way in which a caller can react; Python has classes with the same names.
 *
 * `name` is written out in each, since a minifier may rename a class.
 */

/** The mailbox could not do what was asked. Its `cause` is the platform's own error, if there is one. */
export class MailboxError extends Error {
  /** @override */
  name = "MailboxError";

  /** @protected */
  static passes = false;

  /**
   * Whether the obstacle may be gone a moment later, so that the same call is worth another try: a lost connection,
   * full storage, another tab that keeps an old version open. The class decides, unless the error itself does.
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

/**
 * This cannot be done here, such as asking for persistent storage in a worker, or storing a value that is too large for
 * the browser: do it elsewhere, or store less at once.
 */
export class UnsupportedError extends MailboxError {
  /** @override */
  name = "UnsupportedError";
}

/**
 * There is no storage for messages here, it does not open now, or something needed cannot be read at present: the
 * message says why and what to do.
 */
export class StorageUnavailableError extends MailboxError {
  /** @override */
  name = "StorageUnavailableError";
}

/** The storage is full and nothing was stored: free some. Claims, acknowledgements and nacks still work. */
export class StorageFullError extends MailboxError {
  /** @override */
  name = "StorageFullError";

  /** @override @protected */
  static passes = true;
}

/** The storage cannot be read as a mailbox: something else wrote into it. The message says what is wrong with it. */
export class StorageCorruptError extends MailboxError {
  /** @override */
  name = "StorageCorruptError";
}

/** The connection to the storage was lost and could not be restored: try again. */
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

/**
 * What each DOMException that ends a transaction means for a caller.
 * @type {Record<string, [typeof MailboxError, string]>}
 */
const MEANING_OF = {
  QuotaExceededError: [
    StorageFullError,
    "This site's storage is full and nothing was stored. Free some space, or acknowledge messages, and try again.",
  ],
  InvalidStateError: [
    ConnectionLostError,
    "The connection to IndexedDB was lost and could not be restored. Try again; if that does not help, reload the " +
      "page.",
  ],
  NotFoundError: [
    StorageCorruptError,
    "The IndexedDB database here lacks what a mailbox needs; something else made or changed it.",
  ],
  NotReadableError: [
    ConnectionLostError,
    "The browser cannot read a file of this site's IndexedDB. Another program may be using it: try again.",
  ],
  DataError: [StorageCorruptError, "IndexedDB holds something that is not a mailbox."],
  TransactionInactiveError: [
    ConnectionLostError,
    "The browser ended a transaction before it was complete: a dialog of the page, or a synchronous request, can be " +
      "why. Try again.",
  ],
  AbortError: [ConnectionLostError, "The browser ended a transaction, and could not repeat it. Try again."],
  SecurityError: [
    StorageUnavailableError,
    "This page may not store anything. Blocked cookies, private browsing, or a frame that is sandboxed or from " +
      "another site can be why: let this site store data, or open the page outside the frame.",
  ],
  UnknownError: [
    ConnectionLostError,
    "IndexedDB failed again and again, and the browser does not say why. Try again; if that does not help, check " +
      "that the disk has room, and restart the browser.",
  ],
};

/** What Chromium says, in an UnknownError, if the user does not let the site store data. */
const DENIED = "denied permission";

/** What the refusal of a value means. */
const TOO_LARGE = /** @type {const} */ ([
  UnsupportedError,
  "This browser cannot store such a large value, and nothing was changed: a message that you hold is still held. " +
    "Send several smaller messages, or give a shorter text.",
]);

/** For readers who might think that everything is lost. */
const SAFE = "What is stored is kept";

/**
 * What each DOMException means that keeps the database from opening.
 * @type {Record<string, [typeof MailboxError, string]>}
 */
const MEANING_AT_OPENING_OF = {
  SecurityError: MEANING_OF.SecurityError,
  QuotaExceededError: [
    StorageFullError,
    `There is no room to open the mailboxes. ${SAFE}: free some space on the disk or of this site, and open it again.`,
  ],
  UnknownError: [
    StorageUnavailableError,
    "The browser cannot open the files of this site's IndexedDB, and does not say why: the disk may be full or " +
      `failing, the files may be damaged, or another program may be using them. ${SAFE} until somebody deletes it. ` +
      "Check that the disk has room, restart the browser and open it again. If it never opens, clearing this site's " +
      "data helps, but loses all messages here.",
  ],
  InvalidStateError: [
    StorageUnavailableError,
    "The browser does not allow IndexedDB to be opened now: the page may be closing, or the browser's profile may be " +
      `read-only, damaged, or from a newer browser. ${SAFE}: reload the page; if that does not help, restart or ` +
      "update the browser.",
  ],
  AbortError: [
    StorageUnavailableError,
    `The browser gave up opening the mailboxes. ${SAFE}: open it again; if that does not help, check that the disk ` +
      "has room, and close or reload the other tabs of this site.",
  ],
};

/** The mailbox's error for a platform error. @param {unknown} error @returns {MailboxError} */
export function translate(error) {
  const isTooLarge = named(error).name === "UnknownError" && named(error).message.includes("too large");
  return told(error, isTooLarge ? TOO_LARGE : MEANING_OF[named(error).name], [
    MailboxError,
    "IndexedDB could not do what was asked.",
  ]);
}

/**
 * The mailbox's error for a platform error that kept the database from opening.
 * @param {unknown} error @returns {MailboxError}
 */
export const translateOpening = (error) =>
  told(error, MEANING_AT_OPENING_OF[named(error).message.includes(DENIED) ? "SecurityError" : named(error).name], [
    StorageUnavailableError,
    `IndexedDB would not open, for an unknown reason. ${SAFE}: reload the page; if that does not help, restart the ` +
      "browser.",
  ]);

/**
 * @param {unknown} error @param {readonly [typeof MailboxError, string] | undefined} meaning
 * @param {readonly [typeof MailboxError, string]} otherwise its meaning, if there is none
 */
function told(error, meaning, otherwise) {
  if (error instanceof MailboxError) return error;
  const { name, message } = named(error);
  const [Kind, text] = meaning ?? otherwise;
  return new Kind(`${text} (${name || "no reason given"}: ${message})`, { cause: error });
}

/** @param {unknown} error @returns {{name: string, message: string}} */
const named = (error) =>
  error instanceof Error || error instanceof DOMException ? error : { name: "", message: String(error) };

/**
 * Calls a function that may throw; an error is written to the console, and the caller continues.
 * @param {() => void} call
 */
export function attempt(call) {
  try {
    call();
  } catch (error) {
    console.error(error);
  }
}
