/** The shapes that cross from the page to its worker and back, from peer to peer, and those that are stored. */

// -- the page and its worker ------------------------------------------------------------------------------------------

/** What went wrong; `name` is the class of the Python error. */
export interface Failure {
  name: string;
  message: string;
}

/** A delivery that the actor is through with. */
export interface Handled {
  /** "broken" if the visitor's handler is to blame. */
  how: "answered" | "failed" | "broken";
  /** Text, or a peer's key. */
  sender: string;
  priority: "NORMAL" | "HIGH";
  /** From 1. */
  delivery: number;
  text: string;
  /** The answer, or the error. */
  result: string;
}

/** A line of the log. */
export interface Entry {
  from: string;
  kind: "normal" | "high" | "back" | "failed" | "answer";
  text: string;
  result: string;
}

/** What Python tells by itself. */
export interface News {
  /** The last ones since the last news, oldest first. */
  handled?: Handled[];
  /** The ids of all messages handled since then that had been handed out before. */
  back?: string[];
  /** Why the actor stopped by itself. */
  stopped?: Failure;
}

/** Progress while Python loads. */
export interface Loading {
  step: "download" | "start" | "install" | "open";
  /** Bytes. */
  loaded: number;
  /** Bytes; 0 while unknown. */
  total: number;
}

/** What the page can ask for: arguments and answer. */
export interface Requests {
  /** Loads Python and makes the actor of a mailbox. */
  load: (mailbox: string) => void;
  setWorking: (working: boolean) => void;
  /** Whether the actor can handle poison. */
  setMended: (mended: boolean) => void;
  /** How many milliseconds the work on a message takes. */
  setPace: (milliseconds: number) => void;
  /** Has the actor take another handler; a `HandlerError` if the text is none, and then the handler stays. */
  setHandler: (source: string) => void;
  /** Loads Python, and begins to relay these outboxes to a server's mailbox at a location. */
  relay: (outboxes: string[], location: string) => void;
  relayState: () => RelayState;
  /** Cuts the relay's worker off from its network, or gives it back. */
  setOffline: (offline: boolean) => void;
}

/** What `RelayStatus` of Python says, as far as it is shown. */
export interface RelayStatus {
  connected: boolean;
  /** In ISO format. */
  disconnected_since: string | null;
  last_error: string | null;
  last_error_at: string | null;
}

export interface RelayState {
  relays: RelayStatus[];
  /** Why one of them has stopped. */
  stopped: Failure | null;
}

export type RequestName = keyof Requests;

export type Asked = {
  [Name in RequestName]: { id: number; request: Name; arguments: Parameters<Requests[Name]> };
}[RequestName];

export type ToWorker = Asked | { compiled: WebAssembly.Module };

export type FromWorker =
  | { kind: "answer"; id: number; value: unknown }
  | { kind: "failure"; id: number; failure: Failure }
  | { kind: "loading"; loading: Loading }
  | { kind: "compiled"; module: WebAssembly.Module }
  | { kind: "news"; news: News };

// -- peers ------------------------------------------------------------------------------------------------------------

/** Who a tab is. */
export interface Peer {
  /** From 1, for people. */
  number: number;
  /** Its id in its own encoding; what it sends has these bytes as its sender. */
  id: Uint8Array;
  /** The id in hex. */
  key: string;
  /** The name of its actor's mailbox; those of the others begin with it. */
  mailbox: string;
}

export type OtherPeer = Omit<Peer, "mailbox">;

/** What peers tell each other until they are connected. */
export interface Signal {
  from: { id: Uint8Array; number: number };
  /** A peer's key; all peers if it is not given. */
  to?: string;
  what:
    | { kind: "hello" | "here" | "bye" }
    | { kind: "description"; attempt: string; description: RTCSessionDescriptionInit }
    | { kind: "candidate"; attempt: string; candidate: RTCIceCandidateInit };
}

export type FrameKind = "normal" | "high" | "answer";

