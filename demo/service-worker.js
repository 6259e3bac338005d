/**
 * Keeps the page with all that it loads, so that it can be reloaded without its network. As long as that is there, it
 * has the word: what is kept only stands in for it, so an old build never hides a new one.
 */

/** @import { ExtendableEvent, FetchEvent, ServiceWorkerScope } from "./types.js" */

const scope = /** @type {ServiceWorkerScope} */ (/** @type {unknown} */ (globalThis));

/** network.js knows both. */
const CACHE = "pymailbox-demo";
const MARK = new URL("./offline", location.href).href;

const BASE = new URL("./", location.href).href;
const ENGINE = new URL("../js/", location.href).href;
/** The page's own files lie beside this one; other pages of the server are not its affair. */
const FOLDERS = /^(?:[^/]*|pyodide\/.*|wheels\/.*)$/;

scope.addEventListener("install", () => void scope.skipWaiting());

scope.addEventListener("activate", (event) => {
  /** @type {ExtendableEvent} */ (event).waitUntil(scope.clients.claim());
});

scope.addEventListener("fetch", (event) => {
  const asked = /** @type {FetchEvent} */ (event);
  if (isOurs(asked.request)) asked.respondWith(answer(asked));
});

/** @param {Request} request */
function isOurs({ url, method }) {
  const [address] = url.split(/[?#]/, 1);
  if (method !== "GET" && method !== "HEAD") return false;
  return address.startsWith(ENGINE) || (address.startsWith(BASE) && FOLDERS.test(address.slice(BASE.length)));
}

/** @param {FetchEvent} event @returns {Promise<Response>} */
async function answer(event) {
  const { request } = event;
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true, ignoreMethod: true });
  if ((await cache.match(MARK)) === undefined) {
    try {
      const fresh = await fetch(request);
      if (fresh.ok && request.method === "GET" && !isSame(kept, fresh))
        event.waitUntil(cache.put(request.url.split(/[?#]/, 1)[0], fresh.clone()).catch(() => {}));
      return fresh;
    } catch (error) {
      if (kept === undefined) throw error;
    }
  }
  if (kept === undefined) return Response.error();
  return request.method === "HEAD" ? new Response(null, kept) : kept;
}

/** Whether what is kept need not be written again. @param {Response | undefined} kept @param {Response} fresh */
function isSame(kept, fresh) {
  const [before, now] = [kept, fresh].map((response) =>
    ["ETag", "Last-Modified", "Content-Length"].map((name) => response?.headers.get(name) ?? null),
  );
  return (now[0] ?? now[1]) !== null && String(before) === String(now);
}
