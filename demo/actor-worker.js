/** The actor in its worker: starts it, pauses it, kills it and starts another one. */

import { addToLog } from "./log.js";
import { failureOf } from "./page.js";
import { isMended, isPaused, rememberMended, rememberPaused } from "./web-storage.js";
import { WorkerClient } from "./worker-client.js";
import { loadingFailure, loadingText, workingFailure } from "./format.js";

/** @import { Editor } from "./editor.js" */
/** @import { Pace } from "./pace.js" */
/** @import { PeerView } from "./peer-view.js" */
/** @import { Returned } from "./returned.js" */
/** @import { Failure, Handled, News, Entry, Peer } from "./types.js" */

/** Milliseconds until an actor that does not answer is taken for one that hangs. */
const PATIENCE = 3000;
const HANGS =
  "The actor does not answer. If the text never ends, mend it; kill the worker: its next life takes the text.";

export class ActorWorker {
  /** For people. */
  name;
  #view;
  #mailbox;
  #editor;
  #pace;
  #returned;
  #nameOf;
  /** @type {WorkerClient | undefined} */
  #worker;
  #isLoaded = false;
  /** Whether the handler's text was none when this life began. */
  #lacksHandler = false;
  #hasWork = false;
  #kills = 0;
  /** Pauses and their ends that are on their way. */
  #changing = 0;
  /** How much is being done meanwhile that it must not disturb. */
  #stills = 0;
  #paused;
  /** Called when Python is there. */
  onLoaded = () => {};

