/** Names what a killed worker had in hand, and says when it has come back and is done. */

import { visible } from "../js/inspector/escape.js";
import { comesBackText, excerpt, heldText } from "./format.js";

/** @import { Gateway } from "./gateway.js" */
/** @import { PeerView } from "./peer-view.js" */

/** More than an actor has in hand. */
const MOST = 1000;
const NAMED = 2;
const LONGEST_NAME = 40;

const decoder = new TextDecoder();

export class Returned {
  #view;
  #gateway;
  /** What has not come back yet: names by id. @type {Map<string, string>} */
  #held = new Map();
  #count = 0;
  #names = "";

  /** @param {PeerView} view @param {Gateway} gateway */
  constructor(view, gateway) {
    this.#view = view;
    this.#gateway = gateway;
  }

  /** Looks at what the worker had that was killed just now. */
  async look() {
    const { inbox } = this.#gateway;
    const inHand = await inbox.peek({ limit: MOST, status: "inflight" });
    // Some of it may be in the queue again already, in front; what waits for another try has a time when it is due.
    const queued = await inbox.peek({ limit: MOST, status: "queued" });
    const back = queued.filter(({ deliveryCount, dueAt }) => deliveryCount > 0 && dueAt === undefined);
    const records = [...back, ...inHand];
    this.#held = new Map(records.map(({ id, payload }) => [id, nameOf(decoder.decode(payload))]));
    this.#count = this.#held.size;
    this.#names = namesOf([...this.#held.values()]);
    this.#say(heldText(this.#count, this.#names));
  }

  /** Before another worker begins: what the killed one had just got done does not come back. */
  async settle() {
    for (const id of [...this.#held.keys()]) if ((await this.#gateway.inbox.get(id)) === null) this.#held.delete(id);
    if (this.#held.size === this.#count) return;
    this.#count = this.#held.size;
    this.#names = namesOf([...this.#held.values()]);
    this.#say(heldText(this.#count, this.#names));
  }

  /** Nothing comes back: all of it is deleted. */
  forget() {
    this.#held.clear();
    this.#count = 0;
    this.#view.returned.hidden = true;
  }

  /** @param {string[]} ids of messages that are done now, and had been handed out before */
  done(ids) {
    const before = this.#held.size;
    for (const id of ids) this.#held.delete(id);
    const left = this.#held.size;
    if (left < before) this.#say(comesBackText(this.#count - left, this.#count, this.#names), left === 0);
  }

  /** @param {string} text @param {boolean} [aloud] whether a screen reader is to read it */
  #say(text, aloud = true) {
    const { returned } = this.#view;
    returned.ariaLive = aloud ? "polite" : "off";
    returned.hidden = false;
    returned.textContent = text;
  }
}

/** @param {string} text */
const nameOf = (text) => `“${visible(excerpt(text, LONGEST_NAME))}”`;

/** @param {string[]} names */
function namesOf(names) {
  const rest = names.length - NAMED;
  return names.slice(0, NAMED).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
