/**
 * The switch “Offline”. It cuts this browser's peers from each other, and the page from its server: what the page is made
 * of then comes from its service worker, which reads the same mark.
 */

import { element } from "./page.js";

const MARK = new URL("./offline", import.meta.url).href;
const CACHE = "pymailbox-demo";
/** Milliseconds that a page waits for its first service worker. */
const PATIENCE = 1000;

const toggle = element("offline", HTMLInputElement);
const text = element("offline-text", HTMLElement);

export class Network {
  #others = new BroadcastChannel("pymailbox-demo-network");
  /** @type {((offline: boolean) => void)[]} */
  #listeners = [];

  constructor() {
    toggle.addEventListener("change", async () => {
      await mark(toggle.checked);
      this.#others.postMessage(toggle.checked);
      this.#show(toggle.checked);
    });
    this.#others.addEventListener("message", ({ data }) => this.#show(data));
  }

  /** Waits for the service worker, so that what is loaded from here on is kept, and finds out how the switch is. */
  async open() {
    const isNew = await startServiceWorker();
    if (isNew) void keepWhatIsThere();
    this.#show(await isMarked());
  }

  get offline() {
    return toggle.checked;
  }

  /** @param {(offline: boolean) => void} listener called at each change */
  listen(listener) {
    this.#listeners.push(listener);
  }

  /** @param {boolean} offline */
  #show(offline) {
    toggle.checked = offline;
    document.body.classList.toggle("offline", offline);
    text.textContent = !offline
      ? ""
      : hasServiceWorker()
        ? "What is for the other peer waits in an outbox. Reload the page: it is still there."
        : "What is for the other peer waits in an outbox. This browser has no service worker, so don't reload.";
    for (const listener of this.#listeners) listener(offline);
  }
}

const hasServiceWorker = () => Boolean(navigator.serviceWorker?.controller);

/** @returns {Promise<boolean>} whether it was not there when the page was loaded, and is now */
async function startServiceWorker() {
  if (!navigator.serviceWorker || hasServiceWorker()) return false;
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
  return hasServiceWorker();
}

/** What came before the service worker is asked for once more, through it. */
async function keepWhatIsThere() {
  const urls = performance.getEntriesByType("resource").map(({ name }) => name);
  for (const url of [document.URL, ...urls])
    if (new URL(url).origin === location.origin) await fetch(url).catch(() => {});
}

/** @param {boolean} offline */
async function mark(offline) {
  if (!("caches" in globalThis)) return;
  const cache = await caches.open(CACHE);
  await (offline ? cache.put(MARK, new Response("yes")) : cache.delete(MARK));
}

async function isMarked() {
  if (!("caches" in globalThis)) return false;
  return (await (await caches.open(CACHE)).match(MARK)) !== undefined;
}
