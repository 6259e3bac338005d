/**
 * The values that callers of the JavaScript API pass and get. Times are `Date`s, spans milliseconds, ids canonical
 * UUIDs.
 */

import type { Mailbox } from "./mailbox.js";

/** How urgent a message is. Every "high" message is handed out before any "normal" one. */
export type MessagePriority = "normal" | "high";

/**
 * Where a message stands: "queued" waits to be handed out, now or after its delay; "inflight" was handed out and
 * neither acknowledged nor given back.
 */
export type MessageStatus = "queued" | "inflight";

/** "strict" waits until what is stored has reached the disk; with "relaxed" a power cut may lose the last commits. */
export type Durability = "strict" | "relaxed";

/**
 * Bytes that are handed out, with a buffer of their own: a `Uint8Array<ArrayBuffer>`, as TypeScript has called it since
 * 5.7.
 */
export type OwnBytes = ReturnType<Uint8Array["slice"]>;

/**
 * What is accepted as bytes, unless its memory is shared with other threads. The bytes are copied at the call; the
 * buffer may be reused at once.
 */
export type Bytes = ArrayBuffer | Uint8Array | Uint8ClampedArray | Int8Array | DataView;

/** What a handle is opened with. Two handles on one mailbox may differ. */
export interface MailboxOptions {
  /**
   * Messages that `dequeue`, `peek` and `deadLetters` give without a `limit`, and that `messages()` claims at a time;
   * 32.
   */
  batchSize?: number | undefined;
  /**
   * Failed deliveries after which a message becomes a dead letter: at most 2 ** 53 - 1, or `Infinity`, the default, for
   * never.
   */
  maxDeliveries?: number | undefined;
  /**
   * Milliseconds without a sign of life after which this handle counts as gone, where there are no Web Locks to tell (a
   * page that is neither https nor localhost); 300,000, and at most 100 years. Elsewhere it has no effect.
   */
  lease?: number | undefined;
  /** For commits that store messages; "strict" by default. A claim, an ack or a nack may always be relaxed. */
  durability?: Durability | undefined;
}

/** How one message is enqueued. */
export interface EnqueueOptions {
  /** "normal" if it is not given. */
  priority?: MessagePriority | undefined;
  /**
   * The message's id, a UUID. While a message with this id is in the mailbox (queued, inflight or a dead letter),
   * nothing is stored again, so an enqueue whose answer was lost can be repeated.
   */
  messageId?: string | undefined;
  /** Milliseconds before which it is not handed out; at most 100 years. */
  delay?: number | undefined;
  /** Texts by name that travel with the message: at most 64, and 8 KiB of UTF-8 in all. */
  headers?: HeadersGiven | undefined;
  /**
   * Milliseconds for which `messageId` stays known from now on, whatever becomes of the message: until then an enqueue
   * with that id stores nothing, and does not extend the time either. At most 100 years; needs a `messageId`.
   */
  dedupeFor?: number | undefined;
}

/** Headers as they may be given: an object, a `Map`, or another iterable of pairs; the last of a name counts. */
export type HeadersGiven = Readonly<Record<string, string>> | Iterable<readonly [name: string, text: string]>;

/** How a value is enqueued as JSON. */
export interface EnqueueJsonOptions extends EnqueueOptions {
  /** Who sends it; no bytes if it is not given. */
  sender?: Bytes | undefined;
}

/** A message to be enqueued. */
export interface NewMessage extends EnqueueOptions {
  /** Who sends it, in the caller's own encoding; the mailbox never looks inside. */
  sender: Bytes;
  /** What it says. With the sender and the headers it holds at most 64 MiB. */
  payload: Bytes;
}

/** How a batch is taken. */
export interface DequeueOptions {
  /** The largest number of messages; by default the handle's `batchSize`. */
  limit?: number | undefined;
  /**
   * Milliseconds to wait for the first message: at most 100 years, or `Infinity` for ever; by default 0, not at all.
   */
  wait?: number | undefined;
  /** Cancels the call, which then rejects with the signal's reason and hands nothing out. */
  signal?: AbortSignal | undefined;
  /** Ids of messages that are acknowledged first, in the same transaction, even if there is nothing to hand out. */
  ack?: Iterable<string> | undefined;
}

/** Which messages are shown. */
export interface PeekOptions {
  /** The largest number of messages; by default the handle's `batchSize`. Fewer are shown if they hold over 256 MiB. */
  limit?: number | undefined;
  /** Only messages with this status. */
  status?: MessageStatus | undefined;
  /** How many of the first messages to skip; by default 0. What is skipped is not read. */
  offset?: number | undefined;
}

/** Which dead letters are shown. */
export interface DeadLettersOptions {
  /** The largest number of dead letters; by default the handle's `batchSize`. Fewer if they hold over 256 MiB. */
  limit?: number | undefined;
  /** How many of the newest to skip; by default 0. */
  offset?: number | undefined;
}

