/** What the benchmark's JavaScript files share; `bench/queues.py` is the same for Python. */

/** How durable commits that store messages are; claims and acknowledgements are always relaxed. */
export type Durability = "strict" | "relaxed";

/** One measurement: a row of the plan. */
export interface Job {
  case: string;
  payload_bytes: number;
  batch: number;
  /** Messages that are in the store before the clock starts. */
  backlog: number;
  durability: Durability;
  /** Connections, or handles, that the queue is opened with. */
  handles: number;
  /** How long a repeating case runs. */
  seconds: number;
}

/** A message as a queue hands it out; anything else in it is up to the queue. */
export interface Claimed {
  payload: unknown;
}

/** What every competitor can do, whatever it is built on. A promise resolves when the work is committed. */
// biome-ignore lint/suspicious/noExplicitAny: what a competitor hands out is its own affair
export interface Queue<Message extends Claimed = any> {
  store(payload: Uint8Array): Promise<unknown>;
  /** Stores many, in as few commits as the competitor can. */
  storeMany(payloads: Uint8Array[]): Promise<unknown>;
  /** Takes up to `limit` messages, oldest first, so that nobody else gets them. */
  claim(limit: number): Promise<Message[]>;
  ack(message: Message): Promise<unknown>;
  ackMany(messages: Message[]): Promise<unknown>;
  /** How many messages wait. */
  count(): Promise<number>;
  /** Gives back what a gone consumer had claimed; returns how many messages. */
  recover?(): Promise<number>;
  close(): Promise<unknown>;
}

export interface Competitor {
  open(durability: Durability): Promise<Queue>;
  /** Deletes its store; all its queues are closed. */
  destroy(): Promise<unknown>;
}

/** Runs a case on a competitor that is opened and filled, and returns the measurement, in the case's unit. */
export type Measure = (queues: Queue[], job: Job, competitor: Competitor) => Promise<number>;
