/** The shapes that cross the engine's module borders. */

import type { WriteTransaction } from "./write-transaction.js";

/** How safe what a transaction stores is when it is complete. */
export type Durability = Exclude<IDBTransactionDurability, "default">;

/** What a handle was opened with. */
export interface Options {
  /** Of what stores; the rest may be relaxed. */
  durability: Durability;
  /** Failed deliveries after which a message becomes a dead letter; 0 for never. */
  maxDeliveries: number;
  /** Milliseconds without a sign of life after which a holder counts as gone, where there are no Web Locks. */
  lease: number;
}

/**
 * Some neighbouring messages of a section: a batch; JSON, of each `[due, failures, suspect, error]`, of a dead letter
 * with `reason, diedAt` after them, and null for what there is not; the number that the next page begins with; and the
 * end.
 */
export type Page = [batch: Uint8Array, details: string, from: number, until: number];

/** What a mailbox has, at one moment. */
export interface Counts {
  /** By priority, delayed ones included. */
  queued: number[];
  inflight: number;
  deadLetters: number;
  /** Queued messages whose delay still runs. */
  delayed: number;
  /** When the next of these is due, milliseconds since 1970; undefined if there is none. */
  nextDue: number | undefined;
  /** When the first of the queued messages was made, milliseconds since 1970; undefined if none is queued. */
  oldest: number | undefined;
  /** Messages that ever came into the queue. */
  everQueued: number;
}

/** A mailbox as a whole; see the handle's methods of these names. */
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
  /** Whether it stores messages; what does not may use the reserve when the storage is full. */
  stores: boolean;
  /** Whether it reads or writes unload notes; may change until it runs. */
  needsNotes(): boolean;
  run(tx: WriteTransaction): Promise<Result>;
  /** The mailbox that `atHand` is about. */
  mailbox?: string;
  /** Whether `atHand` may do it. */
  mayBeAtHand?: boolean;
  /**
   * As `run`, where all that it needs is at hand and it changes something; undefined if not, and then nothing is done.
   */
  atHand?(tx: WriteTransaction): Result | undefined;
  /** Called when it is committed, before anybody else goes on. */
  onCommit?(result: Result): void;
  /** Called where it fails and nothing tells whether it was committed. */
  onDoubt?(result: Result): void;
  /** Called when it is committed or has failed, just before its promise is settled. */
  onSettled?(): void;
}
