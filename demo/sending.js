/** What the visitor sends: typed messages, the lines of files, floods, and trouble. */

import { FLOOD, beginFlood, endFlood, goOnFlooding } from "./flood.js";
import { SERVER } from "./gateway.js";
import { linesOf, pieces } from "./lines.js";
import { failureOf } from "./page.js";
import { randomId } from "../js/model/ids.js";
import { rememberInterrupted } from "./web-storage.js";
import {
  floodFailure,
  floodText,
  floodedText,
  numberText,
  readingFailure,
  readingText,
  sendingFailure,
  storedText,
} from "./format.js";
import { textOfId } from "../js/model/uuids.js";

/** @import { Gateway } from "./gateway.js" */
/** @import { PeerView } from "./peer-view.js" */

const encoder = new TextEncoder();

export class Sending {
  #view;
  #gateway;
  #flooding = false;
  /** Files wait for each other, so that lines keep their order. */
  #filesBefore = Promise.resolve();
  /** The file that is being read. @type {string | null} */
  #reading = null;

  /** @param {PeerView} view @param {Gateway} gateway */
  constructor(view, gateway) {
    this.#view = view;
    this.#gateway = gateway;
    view.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#sendTyped();
    });
    view.file.addEventListener("change", () => {
      void this.storeFiles([...(view.file.files ?? [])]);
      // So that the same file can be chosen again.
      view.file.value = "";
    });
    view.flood.textContent = `Flood it with ${numberText(FLOOD)}`;
    view.flood.addEventListener("click", () => void this.flood());
    view.crash.addEventListener("click", () => void this.crash());
    view.hang.addEventListener("click", () => void this.hang());
    view.poison.addEventListener("click", () => void this.poison());
    view.redrive.addEventListener("click", () => void this.redrive());
    // the server's handler makes no such trouble
    view.to.addEventListener("change", () => {
      for (const button of [view.crash, view.hang, view.poison]) button.disabled = view.to.value === SERVER;
    });
    addEventListener("pagehide", () => {
      if (this.#reading !== null) rememberInterrupted(this.#reading);
    });
  }

  /** A message whose handler fails twice and then succeeds. @param {string | null} [to] */
  crash(to = this.#target()) {
    return this.send("crash! the network is down, twice", to, "Its handler fails twice, and then handles it.");
  }

  /** A message whose handler never comes to an end, unless it has died of it before. @param {string | null} [to] */
  hang(to = this.#target()) {
    return this.send("hang! only killing the worker helps", to, "Its handler hangs: killing its worker cures it.");
  }

  /** A message that the actor cannot handle. @param {string | null} [to] */
  poison(to = this.#target()) {
    const what = "Unless the actor is mended, it fails three times, and is a dead letter then.";
    return this.send("poison! the handler has a mistake that this finds", to, what);
  }

  /**
   * @param {string} text @param {string | null} [to] the key of a peer; null for this one
   * @param {string} [what] is going to happen
   * @returns {Promise<string | undefined>} the id of the message, if it is for this peer; undefined if it is not stored
   */
  async send(text, to = this.#target(), what = "") {
    const id = textOfId(randomId());
    try {
      await this.#gateway.store(to, "you", [encoder.encode(text)], this.#priority(), undefined, [id]);
      this.#view.say(`Your message is stored. ${what}`.trim());
      return id;
    } catch (error) {
      this.#view.complain(sendingFailure(failureOf(error)));
      return undefined;
    }
  }

  /** Stores a great many messages. @param {string | null} [to] the key of a peer; null for this one */
  async flood(to = this.#target()) {
    if (this.#flooding) return;
    this.#flooding = true;
    this.#view.flood.disabled = true;
    this.#view.say("");
    try {
      await beginFlood(this.#gateway, to);
    } catch (error) {
      this.#view.complain(sendingFailure(failureOf(error)));
    }
    this.#flooding = false;
    await this.goOn();
  }

  /** Goes on with a flood that a page before this one had begun, if there is one. */
  async goOn() {
    if (this.#flooding) return;
    this.#flooding = true;
    this.#view.flood.disabled = true;
    let [stored, total] = [0, 0];
    try {
      await goOnFlooding(this.#gateway, (flood) => {
        [stored, total] = [flood.next, flood.total];
        this.#view.showProgress(floodText(flood), stored, total);
      });
      if (total > 0 && stored === total) this.#view.say(floodedText(total));
    } catch (error) {
      const failure = failureOf(error);
      this.#view.complain(total === 0 ? sendingFailure(failure) : floodFailure(stored, total, failure));
      // so that the next one is one of its own, to whom it is for
      if (total > 0) await endFlood(this.#gateway).catch(() => {});
    }
    if (this.#reading === null) this.#view.hideProgress();
    this.#view.flood.disabled = false;
    this.#flooding = false;
  }

  async #sendTyped() {
    const text = this.#view.message.value;
    this.#view.message.value = "";
    if (!(await this.send(text)) && this.#view.message.value === "") this.#view.message.value = text;
  }

  /** Stores the lines of files, to whom and as urgent as it is set now. @param {File[]} files */
  storeFiles(files) {
    if (this.#view.controls.disabled) {
      this.#view.say("The mailbox is not open yet. Drop the file again in a moment.");
      return;
    }
    const to = this.#target();
    const high = this.#priority();
    for (const file of files) this.#filesBefore = this.#filesBefore.then(() => this.#storeFile(file, to, high));
  }

  /**
   * Stores a file's lines, piece by piece, so that a large one neither fills the memory nor keeps others waiting. What
   * was stored before a failure stays.
   * @param {File} file @param {string | null} to @param {"normal" | "high"} high
   */
  async #storeFile(file, to, high) {
    this.#reading = file.name;
    this.#view.say("");
    this.#view.showProgress(readingText(file.name, 0), 0, file.size);
    let lines = 0;
    let read = 0;
    try {
      for await (const piece of pieces(file)) {
        const payloads = linesOf(piece);
        await this.#gateway.store(to, file.name, payloads, high);
        lines += payloads.length;
        read += piece.length;
        this.#view.showProgress(readingText(file.name, lines), read, file.size);
      }
      this.#view.say(storedText(file.name, lines));
    } catch (error) {
      this.#view.complain(readingFailure(file.name, lines, failureOf(error)));
    }
    this.#view.hideProgress();
    this.#reading = null;
  }

  /** Puts all dead letters back into the queue. */
  async redrive() {
    await this.#gateway.redrive().catch((error) => this.#view.complain(failureOf(error).message));
  }

  #target() {
    return this.#view.to.value || null;
  }

  /** @returns {"normal" | "high"} */
  #priority() {
    return this.#view.high.checked ? "high" : "normal";
  }
}
