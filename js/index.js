/**
 * pymailbox for JavaScript: durable mailboxes in IndexedDB, the same ones that Python opens.
 *
 * Python's own engine is in here, too. Python imports this module by itself where it may evaluate code. Under a stricter
 * policy, or so that both share one connection, the page or the worker hands it over:
 * `pyodide.registerJsModule("pymailbox_js", await import(".../pymailbox/js/index.js"))`.
 */

import "./coordination/page-lifecycle.js";

export { Mailbox, MessagePriority, MessageStatus, deleteMailbox, listMailboxes, openMailbox } from "./api.js";
export {
  ConnectionLostError,
  MailboxClosedError,
  MailboxError,
  StorageCorruptError,
  StorageFullError,
  StorageUnavailableError,
  UnsupportedError,
} from "./errors.js";

/** For Python only. @internal */
export { Dispatcher } from "./completions.js";
/** For Python only. @internal */
export { MailboxHandle } from "./mailbox.js";

/** @typedef {import("./values.js").Bytes} Bytes */
/** @typedef {import("./values.js").DeadLetter} DeadLetter */
/** @typedef {import("./values.js").DequeueOptions} DequeueOptions */
/** @typedef {import("./values.js").Durability} Durability */
/** @typedef {import("./values.js").EnqueueOptions} EnqueueOptions */
/** @typedef {import("./values.js").MailboxOptions} MailboxOptions */
/** @typedef {import("./values.js").MailboxStats} MailboxStats */
/** @typedef {import("./values.js").MessageRecord} MessageRecord */
/** @typedef {import("./values.js").NackOptions} NackOptions */
/** @typedef {import("./values.js").NewMessage} NewMessage */
/** @typedef {import("./values.js").PeekOptions} PeekOptions */
/** @typedef {import("./values.js").Send} Send */
/** @typedef {import("./values.js").StorageReport} StorageReport */
