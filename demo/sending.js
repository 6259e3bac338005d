/** What the visitor sends: typed messages, the lines of files, floods, and trouble. */

import { beginFlood, goOnFlooding } from "./flood.js";
import { linesOf, pieces } from "./lines.js";
import { complain, failureOf, hideProgress, page, say, showProgress } from "./page.js";
import { rememberInterrupted } from "./web-storage.js";
import { floodText, floodedText, readingFailure, readingText, sendingFailure, storedText } from "./format.js";

/** @import { Gateway } from "./gateway.js" */

/** Messages of one flood. */
const FLOOD = 10_000;

const encoder = new TextEncoder();

export class Sending {
  #gateway;
  #flooding = false;
  /** Files wait for each other, so that lines keep their order. */
  #filesBefore = Promise.resolve();
  /** The file that is being read. @type {string | null} */
  #reading = null;

  /** @param {Gateway} gateway */
  constructor(gateway) {
    this.#gateway = gateway;
    page.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#sendTyped();
    });
    page.file.addEventListener("change", () => {
      void this.#storeFiles([...(page.file.files ?? [])]);
      // So that the same file can be chosen again.
      page.file.value = "";
    });
    // A file may be dropped anywhere: a browser would leave the page for one that missed its target.
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      document.body.classList.add("dragging");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) document.body.classList.remove("dragging");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dragging");
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length === 0) say("That was no file. Drop a text file, and each of its lines becomes a message.");
      else void this.#storeFiles(files);
    });
    page.flood.addEventListener("click", () => void this.flood());
    page.crash.addEventListener("click", () => void this.crash());
    page.hang.addEventListener("click", () => void this.hang());
    page.poison.addEventListener("click", () => void this.poison());
    addEventListener("pagehide", () => {
      if (this.#reading !== null) rememberInterrupted(this.#reading);
    });
  }

  /** A message whose handler fails twice and then succeeds. @param {string | null} [to] */
  crash(to = target()) {
    return this.send("crash! the network is down, twice", to, "Its handler fails twice, and then handles it.");
  }

  /** A message whose handler never comes to an end, unless it has died of it before. @param {string | null} [to] */
  hang(to = target()) {
    return this.send("hang! only killing the worker helps", to, "Its handler hangs until its worker is killed.");
  }

  /** A message that the actor cannot handle. @param {string | null} [to] */
  poison(to = target()) {
    const what = "Unless the actor is mended, it fails three times, and is a dead letter then.";
    return this.send("poison! the handler has a mistake that this finds", to, what);
  }

  /**
   * @param {string} text @param {string | null} [to] the key of a peer; null for this one
   * @param {string} [what] is going to happen
   */
  async send(text, to = target(), what = "") {
    try {
      await this.#gateway.store(to, "you", [encoder.encode(text)], priority());
      say(`Your message is stored. ${what}`.trim());
      return true;
    } catch (error) {
      complain(sendingFailure(failureOf(error)));
      return false;
    }
  }

  /** Stores a great many messages. @param {string | null} [to] the key of a peer; null for this one */
  async flood(to = target()) {
    if (this.#flooding) return;
    this.#flooding = true;
    page.flood.disabled = true;
    say("");
    try {
      await beginFlood(this.#gateway, to, FLOOD);
    } catch (error) {
      complain(sendingFailure(failureOf(error)));
    }
    this.#flooding = false;
    await this.goOn();
  }

  /** Goes on with a flood that a page before this one had begun, if there is one. */
  async goOn() {
    if (this.#flooding) return;
    this.#flooding = true;
    page.flood.disabled = true;
    let total = 0;
    try {
      await goOnFlooding(this.#gateway, (flood) => {
        total = flood.total;
        showProgress(floodText(flood), flood.next, flood.total);
      });
      if (total > 0) say(floodedText(total));
    } catch (error) {
      complain(sendingFailure(failureOf(error)));
    }
    if (this.#reading === null) hideProgress();
    page.flood.disabled = false;
    this.#flooding = false;
  }

  async #sendTyped() {
    const text = page.message.value;
    page.message.value = "";
    if (!(await this.send(text)) && page.message.value === "") page.message.value = text;
  }

  /** @param {File[]} files */
  #storeFiles(files) {
    if (page.controls.disabled) {
      say("The mailbox is not open yet. Drop the file again in a moment.");
      return;
    }
    const to = target();
    const high = priority();
    for (const file of files) this.#filesBefore = this.#filesBefore.then(() => this.#storeFile(file, to, high));
  }

  /**
   * Stores a file's lines, piece by piece, so that a large one neither fills the memory nor keeps others waiting. What
   * was stored before a failure stays.
   * @param {File} file @param {string | null} to @param {"normal" | "high"} high
   */
  async #storeFile(file, to, high) {
    this.#reading = file.name;
    say("");
    showProgress(readingText(file.name, 0), 0, file.size);
    let lines = 0;
    let read = 0;
    try {
      for await (const piece of pieces(file)) {
        const payloads = linesOf(piece);
        await this.#gateway.store(to, file.name, payloads, high);
        lines += payloads.length;
        read += piece.length;
        showProgress(readingText(file.name, lines), read, file.size);
      }
      say(storedText(file.name, lines));
    } catch (error) {
      complain(readingFailure(file.name, lines, failureOf(error)));
    }
    hideProgress();
    this.#reading = null;
  }
}

const target = () => page.to.value || null;
/** @returns {"normal" | "high"} */
const priority = () => (page.high.checked ? "high" : "normal");
