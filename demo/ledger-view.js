/** Shows the ledger, and looks again and again. */

import { audit, balanceOf } from "./ledger.js";
import { auditText, balanceText, numberText } from "./format.js";

/** @import { Gateway } from "./gateway.js" */
/** @import { PeerView } from "./peer-view.js" */
/** @import { Audit, Balance } from "./types.js" */

// Milliseconds between two looks at the mailbox.
const WHILE_CHANGING = 100;
const WHILE_QUIET = 400;
const WHILE_HIDDEN = 2000;

export class LedgerView {
  #view;
  #gateway;
  /** @type {Audit | undefined} */
  #audit;
  /** Called after each look. @type {(balance: Balance) => void} */
  onLook = () => {};
  /** Called when a look has failed; there will be others. @type {(error: unknown) => void} */
  onFailure = () => {};

  /** @param {PeerView} view @param {Gateway} gateway */
  constructor(view, gateway) {
    this.#view = view;
    this.#gateway = gateway;
  }

  /** Never ends. @returns {Promise<never>} */
  async watch() {
    let before = "";
    for (;;) {
      let now = before;
      try {
        const balance = await balanceOf(this.#gateway);
        await this.#show(balance);
        this.onLook(balance);
        now = JSON.stringify(balance);
      } catch (error) {
        this.onFailure(error);
      }
      const delay = document.hidden ? WHILE_HIDDEN : now === before ? WHILE_QUIET : WHILE_CHANGING;
      before = now;
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
  }

  /** @param {Balance} balance */
  async #show(balance) {
    const { stored, handled, queued, inflight, dead, missing } = balance;
    const view = this.#view;
    view.queued.textContent = numberText(queued);
    view.inflight.textContent = numberText(inflight);
    view.done.textContent = numberText(handled);
    view.dead.textContent = numberText(dead);
    view.dead.classList.toggle("some", dead > 0);
    view.redrive.hidden = dead === 0;
    view.shareDone.style.flexGrow = String(handled);
    view.shareDead.style.flexGrow = String(dead);
    view.shareWaiting.style.flexGrow = String(queued + inflight);
    view.balance.textContent = stored === 0 && missing === 0 ? "Nothing is stored yet." : balanceText(balance);
    view.balance.classList.toggle("bad", missing !== 0);
    // All that was done is gone through only when there is nothing else to do.
    if (queued + inflight > 0) view.audit.textContent = "When all is done, all of it is checked one by one.";
    else if (this.#audit?.handled !== handled) this.#audit = await audit(this.#gateway);
    if (queued + inflight === 0 && this.#audit) {
      view.audit.textContent = handled === 0 ? "" : auditText(this.#audit);
      view.audit.classList.toggle("bad", this.#audit.doubled > 0);
    }
  }
}
