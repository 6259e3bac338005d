/** The actor in its worker: starts it, pauses it, kills it and starts another one. */

import { addToLog } from "./log.js";
import { failureOf, hideProblem, page, showProblem } from "./page.js";
import { isMended, isPaused, rememberMended, rememberPaused } from "./web-storage.js";
import { WorkerClient } from "./worker-client.js";
import { loadingFailure, loadingText, workingFailure } from "./format.js";

/** @import { Failure, Handled, News, Entry } from "./types.js" */

export class ActorWorker {
  #mailbox;
  #nameOf;
  /** @type {WorkerClient | undefined} */
  #worker;
  #isLoaded = false;
  #hasWork = false;
  #kills = 0;
  /** Pauses and their ends that are on their way. */
  #changing = 0;
  #paused;

  /** @param {string} mailbox @param {(sender: string) => string} nameOf a sender for people */
  constructor(mailbox, nameOf) {
    this.#mailbox = mailbox;
    this.#nameOf = nameOf;
    this.#paused = isPaused(mailbox);
    page.mended.checked = isMended(mailbox);
    page.pause.addEventListener("click", () => void this.#pause(!this.#paused));
    page.kill.addEventListener("click", () => void this.kill());
    page.mended.addEventListener("change", () => void this.mend(page.mended.checked));
    // What is in hand goes back to the queue when the page is left; what that misses comes back as after a crash.
    for (const event of ["pagehide", "freeze"]) addEventListener(event, () => this.#worker?.release(), true);
    this.#show();
  }

  /** Loads Python in a new worker and lets the actor work. */
  async start() {
    const worker = (this.#worker = new WorkerClient(new URL("./worker.js", import.meta.url)));
    worker.onNews = (news) => this.#hear(news);
    worker.onLoading = (loading) => {
      page.loadingText.textContent = loadingText(loading);
      page.loadingProgress.max = loading.total || 1;
      page.loadingProgress.value = loading.loaded;
    };
    page.kill.disabled = false;
    page.loading.hidden = false;
    try {
      await worker.ask("load", this.#mailbox);
      await worker.ask("setMended", page.mended.checked);
    } catch (error) {
      if (this.#worker === worker) this.#showUnloadable(failureOf(error));
      return;
    }
    this.#isLoaded = true;
    page.loading.hidden = true;
    this.#show();
    if (!this.#paused) await this.#setWorking(true);
  }

  /** Ends the worker in the middle of whatever it does, and starts another one. */
  async kill() {
    const killed = this.#worker;
    if (killed === undefined) return;
    this.#worker = undefined;
    this.#isLoaded = false;
    this.#kills++;
    killed.kill();
    hideProblem();
    this.#show();
    await this.start();
  }

  /** Has the actor finish what it has in hand and stop, while something is done. @param {() => Promise<void>} task */
  async without(task) {
    if (this.#isLoaded) await this.#setWorking(false);
    await task();
    if (this.#isLoaded && !this.#paused) await this.#setWorking(true);
  }

  /** Ends a pause. */
  resume() {
    if (this.#paused) void this.#pause(false);
  }

  /** @param {boolean} mended whether the actor can take poison */
  async mend(mended) {
    page.mended.checked = mended;
    rememberMended(this.#mailbox, mended);
    if (this.#isLoaded) await this.#worker?.ask("setMended", mended).catch(() => {});
  }

  /** @param {boolean} hasWork whether anything waits for the actor */
  show(hasWork) {
    this.#hasWork = hasWork;
    this.#show();
  }

  /** @param {boolean} paused */
  async #pause(paused) {
    this.#paused = paused;
    rememberPaused(this.#mailbox, paused);
    this.#changing++;
    this.#show();
    if (this.#isLoaded) await this.#setWorking(!paused);
    this.#changing--;
    this.#show();
  }

  /** @param {boolean} working */
  async #setWorking(working) {
    const worker = this.#worker;
    try {
      await worker?.ask("setWorking", working);
    } catch (error) {
      if (this.#worker === worker) this.#showStopped(failureOf(error));
    }
  }

  /** @param {News} news */
  #hear({ handled, stopped }) {
    if (handled) {
      addToLog(
        page.log,
        handled.map((message) => this.#entry(message)),
      );
      page.logEmpty.hidden = true;
    }
    if (stopped) this.#showStopped(stopped);
  }

  /** @param {Handled} handled @returns {Entry} */
  #entry({ sender, priority, text, result }) {
    const high = priority === "HIGH";
    return { from: this.#nameOf(sender), tag: high ? "High" : "Normal", high, text, result };
  }

  /** @param {Failure} failure */
  #showStopped(failure) {
    showProblem(workingFailure(failure), failure, "Start it again", () => {
      hideProblem();
      if (!this.#paused) void this.#setWorking(true);
    });
  }

  /** @param {Failure} failure */
  #showUnloadable(failure) {
    page.loading.hidden = true;
    page.actorState.textContent = "The actor could not start.";
    page.pause.disabled = true;
    page.kill.disabled = true;
    showProblem(loadingFailure(failure), failure, "Load again", () => location.reload());
  }

  #show() {
    page.pause.setAttribute("aria-pressed", String(this.#paused));
    page.pause.textContent = this.#paused ? "Paused – resume" : "Pause the actor";
    page.actorState.textContent = this.#state();
  }

  #state() {
    if (page.pause.disabled) return "The actor could not start.";
    if (this.#paused) return this.#changing > 0 ? "The actor finishes what it has in hand." : "The actor is paused.";
    if (!this.#isLoaded)
      return this.#kills > 0
        ? "Its worker was killed. Another one is loading Python."
        : "The actor starts when Python is there.";
    return this.#hasWork ? "The actor is working." : "The actor waits for messages.";
  }
}
