/** The handler's text. All actors of the page take what is there when it is applied, and each when its life begins. */

import { element, failureOf } from "./page.js";
import { editedHandler, rememberHandler } from "./web-storage.js";
import { fileAt } from "./downloads.js";
import { appliedText, unshownText } from "./format.js";

/** @import { ActorWorker } from "./actor-worker.js" */

/** `handle` in actor.py: to where the next definition begins. */
const HANDLER = /^async def handle\([\s\S]*?(?=\n\n\n)/m;

const text = element("handler", HTMLTextAreaElement);
const apply = element("apply", HTMLButtonElement);
const reset = element("reset", HTMLButtonElement);
const status = element("handler-status", HTMLElement);

export class Editor {
  /** None where actor.py could not be had. @type {string | null} */
  #original = null;
  /** @type {ActorWorker[]} */
  #actors = [];
  /** Whether it says last that an actor is still to take the text. */
  #isAwaited = false;

  constructor() {
    text.addEventListener("input", () => this.#edited());
    apply.addEventListener("click", () => void this.#apply());
    reset.addEventListener("click", () => {
      this.#set(this.#original ?? "");
      this.#edited();
      void this.#apply();
    });
  }

  /** Shows the handler: as the visitor has left it, or that of actor.py. */
  async open() {
    /** @type {unknown} */
    let failure;
    try {
      const actor = await (await fileAt(new URL("./actor.py", import.meta.url).href)).text();
      this.#original = HANDLER.exec(actor)?.[0] ?? null;
    } catch (error) {
      failure = error;
    }
    const shown = editedHandler() ?? this.#original;
    if (shown === null) return this.#say(unshownText(failureOf(failure)), true);
    this.#set(shown);
    reset.disabled = this.#original === null || shown === this.#original;
    for (const control of [text, apply]) control.disabled = false;
  }

  /** @param {ActorWorker} actor that is to take what is applied */
  add(actor) {
    this.#actors.push(actor);
  }

  /** An actor whose life has begun has taken the text. */
  taken() {
    if (this.#isAwaited) this.#sayApplied();
  }

  /** Nothing where there is none to be seen: then actors keep their own. */
  get text() {
    return text.disabled ? null : text.value;
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
    const isOriginal = text.value === this.#original;
    rememberHandler(isOriginal ? null : text.value);
    reset.disabled = isOriginal || this.#original === null;
    this.#fit();
    this.#say("Edited. Apply it, or kill an actor: its next life takes it.");
  }

  async #apply() {
    this.#say("");
    const source = this.text;
    const loaded = this.#actors.filter(({ isLoaded }) => isLoaded);
    const outcomes = await Promise.all(loaded.map((actor) => applied(actor, source)));
    const failed = outcomes.find((outcome) => outcome !== "");
    // unless an error of the new handler has already taken its place
    if (failed !== undefined) this.#say(failed, true);
    else if (status.textContent === "") this.#sayApplied();
  }

  #sayApplied() {
    const loading = this.#actors.filter(({ isLoaded }) => !isLoaded).map(({ name }) => name);
    this.#say(appliedText(loading, this.#actors.length - loading.length));
    this.#isAwaited = loading.length > 0;
  }

  /** @param {string} words */
  #say(words, isBad = false) {
    this.#isAwaited = false;
    status.classList.toggle("bad", isBad);
    status.textContent = words;
  }

  /** As high as its text. */
  #fit() {
    text.rows = Math.min(16, Math.max(4, text.value.split("\n").length));
  }
}

/** @param {ActorWorker} actor @param {string | null} source @returns {Promise<string>} why not; "" if it is */
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
