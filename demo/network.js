/**
 * The switch “Network”. Off, it cuts this browser's peers from each other, the relay from its server, and the page from
 * the one that it comes from: what the page is made of then comes from its service worker, which reads the same mark.
 */

import { element } from "./page.js";

const MARK = new URL("./offline", import.meta.url).href;
const CACHE = "pymailbox-demo-files";
/** The largest file that the actor's worker loads. */
const PYTHON = new URL("../pyodide/pyodide.asm.wasm", import.meta.url).href;
/** Milliseconds that a page waits for its first service worker. */
const PATIENCE = 1000;

const toggle = element("network", HTMLInputElement);
const text = element("network-text", HTMLElement);

export class Network {
  #others = new BroadcastChannel("pymailbox-demo-network");
  /** @type {((offline: boolean) => void)[]} */
  #listeners = [];
  /** Whether the page may be cut off: all of it has been loaded. */
  #isLoaded = false;
  /** Whether it can be reloaded then. */
  #isKept = false;

  constructor() {
    toggle.addEventListener("change", async () => {
      const { offline } = this;
      await mark(offline);
      this.#others.postMessage(offline);
      this.#show(offline);
    });
    this.#others.addEventListener("message", ({ data }) => this.#show(data));
  }

  /** Waits for the service worker, so that what is loaded from here on is kept, and finds out how the switch is. */
  async open() {
    await startServiceWorker();
    const offline = await isMarked();
    if (offline) this.#isKept = await isKept();
    this.#show(offline);
  }

  /** Has the page kept once Python is there; only from then on can it be cut off. */
  async keep() {
    if (!wasControlled && hasServiceWorker()) await keepWhatIsThere();
    this.#isKept = await isKept();
    this.#isLoaded = true;
    this.#show(this.offline);
  }

  get offline() {
    return !toggle.checked;
  }

  /** @param {(offline: boolean) => void} listener called at each change */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /** @param {boolean} offline */
  #show(offline) {
    toggle.checked = !offline;
    toggle.disabled = !offline && !this.#isLoaded;
    toggle.title = toggle.disabled ? "Once all of the page is loaded and kept" : "";
    text.textContent = !offline
      ? ""
      : this.#isKept
        ? "The network is off: what is for others waits in an outbox. Reload the page: it is still there."
        : "The network is off: what is for others waits in an outbox. The browser has not kept this page, so don't reload.";
    for (const listener of this.#listeners) listener(offline);
  }
}

const hasServiceWorker = () => Boolean(navigator.serviceWorker?.controller);
const wasControlled = hasServiceWorker();

async function startServiceWorker() {
  if (!navigator.serviceWorker || hasServiceWorker()) return;
  try {
    const controlled = new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
      setTimeout(resolve, PATIENCE);
    });
    await navigator.serviceWorker.register(new URL("./service-worker.js", import.meta.url));
    await controlled;
  } catch (error) {
    console.warn("There is no service worker, so the page needs its network:", error);
  }
}

/** What came before the service worker is asked for once more, through it. */
async function keepWhatIsThere() {
  const urls = performance.getEntriesByType("resource").map(({ name }) => name);
  for (const url of [document.URL, ...urls])
    if (new URL(url).origin === location.origin) await fetch(url).catch(() => {});
}

/** @param {boolean} offline */
async function mark(offline) {
  try {
    const cache = await caches.open(CACHE);
    await (offline ? cache.put(MARK, new Response("yes")) : cache.delete(MARK));
  } catch {
    // where the browser keeps nothing, the switch lasts as long as the page
  }
}

const isMarked = () => has(MARK);

/** Whether a reload finds the page and its Python without the network. */
async function isKept() {
  const registration = await navigator.serviceWorker?.getRegistration().catch(() => undefined);
  return Boolean(registration?.active) && (await has(document.URL)) && (await has(PYTHON));
}

/** @param {string} url */
async function has(url) {
  try {
    return (await (await caches.open(CACHE)).match(url, { ignoreSearch: true })) !== undefined;
  } catch {
    return false;
  }
}
