/** One peer of the page: puts its parts together. */

import { ActorWorker } from "./actor-worker.js";
import { Gateway } from "./gateway.js";
import { LedgerView } from "./ledger-view.js";
import { Peers } from "./peers.js";
import { Returned } from "./returned.js";
import { Sending } from "./sending.js";
import { failureOf } from "./page.js";
import { openingFailure } from "./format.js";

/** @import { Editor } from "./editor.js" */
/** @import { Network } from "./network.js" */
/** @import { Pace } from "./pace.js" */
/** @import { PeerView } from "./peer-view.js" */
/** @import { Balance, Failure, Peer } from "./types.js" */

export class LocalPeer {
  me;
  view;
  gateway;
  sending;
  actor;
  #ledger;
  #peers;
  #returned;
  /** @type {Set<(balance: Balance) => void>} */
  #watchers = new Set();

  /**
   * @param {PeerView} view
   * @param {Peer} me
   * @param {Gateway} gateway
   * @param {{editor: Editor, pace: Pace, network: Network, sibling: Peer | undefined}} page
   */
  constructor(view, me, gateway, { editor, pace, network, sibling }) {
    this.me = me;
    this.view = view;
    this.gateway = gateway;
    this.sending = new Sending(view, gateway);
    const peers = (this.#peers = new Peers(view, me, gateway, network, sibling));
    const returned = (this.#returned = new Returned(view, gateway));
    this.actor = new ActorWorker(view, me, { editor, pace, returned, nameOf: (sender) => peers.nameOf(sender) });
    this.#ledger = new LedgerView(view, gateway);
    this.#ledger.onFailure = (error) => showUnusable(view, failureOf(error));
    this.#ledger.onLook = (balance) => {
      if (view.controls.disabled) {
        view.controls.disabled = false;
        view.hideProblem();
      }
      this.actor.show(balance.queued + balance.inflight > 0);
      void peers.show(balance.peers);
      for (const watcher of [...this.#watchers]) watcher(balance);
    };
    view.controls.disabled = false;
    void this.sending.goOn();
    void this.#ledger.watch();
  }

  /**
   * Waits for how things stand.
   * @param {(balance: Balance) => boolean} holds
   * @returns {Promise<Balance>}
   */
  until(holds) {
    return new Promise((resolve) => {
      /** @param {Balance} balance */
      const watcher = (balance) => {
        if (!holds(balance)) return;
        this.#watchers.delete(watcher);
        resolve(balance);
      };
      this.#watchers.add(watcher);
    });
  }

  /**
   * Waits until a message to this peer is handled or given up.
   * @param {string} id
   * @returns {Promise<boolean>} whether it was handled
   */
  async isHandled(id) {
    for (;;) {
      const found = await this.gateway.inbox.get(id);
      if (found === null || "reason" in found) return found === null;
      await this.until(() => true);
    }
  }

  /** Has nothing arrive and nothing handled while something is done. @param {() => Promise<void>} task */
  async still(task) {
    await this.#peers.without(() => this.actor.without(task));
  }

  /** Deletes what there is, and counts from 0. @param {string[]} peers the keys of those that do so too */
  async startOver(peers) {
    const { view } = this;
    try {
      await this.gateway.startOver(peers);
      view.log.replaceChildren();
      view.logEmpty.hidden = false;
      this.#returned.forget();
      view.say("The mailbox is empty.");
    } catch (error) {
      view.complain(failureOf(error).message);
    }
  }
}

/** @param {PeerView} view @param {Failure} failure */
export function showUnusable(view, failure) {
  view.loading.hidden = true;
  view.controls.disabled = true;
  view.showProblem(openingFailure(failure), failure, "Load again", () => location.reload());
}
