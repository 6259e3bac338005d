/** The page's end of the line to its worker. */

/** @import { Failure, FromWorker, Loading, News, RequestName, Requests, ToWorker } from "./types.js" */

/** A request that failed; `name` tells how, see `Failure`. */
class RequestError extends Error {
  /** @param {Failure} failure */
  constructor(failure) {
    super(failure.message);
    this.name = failure.name;
  }
}

export class WorkerClient {
  /** What the first of them has compiled of Python, for the others. @type {WebAssembly.Module | undefined} */
  static #compiled;
  #worker;
  /** Whether a service worker keeps what it loads; otherwise the next one loads all of it once more, to be kept. */
  #isKept;
  #killed = new AbortController();
  #nextId = 0;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #pending = new Map();
  /** @type {(loading: Loading) => void} */
  onLoading = () => {};
  /** @type {(news: News) => void} */
  onNews = () => {};

  /** @param {URL} url of a module */
  constructor(url) {
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.addEventListener("message", (/** @type {MessageEvent<FromWorker>} */ { data }) => this.#hear(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#failAll({ name: "WorkerError", message: event.message || "The page's worker could not be loaded." });
    });
    if (WorkerClient.#compiled) this.#post({ compiled: WorkerClient.#compiled });
    this.#isKept = navigator.serviceWorker?.controller !== null;
    // What is in hand goes back to the queue when the page is left; what that misses comes back as after a crash.
    const { signal } = this.#killed;
    for (const event of ["pagehide", "freeze"])
      addEventListener(event, () => this.#release(), { capture: true, signal });
  }

  /**
   * @template {RequestName} Name
   * @param {Name} request
   * @param {Parameters<Requests[Name]>} parameters
   * @returns {Promise<ReturnType<Requests[Name]>>}
   * @throws {RequestError}
   */
  ask(request, ...parameters) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#post(/** @type {ToWorker} */ ({ id, request, arguments: parameters }));
    });
  }

  /** Has the mailboxes give back what is in hand, at once: they hear this message themselves. */
  #release() {
    this.#worker.postMessage({ pymailbox: "release" });
  }

  /** Ends the worker wherever it is; what was asked of it fails as a `WorkerKilled`. */
  kill() {
    this.#worker.terminate();
    this.#killed.abort();
    this.#failAll({ name: "WorkerKilled", message: "The worker was killed." });
  }

  /** @param {ToWorker} message */
  #post(message) {
    this.#worker.postMessage(message);
  }

  /** @param {FromWorker} message */
  #hear(message) {
    switch (message.kind) {
      case "loading":
        return this.onLoading(message.loading);
      case "news":
        return this.onNews(message.news);
      case "compiled":
        if (this.#isKept) WorkerClient.#compiled = message.module;
        return;
      case "answer":
        this.#pending.get(message.id)?.resolve(message.value);
        break;
      case "failure":
        this.#pending.get(message.id)?.reject(new RequestError(message.failure));
    }
    this.#pending.delete(message.id);
  }

  /** @param {Failure} failure */
  #failAll(failure) {
    for (const { reject } of this.#pending.values()) reject(new RequestError(failure));
    this.#pending.clear();
  }
}
