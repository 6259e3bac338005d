/** The handler's text. All actors of the page take what is there when it is applied, and each when its life begins. */

import { element, failureOf } from "./page.js";
import { editedHandler, rememberHandler } from "./web-storage.js";

/** @import { ActorWorker } from "./actor-worker.js" */

/** `handle` in actor.py: to where the next definition begins. */
const HANDLER = /^async def handle\([\s\S]*?(?=\n\n\n)/m;

const text = element("handler", HTMLTextAreaElement);
const apply = element("apply", HTMLButtonElement);
const reset = element("reset", HTMLButtonElement);
const status = element("handler-status", HTMLElement);

export class Editor {
  #original = "";
  /** @type {ActorWorker[]} */
  #actors = [];

  constructor() {
    text.addEventListener("input", () => this.#edited());
    apply.addEventListener("click", () => void this.#apply());
    reset.addEventListener("click", () => {
      this.#set(this.#original);
      this.#edited();
      void this.#apply();
    });
  }

  /** Shows the handler. @throws {Error} actor.py can't be had */
  async open() {
    const response = await fetch(new URL("./actor.py", import.meta.url));
    this.#original = HANDLER.exec(await response.text())?.[0] ?? "";
    this.#set(editedHandler() ?? this.#original);
    reset.disabled = this.text === this.#original;
    for (const control of [text, apply]) control.disabled = false;
  }

  /** @param {ActorWorker} actor that is to take what is applied */
  add(actor) {
    this.#actors.push(actor);
  }

  get text() {
    return text.value;
  }

  /** @param {string} who a peer's name @param {string} error what the handler's text, or what it did, has met */
  complain(who, error) {
    this.#say(`${who}: ${error}`, true);
  }

  /** @param {string} source */
  #set(source) {
    text.value = source;
    this.#fit();
  }

  #edited() {
    const isOriginal = this.text === this.#original;
    rememberHandler(isOriginal ? null : this.text);
    reset.disabled = isOriginal;
    this.#fit();
    this.#say("Edited. Apply it, or kill an actor: its next life takes it.");
  }

  async #apply() {
    this.#say("");
    const source = this.text;
    const outcomes = await Promise.all(this.#actors.map((actor) => applied(actor, source)));
    const failed = outcomes.find((outcome) => outcome !== "");
    // unless an error of the new handler has already taken its place
    if (failed !== undefined) this.#say(failed, true);
    else if (status.textContent === "") this.#say("Applied: the next messages are handled by it.");
  }

  /** @param {string} words */
  #say(words, isBad = false) {
    status.classList.toggle("bad", isBad);
    status.textContent = words;
  }

  /** As high as its text. */
  #fit() {
    text.rows = Math.min(16, Math.max(4, text.value.split("\n").length));
  }
}

/** @param {ActorWorker} actor @param {string} source @returns {Promise<string>} why not; "" if it is */
async function applied(actor, source) {
  try {
    await actor.takeHandler(source);
    return "";
  } catch (error) {
    const { name, message } = failureOf(error);
    // the next life takes it
    return name === "WorkerKilled" ? "" : message;
  }
}