/** How a message is given back. */
export interface NackOptions {
  /** Milliseconds before which the message is not handed out again; at most 100 years. */
  delay?: number | undefined;
  /** What went wrong: a text, or an error, which is kept as its text and stack. A dead letter shows the last one. */
  error?: string | Error | undefined;
  /**
   * Whether that was a failed delivery, as by default. If not ("not now"), the hand-out is taken back instead:
   * `deliveryCount` falls by one.
   */
  failed?: boolean | undefined;
}

/** A message as a mailbox hands it out or shows it. */
export interface MessageRecord {
  /** A canonical UUID. */
  readonly id: string;
  /** Who sent it, in the sender's own encoding. */
  readonly sender: OwnBytes;
  /** What it says. */
  readonly payload: OwnBytes;
  /** As it was enqueued. */
  readonly priority: MessagePriority;
  /** When it was enqueued. For people to read; order never depends on it. */
  readonly createdAt: Date;
  /** "inflight" in what `dequeue` gives. */
  readonly status: MessageStatus;
  /** How often it has been handed out, this time included; 0 if never. */
  readonly deliveryCount: number;
  /** What its sender gave besides the payload: texts by name, in an object without a prototype. */
  readonly headers: Readonly<Record<string, string>>;
  /** When its delay ends; there only while that runs. */
  readonly dueAt?: Date;
  /**
   * The payload as a value, if it is JSON in UTF-8. A copy of a record, by `structuredClone` or `postMessage`, lacks
   * this method.
   * @throws {SyntaxError} it is not
   */
  // biome-ignore lint/suspicious/noExplicitAny: as the `json()` of a `Response`
  json(): any;
}

/** A message that was given up: it failed too often, was rejected, or could not be read. */
export interface DeadLetter {
  /** As it was handed out last. */
  readonly record: MessageRecord;
  /** Why it was given up. */
  readonly reason: string;
  /** What the last nack said; null if it said nothing. */
  readonly error: string | null;
  /** When it was given up. */
  readonly diedAt: Date;
}

/** How full a mailbox is, all at one moment and counted over all tabs. */
export interface MailboxStats {
  /** Messages that are waiting, delayed ones included. */
  readonly queuedMessages: number;
  /** Messages handed out and not yet acknowledged, by any handle. */
  readonly inflightMessages: number;
  /** The queued messages of each priority, zeros included. */
  readonly queuedByPriority: Readonly<Record<MessagePriority, number>>;
  /** Messages that were given up, and neither redriven nor discarded. */
  readonly deadLetters: number;
  /** Those of the queued messages whose delay still runs. */
  readonly delayedMessages: number;
  /** `createdAt` of the queued message that was committed first; null if none is queued. */
  readonly oldestQueuedAt: Date | null;
  /**
   * Messages that have come into the queue since the mailbox was created: enqueued, sent, or redriven. It only grows,
   * so two looks show how many came and went between them.
   */
  readonly everQueued: number;
}

/** How safe the storage is, and how full; null where the browser does not say. */
export interface StorageReport {
  /** What the handle was opened with. */
  readonly durability: Durability;
  /** Whether the origin's storage is kept when space gets scarce. */
  readonly persistent: boolean | null;
  /** Bytes in use by the whole origin. */
  readonly usage: number | null;
  /** Bytes that may be in use. */
  readonly quota: number | null;
  /** Whether the site's data was cleared under this handle. */
  readonly wiped: boolean;
}

/** The content of a file, as a whole or in pieces of any size. */
export type ImportSource =
  | Blob
  | Response
  | ReadableStream<Uint8Array | string>
  | Bytes
  | string
  | Iterable<Bytes | string>
  | AsyncIterable<Bytes | string>;

/** How a file is imported. */
export interface ImportOptions {
  /** Called with each refused line as it is met. */
  onRefused?: ((refused: RefusedLine) => void) | undefined;
  /** Cancels the import, which then rejects with the signal's reason; what was stored before stays. */
  signal?: AbortSignal | undefined;
}

/** A line of an import that was not stored. */
export interface RefusedLine {
  /** Its number; the first is 1. */
  readonly line: number;
  /** What is wrong with it. */
  readonly reason: string;
}

/** What an import did. */
export interface ImportReport {
  /** Messages, dead letters included. */
  readonly stored: number;
  /** Messages whose id was already in the mailbox; they were not stored. */
  readonly alreadyThere: number;
  /** Lines that were not stored, in their order. */
  readonly refused: readonly RefusedLine[];
  /** Whether the file has its end line, and as many messages before it as that says. */
  readonly complete: boolean;
}

/** A mailbox to send to, and what to enqueue there. */
export type Send = readonly [mailbox: Mailbox, message: NewMessage];

/**
 * What `consume` calls with each message. It may be asynchronous or not; its result is ignored. What it throws decides
 * what becomes of the message, as `Reject` and `Retry` do.
 */
export type Handler = (message: MessageRecord, context: Context) => unknown;

