/** WebRTC data channels to the other peers, of this page and of other tabs. A BroadcastChannel takes the place of a signalling server. */

import { randomName } from "../js/model/ids.js";
import { keyOf } from "./peer.js";

/** @import { OtherPeer, Peer, Signal } from "./types.js" */

/**
 * `dropped` resolves when it is given up.
 * @typedef {{peer: OtherPeer, connection: RTCPeerConnection, attempt: string, dropped: Promise<void>, drop: () => void}}
 * Link
 */

/** Milliseconds until a lost connection is tried again. */
const AGAIN = 1000;

export class PeerConnections {
  #me;
  #joined = false;
  #signals = new BroadcastChannel("pymailbox-demo-signals");
  /** @type {Map<string, Link>} */
  #links = new Map();
  /** Signals are taken one after the other: a candidate is of no use before its description. */
  #before = Promise.resolve();
  /** A channel is open. @type {(peer: OtherPeer, channel: RTCDataChannel) => void} */
  onOpen = () => {};
  /** It is closed. @type {(peer: OtherPeer) => void} */
  onClosed = () => {};

  /** @param {Peer} me */
  constructor({ id, number }) {
    this.#me = { id, number, key: keyOf(id) };
    this.#signals.addEventListener("message", (/** @type {MessageEvent<Signal>} */ { data }) => {
      this.#before = this.#before
        .then(() => this.#hear(data))
        .catch((error) => console.warn("A signal failed:", error));
    });
  }

  /** Looks for the others. */
  join() {
    this.#joined = true;
    this.#send({ kind: "hello" });
  }

  /** Says goodbye: a page that ends is otherwise missed only after seconds. */
  leave() {
    this.#joined = false;
    this.#send({ kind: "bye" });
    for (const key of [...this.#links.keys()]) this.#drop(key);
  }

  /** @param {Signal["what"]} what @param {string} [to] the key of a peer; all of them if it is not given */
  #send(what, to) {
    this.#signals.postMessage(/** @type {Signal} */ ({ from: { id: this.#me.id, number: this.#me.number }, to, what }));
  }

  /** @param {Signal} signal */
  async #hear({ from, to, what }) {
    if (!this.#joined || (to !== undefined && to !== this.#me.key)) return;
    const peer = { ...from, key: keyOf(from.id) };
    const link = this.#links.get(peer.key);
    switch (what.kind) {
      case "hello":
        // its page is new, or it has lost us
        this.#drop(peer.key);
        this.#send({ kind: "here" }, peer.key);
        return this.#meet(peer);
      case "here":
        return this.#meet(peer);
      case "bye":
        return this.#drop(peer.key);
      case "description": {
        const { type } = what.description;
        const described = type === "offer" ? this.#connect(peer, what.attempt) : link;
        if (described?.attempt !== what.attempt) return;
        const isSet = await this.#unlessDropped(described, described.connection.setRemoteDescription(what.description));
        if (type === "offer" && isSet) await this.#describe(described);
        return;
      }
      case "candidate":
        if (link?.attempt !== what.attempt) return;
        await this.#unlessDropped(link, link.connection.addIceCandidate(what.candidate));
    }
  }

  /** One of two makes the offer. @param {OtherPeer} peer */
  async #meet(peer) {
    if (this.#me.key > peer.key) return;
    const link = this.#connect(peer, randomName());
    this.#adopt(link, link.connection.createDataChannel("frames"));
    await this.#describe(link);
  }

  /** @param {OtherPeer} peer @param {string} attempt @returns {Link} */
  #connect(peer, attempt) {
    this.#drop(peer.key);
    // All of it happens on this machine, so no server has to help.
    const connection = new RTCPeerConnection({ iceServers: [] });
    let drop = () => {};
    const dropped = new Promise((/** @type {(value: void) => void} */ resolve) => {
      drop = resolve;
    });
    const link = { peer, connection, attempt, dropped, drop };
    this.#links.set(peer.key, link);
    connection.addEventListener("icecandidate", ({ candidate }) => {
      if (candidate?.candidate) this.#send({ kind: "candidate", attempt, candidate: candidate.toJSON() }, peer.key);
    });
    connection.addEventListener("datachannel", ({ channel }) => this.#adopt(link, channel));
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState === "failed") this.#lose(link);
    });
    return link;
  }

  /**
   * Waits for a step of a link, which never ends if its connection is closed meanwhile.
   * @param {Link} link @param {Promise<void>} step @returns {Promise<boolean>} whether the link is still there
   */
  async #unlessDropped(link, step) {
    await Promise.race([step, link.dropped]);
    return this.#links.get(link.peer.key) === link;
  }

  /** @param {Link} link */
  async #describe(link) {
    const { peer, connection, attempt } = link;
    if (!(await this.#unlessDropped(link, connection.setLocalDescription()))) return;
    const { type, sdp } = /** @type {RTCSessionDescription} */ (connection.localDescription);
    this.#send({ kind: "description", attempt, description: { type, sdp } }, peer.key);
  }

  /** @param {Link} link @param {RTCDataChannel} channel */
  #adopt(link, channel) {
    channel.binaryType = "arraybuffer";
    const opened = () => this.onOpen(link.peer, channel);
    if (channel.readyState === "open") opened();
    else channel.addEventListener("open", opened);
    channel.addEventListener("close", () => this.#lose(link));
  }

  /** @param {Link} link */
  #lose(link) {
    if (this.#links.get(link.peer.key) !== link) return;
    this.#drop(link.peer.key);
    setTimeout(() => {
      if (this.#joined && !this.#links.has(link.peer.key)) this.#send({ kind: "hello" }, link.peer.key);
    }, AGAIN);
  }

  /** @param {string} key */
  #drop(key) {
    const link = this.#links.get(key);
    if (!link) return;
    this.#links.delete(key);
    link.drop();
    link.connection.close();
    this.onClosed(link.peer);
  }
}
