/** The other peers, of this page and of other tabs: connects with them, carries messages, and lists them. */

import { PeerChannel } from "./peer-channel.js";
import { isAnswer } from "./frames.js";
import { PeerConnections } from "./webrtc.js";
import { addToLog } from "./log.js";
import { shortKey } from "./peer.js";
import { excerpt, peerText, tooLongText } from "./format.js";

/** @import { Mailbox } from "../js/index.js" */
/** @import { Gateway } from "./gateway.js" */
/** @import { Network } from "./network.js" */
/** @import { PeerView } from "./peer-view.js" */
/** @import { Frame, OtherPeer, Peer, PeerAccount } from "./types.js" */

/** In an outbox, one by one. */
const COUNTED = 1000;

const decoder = new TextDecoder();

/** One that was met since the page was loaded. @typedef {{peer: OtherPeer, peerChannel: PeerChannel | null, item: HTMLElement}} Met */

export class Peers {
  #view;
  #gateway;
  #network;
  /** @type {PeerConnections | undefined} */
  #connections;
  /** How much is being done meanwhile without channels. */
  #stills = 0;
  /** By key. @type {Map<string, Met>} */
  #met = new Map();
  /** @type {Record<string, PeerAccount>} */
  #accounts = {};

  /**
   * @param {PeerView} view
   * @param {Peer} me
   * @param {Gateway} gateway
   * @param {Network} network
   * @param {Peer | undefined} sibling the page's other peer, to whom messages go if nobody else is chosen
   */
  constructor(view, me, gateway, network, sibling) {
    this.#view = view;
    this.#gateway = gateway;
    this.#network = network;
    view.to.append(new Option("its own actor", ""));
    if (!("RTCPeerConnection" in globalThis)) {
      view.others.textContent = "This browser has no WebRTC, so peers work each for itself.";
      return;
    }
    const connections = (this.#connections = new PeerConnections(me));
    connections.onOpen = (peer, channel) => void this.#carry(peer, channel);
    connections.onClosed = ({ key }) => this.#close(key);
    addEventListener("pagehide", () => connections.leave());
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) this.#join();
    });
    network.listen((offline) => (offline ? connections.leave() : this.#join()));
    this.#join();
    if (!sibling) return;
    this.#meet(sibling);
    view.to.value = sibling.key;
  }

  /** Cuts all channels while something is done. @param {() => Promise<void>} task */
  async without(task) {
    this.#stills++;
    this.#connections?.leave();
    try {
      await task();
    } finally {
      this.#stills--;
      this.#join();
    }
  }

  /** Looks for the others, if that may be. */
  #join() {
    if (this.#stills === 0 && !this.#network.offline) this.#connections?.join();
  }

  /** A sender for people. @param {string} sender text, or a peer's key */
  nameOf(sender) {
    const met = this.#met.get(sender);
    if (met) return nameOf(met.peer);
    return sender in this.#accounts ? `a peer (${shortKey(sender)})` : sender;
  }

  /** @param {Record<string, PeerAccount>} accounts by key */
  async show(accounts) {
    this.#accounts = accounts;
    for (const { peer, peerChannel, item } of this.#met.values()) {
      const account = accounts[peer.key] ?? { sent: 0, answered: 0 };
      const waiting = account.sent > 0 ? await waitingIn(await this.#gateway.outbox(peer.key), account.sent) : 0;
      const is = peerChannel ? "connected" : this.#network.offline ? "cut off" : "gone";
      const text = `${nameOf(peer)} is ${is}: ${peerText(account, waiting)}`;
      if (item.textContent !== text) item.textContent = text;
    }
  }

  /** @param {OtherPeer} peer @param {RTCDataChannel} channel */
  async #carry(peer, channel) {
    const peerChannel = new PeerChannel(peer, channel, this.#gateway);
    peerChannel.onAnswers = (answers) => this.#log(peer, answers);
    peerChannel.onTooLong = (bytes) => this.#view.complain(tooLongText(peer, bytes));
    const met = this.#meet(peer);
    met.peerChannel?.close();
    met.peerChannel = peerChannel;
    this.#nameOption(peer.key);
    try {
      await peerChannel.run();
    } catch (error) {
      // A new channel begins where this one has ended.
      console.warn(`The channel to peer ${peer.number} has failed:`, error);
      channel.close();
    }
  }

  /** @param {OtherPeer} peer @returns {Met} */
  #meet(peer) {
    const known = this.#met.get(peer.key);
    if (known) return known;
    const item = document.createElement("li");
    this.#view.others.append(item);
    this.#view.to.append(new Option("", peer.key));
    /** @type {Met} */
    const met = { peer, peerChannel: null, item };
    this.#met.set(peer.key, met);
    this.#nameOption(peer.key);
    return met;
  }

  /** @param {string} key */
  #close(key) {
    const met = this.#met.get(key);
    if (!met) return;
    met.peerChannel?.close();
    met.peerChannel = null;
    this.#nameOption(key);
  }

  /** What is sent to a peer that is gone waits for it. @param {string} key */
  #nameOption(key) {
    const met = this.#met.get(key);
    const option = [...this.#view.to.options].find(({ value }) => value === key);
    if (met && option) option.textContent = nameOf(met.peer) + (met.peerChannel ? "" : ", once back");
  }

  /** @param {OtherPeer} peer @param {Frame[]} answers */
  #log(peer, answers) {
    addToLog(
      this.#view.log,
      answers.map(({ payload }) => ({
        from: nameOf(peer),
        kind: "answer",
        text: excerpt(decoder.decode(payload)),
        result: "over WebRTC",
      })),
    );
    this.#view.logEmpty.hidden = true;
  }
}

/**
 * How much of what was sent waits in an outbox, in which answers wait too.
 * @param {Mailbox} outbox @param {number} sent @returns {Promise<number>} of a great many only roughly
 */
async function waitingIn(outbox, sent) {
  const { queuedMessages } = await outbox.status();
  if (queuedMessages === 0 || queuedMessages > COUNTED) return Math.min(queuedMessages, sent);
  return (await outbox.peek({ limit: queuedMessages })).filter(({ payload }) => !isAnswer(payload)).length;
}

/** @param {OtherPeer} peer */
const nameOf = ({ number }) => `peer ${number}`;