  /**
   * @param {PeerView} view
   * @param {Peer} me
   * @param {object} tools
   * @param {Editor} tools.editor
   * @param {Pace} tools.pace
   * @param {Returned} tools.returned
   * @param {(sender: string) => string} tools.nameOf a sender for people
   */
  constructor(view, me, { editor, pace, returned, nameOf }) {
    this.name = `Peer ${me.number}`;
    this.#view = view;
    this.#mailbox = me.mailbox;
    this.#editor = editor;
    this.#pace = pace;
    this.#returned = returned;
    this.#nameOf = nameOf;
    this.#paused = isPaused(me.mailbox);
    view.mended.checked = isMended(me.mailbox);
    view.pause.addEventListener("click", () => void this.#pause(!this.#paused));
    view.kill.addEventListener("click", () => void this.kill());
    view.mended.addEventListener("change", () => void this.mend(view.mended.checked));
    this.#show();
  }

  /** Loads Python in a new worker and lets the actor work. */
  async start() {
    const view = this.#view;
    const worker = (this.#worker = new WorkerClient(new URL("./worker.js", import.meta.url)));
    worker.onNews = (news) => this.#hear(news);
    worker.onLoading = (loading) => {
      view.loadingText.textContent = loadingText(loading);
      view.loadingProgress.max = loading.total || 1;
      view.loadingProgress.value = loading.loaded;
    };
    view.pause.disabled = false;
    view.kill.disabled = false;
    view.loading.hidden = false;
    try {
      await worker.ask("load", this.#mailbox);
      await this.#returned.settle();
    } catch (error) {
      if (this.#worker === worker) this.#showUnloadable(worker, failureOf(error));
      return;
    }
    if (this.#worker !== worker) return;
    // from here on it is told of each change at once
    this.#isLoaded = true;
    void this.#tell("setMended", view.mended.checked);
    void this.takePace();
    this.onLoaded();
    view.loading.hidden = true;
    try {
      await this.takeHandler(this.#editor.text);
      this.#editor.taken();
    } catch (error) {
      if (this.#worker !== worker) return;
      this.#lacksHandler = true;
      this.#editor.complain(this.name, failureOf(error).message);
    }
    this.#show();
  }

  /** Ends the worker in the middle of whatever it does, and starts another one. */
  async kill() {
    if (this.#worker === undefined) return;
    this.#end();
    await this.#returned.look().catch(() => {});
    await this.start();
  }

  #end() {
    this.#worker?.kill();
    this.#worker = undefined;
    this.#isLoaded = false;
    this.#lacksHandler = false;
    this.#kills++;
    this.#view.hideProblem();
    this.#show();
  }

  /** Whether Python is there; if not, what is changed counts once it is. */
  get isLoaded() {
    return this.#isLoaded;
  }

  /**
   * Handles what comes next by another handler.
   * @param {string | null} source null for the one it has
   * @throws {Error} a `HandlerError`: the text is none, and the handler stays; or the worker does not answer, and may
   * take it later
   */
  async takeHandler(source) {
    await inTime(this.#setHandler(source));
  }

  /** @param {string | null} source */
  async #setHandler(source) {
    const worker = this.#worker;
    if (source !== null) await worker?.ask("setHandler", source);
    if (this.#worker !== worker) return;
    this.#lacksHandler = false;
    this.#show();
    if (!this.#paused) await this.#setWorking(true);
  }

  /** Works as fast as the visitor has chosen. */
  async takePace() {
    await this.#tell("setPace", this.#pace.milliseconds);
  }

  /**
   * Has the actor finish what it has in hand and stop, while something is done. One that does not answer is killed, and
   * its next life begins afterwards.
   * @param {() => Promise<void>} task
   */
  async without(task) {
    this.#stills++;
    let hangs = false;
    if (this.#isLoaded)
      await inTime(this.#setWorking(false)).catch(() => {
        hangs = true;
        this.#end();
      });
    try {
      await task();
    } finally {
      this.#stills--;
      if (hangs) void this.start();
      else if (this.#isLoaded && !this.#paused) await this.#setWorking(true);
    }
  }

  /** Ends a pause. */
  resume() {
    if (this.#paused) void this.#pause(false);
  }

  /** @param {boolean} mended whether the actor can take poison */
  async mend(mended) {
    this.#view.mended.checked = mended;
    rememberMended(this.#mailbox, mended);
    await this.#tell("setMended", mended);
  }

  /**
   * @template {"setMended" | "setPace"} Name
   * @param {Name} request @param {Parameters<import("./types.js").Requests[Name]>} parameters
   */
  async #tell(request, ...parameters) {
    if (this.#isLoaded) await this.#worker?.ask(request, ...parameters).catch(() => {});
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
    if (working && (this.#lacksHandler || this.#stills > 0)) return;
    const worker = this.#worker;
    try {
      await worker?.ask("setWorking", working);
    } catch (error) {
      if (this.#worker === worker) this.#showStopped(failureOf(error));
    }
  }

  /** @param {News} news */
  #hear({ handled, back, stopped }) {
    if (handled) {
      addToLog(
        this.#view.log,
        handled.map((message) => this.#entry(message)),
      );
      this.#view.logEmpty.hidden = true;
      const broken = handled.findLast(({ how }) => how === "broken");
      if (broken) this.#editor.complain(this.name, `${broken.result}. Its message went back.`);
    }
    if (back && back.length > 0) this.#returned.done(back);
    if (stopped) this.#showStopped(stopped);
  }

  /** @param {Handled} handled @returns {Entry} */
  #entry({ how, sender, priority, delivery, text, result }) {
    const kind = how !== "answered" ? "failed" : delivery > 1 ? "back" : priority === "HIGH" ? "high" : "normal";
    return { from: this.#nameOf(sender), kind, text, result };
  }

  /** @param {Failure} failure */
  #showStopped(failure) {
    this.#view.showProblem(workingFailure(failure), failure, "Start it again", () => {
      this.#view.hideProblem();
      if (!this.#paused) void this.#setWorking(true);
    });
  }

  /** @param {WorkerClient} worker @param {Failure} failure */
  #showUnloadable(worker, failure) {
    worker.kill();
    this.#view.loading.hidden = true;
    this.#view.pause.disabled = true;
    this.#view.kill.disabled = true;
    this.#show();
    this.#view.showProblem(loadingFailure(failure), failure, "Try again", () => {
      this.#view.hideProblem();
      void this.start();
      this.#show();
    });
  }

  #show() {
    this.#view.pause.setAttribute("aria-pressed", String(this.#paused));
    this.#view.pause.textContent = this.#paused ? "Resume" : "Pause";
    this.#view.state.textContent = this.#state();
  }

  #state() {
    if (this.#view.pause.disabled) return "The actor could not start.";
    if (this.#paused) return this.#changing > 0 ? "Finishes what it has in hand" : "Paused";
    if (this.#lacksHandler) return "Waits for a handler that runs";
    if (!this.#isLoaded) return this.#kills > 0 ? "Killed; another worker is loading" : "Loading";
    return this.#hasWork ? "Working" : "Waits for messages";
  }
}

/** @param {Promise<void>} answer of the worker @throws {Error} it hangs; or what the answer is */
async function inTime(answer) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const hangs = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(HANGS)), PATIENCE);
  });
  await Promise.race([hangs, answer]).finally(() => clearTimeout(timer));
}
