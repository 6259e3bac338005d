/** Names what a killed worker had in hand, and says when it has come back and is done. */

import { comesBackText, heldText } from "./format.js";

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
    const records = await this.#gateway.inbox.peek({ limit: MOST, status: "inflight" });
    this.#held = new Map(records.map(({ id, payload }) => [id, nameOf(decoder.decode(payload))]));
    this.#count = records.length;
    this.#names = namesOf([...this.#held.values()]);
    this.#say(heldText(this.#count, this.#names));
  }

  /** Before another worker begins: what the killed one had just got done does not come back. */
  async settle() {
    for (const id of [...this.#held.keys()])
      if ((await this.#gateway.inbox.get(id)) === undefined) {
        this.#held.delete(id);
        this.#count--;
      }
    if (this.#count > 0) this.#say(heldText(this.#count, (this.#names = namesOf([...this.#held.values()]))));
  }

  /** @param {string[]} ids of messages that are done now, and had been handed out before */
  done(ids) {
    const before = this.#held.size;
    for (const id of ids) this.#held.delete(id);
    if (this.#held.size < before) this.#say(comesBackText(this.#count - this.#held.size, this.#count, this.#names));
  }

  /** @param {string} text */
  #say(text) {
    this.#view.returned.hidden = false;
    this.#view.returned.textContent = text;
  }
}

/** @param {string} text */
const nameOf = (text) => `“${text.length > LONGEST_NAME ? `${text.slice(0, LONGEST_NAME - 1)}…` : text}”`;

/** @param {string[]} names */
function namesOf(names) {
  const rest = names.length - NAMED;
  return names.slice(0, NAMED).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
