/** The peers in other tabs: connects with them, carries messages, and lists them. */

import { PeerChannel } from "./peer-channel.js";
import { PeerConnections } from "./webrtc.js";
import { addToLog } from "./log.js";
import { page } from "./page.js";
import { shortKey } from "./peer.js";
import { peerText } from "./format.js";

/** @import { Gateway } from "./gateway.js" */
/** @import { Frame, OtherPeer, Peer, PeerAccount } from "./types.js" */

const decoder = new TextDecoder();

/** One that was met since the page was loaded. @typedef {{peer: OtherPeer, peerChannel: PeerChannel | null}} Met */

export class Peers {
  #gateway;
  /** By key. @type {Map<string, Met>} */
  #met = new Map();
  /** @type {Record<string, PeerAccount>} */
  #accounts = {};

  /** @param {Peer} me @param {Gateway} gateway */
  constructor(me, gateway) {
    this.#gateway = gateway;
    page.me.textContent = `This tab is peer ${me.number} (${shortKey(me.key)})`;
    page.to.append(new Option("This tab's actor", ""));
    if (!("RTCPeerConnection" in globalThis)) {
      page.otherText.textContent = "This browser has no WebRTC, so its tabs work each for itself.";
      return;
    }
    const connections = new PeerConnections(me);
    connections.onOpen = (peer, channel) => void this.#carry(peer, channel);
    connections.onClosed = ({ key }) => this.#close(key);
    addEventListener("pagehide", () => connections.leave());
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) connections.join();
    });
    connections.join();
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
    for (const { peer, peerChannel } of this.#met.values()) {
      const account = accounts[peer.key] ?? { sent: 0, answered: 0 };
      const waiting = account.sent > 0 ? (await (await this.#gateway.outbox(peer.key)).status()).queuedMessages : 0;
      const text = `${nameOf(peer)} is ${peerChannel ? "connected" : "gone"}: ${peerText(account, waiting)}`;
      const item = document.getElementById(`other-${peer.key}`);
      if (item && item.textContent !== text) item.textContent = text;
    }
  }

  /** @param {OtherPeer} peer @param {RTCDataChannel} channel */
  async #carry(peer, channel) {
    const peerChannel = new PeerChannel(peer, channel, this.#gateway);
    peerChannel.onAnswers = (answers) => this.#log(peer, answers);
    if (!this.#met.has(peer.key)) {
      const item = document.createElement("li");
      item.id = `other-${peer.key}`;
      page.others.append(item);
      page.to.append(new Option("", peer.key));
    }
    this.#met.get(peer.key)?.peerChannel?.close();
    this.#met.set(peer.key, { peer, peerChannel });
    this.#nameOption(peer.key);
    try {
      await peerChannel.run();
    } catch (error) {
      // A new channel begins where this one has ended.
      console.warn(`The channel to peer ${peer.number} has failed:`, error);
      channel.close();
    }
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
    const option = [...page.to.options].find(({ value }) => value === key);
    if (met && option) option.textContent = nameOf(met.peer) + (met.peerChannel ? "" : ", when it is back");
  }

  /** @param {OtherPeer} peer @param {Frame[]} answers */
  #log(peer, answers) {
    const entries = answers.map(({ payload }) => ({ tag: "Answer", high: false, text: decoder.decode(payload) }));
    addToLog(
      page.log,
      entries.map((entry) => ({ ...entry, from: nameOf(peer), result: "over WebRTC" })),
    );
    page.logEmpty.hidden = true;
  }
}

/** @param {OtherPeer} peer */
const nameOf = ({ number, key }) => `peer ${number} (${shortKey(key)})`;
