/** The shapes that cross the engine's module borders. */

import type { WriteTransaction } from "./write-transaction.js";

/** How safe stored data is when its transaction is complete. */
export type Durability = Exclude<IDBTransactionDurability, "default">;

/** The options that a handle was opened with. */
export interface Options {
  /** Of operations that store messages; the others may be relaxed. */
  durability: Durability;
  /** Failed deliveries after which a message becomes a dead letter; 0 for never. */
  maxDeliveries: number;
  /** Milliseconds without a sign of life after which a holder counts as gone, where there are no Web Locks. */
  lease: number;
}

/**
 * Some neighbouring messages of a section: a batch; JSON, `[due, failures, suspect, error]` of each, followed by
 * `reason, diedAt` for a dead letter, null for what does not exist; the number that the next page begins with; and the
 * end.
 */
export type Page = [batch: Uint8Array, details: string, from: number, until: number];

/** The counts of a mailbox at one moment. */
export interface Counts {
  /** By priority, delayed ones included. */
  queued: number[];
  inflight: number;
  deadLetters: number;
  /** Queued messages whose delay is still running. */
  delayed: number;
  /** When the next of these is due, milliseconds since 1970; undefined if there are none. */
  nextDue: number | undefined;
  /** When the oldest queued message was made, milliseconds since 1970; undefined if none is queued. */
  oldest: number | undefined;
  /** Messages that were ever queued. */
  everQueued: number;
}

/** For export and import; see the handle's methods of these names. */
export interface Archive {
  readSection(section: number, from: number, until: number | undefined): Promise<Page>;
  readRemembered(after: Uint8Array | undefined): Promise<Uint8Array>;
  /** A 1 for each that was stored. */
  adopt(frames: Uint8Array, details: string): Promise<Uint8Array>;
  remember(known: Uint8Array): Promise<void>;
}

/** One verb's work in a transaction that it may share with others. */
export interface Operation<Result> {
  durability: Durability;
  /** Whether it stores messages; an operation that does not may use the reserve when the disk is full. */
  stores: boolean;
  /** How often room is made for one that does not, if it is not to be as often as usual. */
  tidyings?: number | undefined;
  /** Whether it reads or writes unload notes; may change before it runs. */
  needsNotes(): boolean;
  run(tx: WriteTransaction): Promise<Result>;
  /** The mailbox that `atHand` concerns. */
  mailbox?: string;
  /** Whether `atHand` may be used. */
  mayBeAtHand?: boolean;
  /** As `run`, if everything it needs is at hand and it changes something; otherwise undefined, with nothing done. */
  atHand?(tx: WriteTransaction): Result | undefined;
  /** Called when it is committed, before anybody else goes on. */
  onCommit?(result: Result): void;
  /** Called if it fails and nobody can tell whether it was committed. */
  onDoubt?(result: Result): void;
  /** Called when it has been committed or has failed, just before its promise is settled. */
  onSettled?(): void;
}
