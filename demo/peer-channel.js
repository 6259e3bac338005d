/**
 * Carries messages between this peer and one other, over one data channel.
 *
 * What is for the other waits in an outbox until the other has stored it. Each side begins by saying which frame it
 * stored last, and says so again after each transaction. So what was on its way when a connection broke or a page died
 * is sent again if it did not arrive, and not if it did.
 */

import { LONGEST_FRAME, frameOf, parseFrame } from "./frames.js";

/** @import { Mailbox } from "../js/index.js" */
/** @import { Gateway } from "./gateway.js" */
/** @import { Frame, OtherPeer } from "./types.js" */

/** Frames on their way at most. The other side's last one is always among so many. */
const WINDOW = 256;
const BUFFERED_BYTES = 1 << 20;
/** Milliseconds between two looks into the outbox; its observer is quicker, but may miss something. */
const LOOK = 1000;

export class PeerChannel {
  #peer;
  #channel;
  #gateway;
  /** What the other side stored last; undefined until it has said so. @type {string | null | undefined} */
  #received;
  #closed = false;
  #news = false;
  #resume = () => {};
  /** @type {Frame[]} */
  #arrived = [];
  #storing = false;
  /** Answers came. @type {(answers: Frame[]) => void} */
  onAnswers = () => {};
  /** A message of so many bytes is too long for a channel, and is deleted. @type {(bytes: number) => void} */
  onTooLong = () => {};

  /** @param {OtherPeer} peer @param {RTCDataChannel} channel that is open @param {Gateway} gateway */
  constructor(peer, channel, gateway) {
    this.#peer = peer;
    this.#channel = channel;
    this.#gateway = gateway;
    channel.bufferedAmountLowThreshold = BUFFERED_BYTES / 2;
    channel.addEventListener("bufferedamountlow", () => this.#wake());
    channel.addEventListener("close", () => this.close());
    channel.addEventListener("message", (/** @type {MessageEvent<string | ArrayBuffer>} */ { data }) => {
      if (typeof data === "string") {
        this.#received = JSON.parse(data).received;
        this.#wake();
      } else {
        this.#arrived.push(parseFrame(data));
        void this.#store();
      }
    });
  }

  /** Begins; ends when the channel is closed. */
  async run() {
    // What a channel before this one brought may still be on its way into the storage.
    await this.#gateway.settled();
    const [outbox, { peers }] = await Promise.all([this.#gateway.outbox(this.#peer.key), this.#gateway.account()]);
    this.#confirm(peers[this.#peer.key]?.last ?? null);
    outbox.setDepthObserver(() => this.#wake());
    while (!this.#closed) await this.#deliver(outbox);
  }

  close() {
    this.#closed = true;
    // not confirmed, so it comes again
    this.#arrived.length = 0;
    this.#wake();
  }

  /** Sends what waits first, and deletes it when the other side has it. @param {Mailbox} outbox */
  async #deliver(outbox) {
    if (this.#received === undefined) return this.#change();
    const waiting = await outbox.peek({ limit: WINDOW });
    const arrived = waiting.findIndex(({ id }) => id === this.#received) + 1;
    if (arrived > 0) {
      await outbox.ackMany(waiting.slice(0, arrived).map(({ id }) => id));
      return;
    }
    if (waiting.length === 0) return this.#change();
    const tooLong = waiting.find(({ payload }) => payload.length > 1 + LONGEST_FRAME);
    if (tooLong) {
      await outbox.ack(tooLong.id);
      return this.onTooLong(tooLong.payload.length - 1);
    }
    for (const { id, payload } of waiting) {
      while (this.#channel.bufferedAmount > BUFFERED_BYTES && !this.#closed) await this.#change();
      if (this.#closed) return;
      this.#channel.send(frameOf(id, payload));
    }
    // all of them, since what is on its way must not be sent again
    const last = waiting[waiting.length - 1].id;
    while (this.#received !== last && !this.#closed) await this.#change();
  }

  /** Stores what has arrived, all of it at once, and says so. */
  async #store() {
    if (this.#storing) return;
    this.#storing = true;
    try {
      while (this.#arrived.length > 0) {
        const frames = this.#arrived.splice(0);
        await this.#gateway.receive(this.#peer, frames);
        this.#confirm(/** @type {Frame} */ (frames.at(-1)).id);
        const answers = frames.filter(({ kind }) => kind === "answer");
        if (answers.length > 0) this.onAnswers(answers);
      }
    } catch (error) {
      // Nothing is confirmed that is not stored: on a new channel the other side sends it again.
      console.warn(`What peer ${this.#peer.number} sent could not be stored:`, error);
      this.#channel.close();
    } finally {
      this.#storing = false;
    }
  }

  /** @param {string | null} received */
  #confirm(received) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify({ received }));
  }

  #wake() {
    this.#news = true;
    this.#resume();
  }

  /** Waits until something has changed since the last time. */
  async #change() {
    if (!this.#news && !this.#closed) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, LOOK);
        this.#resume = () => {
          clearTimeout(timer);
          resolve(undefined);
        };
      });
    }
    this.#news = false;
  }
}