/** When a message is tried again whose handler failed, and when it is given up. */
export interface RetryPolicy {
  /** Milliseconds after the first delivery; 1,000. */
  firstDelay?: number | undefined;
  /** How much longer the pause is after each further delivery; 2, at least 1. */
  factor?: number | undefined;
  /** Milliseconds; 300,000. */
  longestDelay?: number | undefined;
  /** How much of the pause is random: 0 for none of it, 1 for all of it. It only ever shortens the pause; 0.5. */
  jitter?: number | undefined;
  /**
   * After this many deliveries, by `deliveryCount`, a message that fails becomes a dead letter; `Infinity`, the
   * default, leaves it to the `maxDeliveries` with which the mailbox was opened.
   */
  maxDeliveries?: number | undefined;
  /** A source of numbers from 0 to 1, `Math.random`; another one makes the pauses repeatable. */
  random?: (() => number) | undefined;
}

/** How a mailbox is consumed. */
export interface ConsumeOptions {
  /** How many handlers may run at the same time; 1. */
  concurrency?: number | undefined;
  /**
   * Whether messages with the same sender are handled one after the other, in their order; false. If one fails, the
   * later ones wait until it is handled or given up. Other consumers of the same mailbox keep an order of their own.
   */
  orderedBySender?: boolean | undefined;
  /** Pauses and limits. */
  retry?: RetryPolicy | undefined;
  /**
   * Milliseconds that a handler may take; by default any time. Then its `context.signal` is aborted with a
   * `TimeoutError`, and that is a failed delivery, however the handler ends, unless it settles its message or throws
   * `Reject` or `Retry`. A handler that has not ended 100 ms later is left behind: another one may then begin with the
   * same message. A synchronous one cannot be interrupted: it has no limit.
   */
  timeout?: number | undefined;
  /** Stops the consumer when it aborts, as `stop()` does. */
  signal?: AbortSignal | undefined;
}

/** A running `consume`. */
export interface Consumer {
  /**
   * Resolves when it has ended: it was stopped, or its mailbox was closed. Rejects with the error of the
   * mailbox that ended it.
   */
  readonly finished: Promise<void>;
  /** Whether a stop has been asked for, or has come about. */
  readonly stopping: boolean;
  /**
   * Asks for a clean stop: running handlers finish and their messages are settled, and what else was claimed goes back
   * to the queue as if never handed out. Gives `finished`. Stopping twice is fine.
   */
  stop(): Promise<void>;
}

/** How a question is asked. */
export interface AskOptions extends ReplyOptions {
  /** Milliseconds to wait for the answer, storing the question included; `Infinity` for ever. */
  timeout: number;
  /** Ends the wait when it aborts, with the signal's reason; the question stays. */
  signal?: AbortSignal | undefined;
}

/** How a handler answers. */
export interface ReplyOptions {
  /** Who sends it; no bytes if it is not given. */
  sender?: Bytes | undefined;
  /** "normal" if it is not given. */
  priority?: MessagePriority | undefined;
  /** More headers of the message. */
  headers?: HeadersGiven | undefined;
  /** The message's id, a UUID. */
  messageId?: string | undefined;
}

/** What a handler has besides its message: one delivery of it. */
export interface Context {
  /** What is to be handled. */
  readonly message: MessageRecord;
  /** Where it came from. */
  readonly mailbox: Mailbox;
  /** Aborted when the handler's time is over (`timeout`). Pass it to whatever the handler waits for. */
  readonly signal: AbortSignal;
  /** Whether the consumer has been asked to stop: a long handler should then come to an end. */
  readonly stopping: boolean;
  /**
   * Sends a message once the handler has ended well, in one transaction with the acknowledgement of its own: both,
   * exactly once, or neither. A handler that throws has sent nothing. The bytes are copied now. A closed mailbox is
   * noticed only when the handler has ended, and is a failed delivery.
   */
  send(mailbox: Mailbox, message: NewMessage): void;
  /**
   * Answers a message that was sent with `ask`, in the transaction that acknowledges it; as `send` in all else. The
   * answer goes to the mailbox that the message's header `reply-to` names, with its `correlation-id`. If there is no
   * such mailbox any more (the asker has closed its handle) it is dropped, and the console says so. Of several answers
   * to one question, the asker gets the first. A message without `reply-to` is a `RangeError`.
   */
  reply(payload: Bytes, options?: ReplyOptions): void;
  /** Asks the consumer to stop once the handlers that run now have ended. */
  stop(): void;
}

/** When a producer has to pause. */
export interface BackpressureOptions {
  /** Number of queued messages from which producers should wait. */
  pauseAt: number;
  /** Number of queued messages at which they may go on; half of `pauseAt` if not given. */
  resumeAt?: number | undefined;
  /** Milliseconds between two looks at the mailbox while it is too full; 100. */
  interval?: number | undefined;
  /** Called with `paused` when it has changed, for example to tell a peer; must be quick. */
  onChange?: ((paused: boolean) => void) | undefined;
}
