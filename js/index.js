/**
 * pymailbox for JavaScript: durable mailboxes in IndexedDB, the same ones that Python opens.
 *
 * The engine that Python uses is included. Python imports this module by itself where it may evaluate code. Under a
 * stricter policy, or to share one connection with Python, the page or worker hands it over:
 * `pyodide.registerJsModule("pymailbox_js", await import(".../pymailbox/js/index.js"))`.
 */

export {
  Mailbox,
  MessagePriority,
  MessageStatus,
  deleteMailbox,
  jsonMessage,
  listMailboxes,
  openMailbox,
} from "./api/mailbox.js";
export { ask } from "./api/actors/ask.js";
export { Backpressure } from "./api/actors/backpressure.js";
export { Reject, Retry } from "./api/actors/retry.js";
export { exportMailbox, importMailbox } from "./api/transfer.js";
export {
  ConnectionLostError,
  MailboxClosedError,
  MailboxError,
  StorageCorruptError,
  StorageFullError,
  StorageUnavailableError,
  UnsupportedError,
} from "./model/errors.js";

/** For Python only. @internal */
export * as python from "./python.js";

/** @typedef {import("./api/values.js").AskOptions} AskOptions */
/** @typedef {import("./api/values.js").BackpressureOptions} BackpressureOptions */
/** @typedef {import("./api/values.js").Bytes} Bytes */
/** @typedef {import("./api/values.js").ConsumeOptions} ConsumeOptions */
/** @typedef {import("./api/values.js").Consumer} Consumer */
/** @typedef {import("./api/values.js").Context} Context */
/** @typedef {import("./api/values.js").DeadLetter} DeadLetter */
/** @typedef {import("./api/values.js").DeadLettersOptions} DeadLettersOptions */
/** @typedef {import("./api/values.js").DequeueOptions} DequeueOptions */
/** @typedef {import("./api/values.js").Durability} Durability */
/** @typedef {import("./api/values.js").EnqueueJsonOptions} EnqueueJsonOptions */
/** @typedef {import("./api/values.js").EnqueueOptions} EnqueueOptions */
/** @typedef {import("./api/values.js").Handler} Handler */
/** @typedef {import("./api/values.js").HeadersGiven} HeadersGiven */
/** @typedef {import("./api/values.js").ImportOptions} ImportOptions */
/** @typedef {import("./api/values.js").ImportReport} ImportReport */
/** @typedef {import("./api/values.js").ImportSource} ImportSource */
/** @typedef {import("./api/values.js").MailboxOptions} MailboxOptions */
/** @typedef {import("./api/values.js").MailboxStats} MailboxStats */
/** @typedef {import("./api/values.js").MessageRecord} MessageRecord */
/** @typedef {import("./api/values.js").NackOptions} NackOptions */
/** @typedef {import("./api/values.js").NewMessage} NewMessage */
/** @typedef {import("./api/values.js").PeekOptions} PeekOptions */
/** @typedef {import("./api/values.js").ReplyOptions} ReplyOptions */
/** @typedef {import("./api/values.js").RetryPolicy} RetryPolicy */
/** @typedef {import("./api/values.js").RefusedLine} RefusedLine */
/** @typedef {import("./api/values.js").Send} Send */
/** @typedef {import("./api/values.js").StorageReport} StorageReport */
