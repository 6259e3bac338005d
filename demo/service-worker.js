/**
 * Keeps the page with all that it loads, so that it can be reloaded without its network. As long as that is there, it
 * has the word: what is kept only stands in for it, so an old build never hides a new one.
 */

/** @import { ExtendableEvent, FetchEvent, ServiceWorkerScope } from "./types.js" */

const scope = /** @type {ServiceWorkerScope} */ (/** @type {unknown} */ (globalThis));

/** network.js knows both. */
const CACHE = "pymailbox-demo-files";
const MARK = new URL("./offline", location.href).href;

const [BASE, ENGINE, ...PYTHON] = ["./", "../js/", "../pyodide/", "../wheels/"].map(
  (folder) => new URL(folder, location.href).href,
);

scope.addEventListener("install", () => void scope.skipWaiting());

scope.addEventListener("activate", (event) => {
  /** @type {ExtendableEvent} */ (event).waitUntil(Promise.all([scope.clients.claim(), deleteOlderCaches()]));
});

scope.addEventListener("fetch", (event) => {
  const asked = /** @type {FetchEvent} */ (event);
  if (isOurs(asked.request)) asked.respondWith(answer(asked));
});

async function deleteOlderCaches() {
  const names = await caches.keys().catch(() => []);
  const older = names.filter((name) => name.startsWith("pymailbox-demo") && name !== CACHE);
  await Promise.all(older.map((name) => caches.delete(name)));
}

/** @param {Request} request */
function isOurs({ url, method }) {
  if (method !== "GET" && method !== "HEAD") return false;
  return isOfPage(url) || PYTHON.some((folder) => url.startsWith(folder));
}

/** Whether there is no page without it. Its own files lie beside this one; deeper ones are not its affair. @param {string} url */
function isOfPage(url) {
  const address = addressOf(url);
  return address.startsWith(ENGINE) || (address.startsWith(BASE) && !address.slice(BASE.length).includes("/"));
}

/** @param {string} url */
const addressOf = (url) => url.split(/[?#]/, 1)[0];

/** @param {FetchEvent} event @returns {Promise<Response>} */
async function answer(event) {
  const { request } = event;
  const { cache, kept, isCutOff } = await lookUp(request);
  // Without its own files the page could not be switched back.
  if (!isCutOff || (kept === undefined && isOfPage(request.url))) {
    try {
      const fresh = await fetch(request);
      if (cache && fresh.ok && request.method === "GET" && !isSame(kept, fresh))
        event.waitUntil(cache.put(addressOf(request.url), fresh.clone()).catch(() => {}));
      return fresh;
    } catch (error) {
      if (kept === undefined) throw error;
    }
  }
  if (kept === undefined) return Response.error();
  return request.method === "HEAD" ? new Response(null, kept) : kept;
}

/** What there is for a request; nothing where the browser keeps nothing. @param {Request} request */
async function lookUp(request) {
  try {
    const cache = await caches.open(CACHE);
    const kept = await cache.match(request, { ignoreSearch: true, ignoreMethod: true });
    return { cache, kept, isCutOff: (await cache.match(MARK)) !== undefined };
  } catch {
    return { cache: undefined, kept: undefined, isCutOff: false };
  }
}

/** Whether what is kept need not be written again. @param {Response | undefined} kept @param {Response} fresh */
function isSame(kept, fresh) {
  const [before, now] = [kept, fresh].map((response) =>
    ["ETag", "Last-Modified", "Content-Length"].map((name) => response?.headers.get(name) ?? null),
  );
  return (now[0] ?? now[1]) !== null && String(before) === String(now);
}