export interface Frame {
  id: string;
  kind: FrameKind;
  payload: Uint8Array;
}

// -- what is stored ---------------------------------------------------------------------------------------------------

/** What a peer has to do with another. */
export interface PeerAccount {
  /** Messages put into the outbox to it. */
  sent: number;
  /** Answers that came from it. */
  answered: number;
  /** The id of the last frame that came from it and is stored. */
  last: string | null;
}

/** What a peer has to do with the server. */
export interface ServerAccount {
  /** By which the server knows it: the sender of what comes from it. Another one after each start over. */
  sender: string;
  /** Messages put into the outbox to it; they are numbered. */
  sent: number;
  /** Of the server's mailbox; null if it was never known, and not in accounts from before it was noted. */
  location?: string | null;
  /** How many of them went to servers before that one. */
  before?: number;
}

/** Messages that are still to be stored. */
export interface Flood {
  /** A peer's key, or that of the server; null for this peer's own actor. */
  to: string | null;
  next: number;
  total: number;
}

/** Replaced whenever messages are stored, in the same transaction. */
export interface Account {
  /** Messages put into the actor's mailbox, ever. */
  stored: number;
  flood: Flood | null;
  /** What was sent to the server; nothing in accounts from before there was one. */
  server?: ServerAccount | null;
  /** By key. */
  peers: Record<string, PeerAccount>;
}

/** Where the messages are that were ever stored. */
export interface Balance {
  stored: number;
  handled: number;
  queued: number;
  inflight: number;
  dead: number;
  /** Stored, and nowhere any more; below 0 if there are more than were stored. */
  missing: number;
  peers: Record<string, PeerAccount>;
}

/** What the records of all that was done say. */
export interface Audit {
  handled: number;
  /** Records of messages that have another record. */
  doubled: number;
  /** How often messages were handed out beyond the first time. */
  again: number;
}

/** What the server has to do with a peer. */
export interface SentAndArrived {
  sender: string;
  /** What has left the outbox for the server. */
  sent: number;
  /** In the outbox. */
  waiting: number;
  /** Dead letters there: refused, or in the hands of too many relays that were killed. */
  dead: number;
  arrived: number;
  twice: number;
}

/** What of all that has arrived. */
export interface Arrived {
  arrived: number;
  twice: number;
  dead: number;
  toCome: number;
  missing: number;
  /** Whether all is there, and nothing has changed since the look before. */
  isComplete: boolean;
}

// -- the server, as tools/server_side.py tells of it ------------------------------------------------------------------

export interface ServerState {
  /** Of the mailbox there, for a page; null if there is none. */
  location: string | null;
  runs: boolean;
  /** What keeps it from running. */
  problem: string | null;
  /** By sender. */
  tallies: Record<string, Tally>;
  /** The last ones, oldest first. */
  last: Arrival[];
}

export interface Tally {
  arrived: number;
  twice: number;
}

export interface Arrival {
  /** In the order in which messages were handled, from 1. */
  place: number;
  sender: string;
  number: number;
  priority: "NORMAL" | "HIGH";
  text: string;
}

// -- the tour ---------------------------------------------------------------------------------------------------------

export interface TourStep {
  /** What it is about. */
  part: HTMLElement;
  /** Whether its end is what has to be seen, where there is no room for all of it. */
  atEnd?: boolean;
  title: string;
  text: string;
  /** Done once, when the step is first shown; `say` tells how it went. */
  act?: (say: (text: string) => void) => Promise<void>;
  /** A button of its own. */
  extra?: { label: string; perform: () => void };
}

// -- the service worker, whose types TypeScript keeps apart from a page's ----------------------------------------------

export interface ServiceWorkerScope extends EventTarget {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
}

export interface ExtendableEvent extends Event {
  waitUntil(promise: Promise<unknown>): void;
}

export interface FetchEvent extends ExtendableEvent {
  request: Request;
  respondWith(response: Promise<Response>): void;
}
