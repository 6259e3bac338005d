/** The shapes of the model and of the database's records. */

/** Where a message is: its lane and its number there. The lane `DEAD` (see `rows.js`) holds the dead letters. */
export interface Place {
  priority: number;
  sequence: number;
}

/** Neighbouring messages of one lane that share a delivery state; `to` is exclusive. */
export interface LaneRun {
  priority: number;
  from: number;
  to: number;
  delivery: number;
  /** While they are delayed, when they are due: milliseconds since 1970. */
  due?: number;
}

/** One message in a buffer; see `frames.js`. */
export interface Frame {
  offset: number;
  end: number;
  priority: number;
  /** Whether it has a custom id. */
  hasCustomId: boolean;
  /** Milliseconds since 1970 before which it must not be handed out; 0 for at once. */
  due: number;
  /** Milliseconds since 1970 until which enqueueing it makes its id known; 0 for not at all. */
  until: number;
  headersBytes: number;
  payloadBytes: number;
}

/** One message of a batch. */
export interface Entry {
  bytes: Uint8Array;
  /** In `bytes`. */
  frame: Frame;
  writeIdTo: (view: DataView, offset: number) => void;
  deliveryCount: number;
  status: number;
  /** If it is `DELAYED`: milliseconds since 1970. */
  due?: number;
}

/** A message to be packed into a frame. */
export interface Packable {
  priority: number;
  /** Its custom id, if it has one. */
  id: Uint8Array | undefined;
  /** Milliseconds since 1970 before which it must not be handed out; 0 for at once. */
  due: number;
  /** Milliseconds since 1970 until which its id stays known; 0 for not at all. */
  until: number;
  /** As they are stored; see `headers.js`. */
  headers: Uint8Array;
  sender: Uint8Array;
  payload: Uint8Array;
  /** Milliseconds since 1970, if not the same for all. */
  created?: number;
}

/** A message out of a batch. */
export interface Unpacked {
  id: Uint8Array;
  /** As they are stored; not a copy. */
  headers: Uint8Array;
  sender: Uint8Array<ArrayBuffer>;
  payload: Uint8Array<ArrayBuffer>;
  priority: number;
  /** Milliseconds since 1970. */
  createdAt: number;
  deliveryCount: number;
  status: number;
  /** Milliseconds since 1970 if it is `DELAYED`, 0 if not. */
  due: number;
}

/** What others need to know about a holder. */
export interface HolderTerms {
  maxDeliveries: number;
  lease: number;
  /** Whether a Web Lock shows that the holder lives; otherwise its beat does. */
  locked: boolean;
}

/** A record of the store `journal`; its key is the mailbox's number and a version. The last version is the state. */
export interface StoredHead {
  /** Identifies the mailbox in its database, the first part of all its keys elsewhere; never reused. */
  number: number;
  /** Nobody needs the versions from here up to the one before this. */
  base: number;
  /** Whether its writer has a write lease, so may write the next without reading this; see `write-lease.js`. */
  right: boolean;
  /** The context that wrote it last. */
  writer: string;
  /** Random: shows after a lost connection whether a transaction was committed. */
  commitId: number;
  /** Everything else, packed, since a browser copies bytes without walking through them; see `model/head-codec.js`. */
  head: Uint8Array;
  /** Checksum of the head. */
  sum: number;
  /** Small segments, in the order in which the head names them. */
  carried: Uint8Array[];
}

/** A record of the store `dead`. */
export interface StoredDeadLetter {
  id: Uint8Array;
  /** One frame. */
  frame: Uint8Array;
  deliveries: number;
  reason: string;
  error: string | undefined;
  /** Milliseconds since 1970. */
  diedAt: number;
}

/** A key of the store `segments`: mailbox, priority, last and first sequence number. */
export type SegmentKey = [number, number, number, number];
