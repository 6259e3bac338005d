/** Downloads whose bytes are counted as they arrive. */

/**
 * Starts to download all `urls` and from then on answers `fetch` for each of them, once, with what is on its way.
 *
 * @param {string[]} urls absolute
 * @param {(loaded: number, total: number) => void} report called with the bytes so far and in all
 * @returns {Promise<void>} when all of them have begun to arrive
 * @throws {Error} one of them cannot be loaded
 */
export async function startDownloads(urls, report) {
  const plainFetch = globalThis.fetch;
  const sizes = await Promise.all(urls.map((url) => sizeOf(url, plainFetch)));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let loaded = 0;
  report(loaded, total);

  /** @type {Map<string, Response>} */
  const arriving = new Map();
  globalThis.fetch = async (input, options) => {
    const url = input instanceof Request ? input.url : new URL(input, globalThis.location.href).href;
    const response = arriving.get(url);
    arriving.delete(url);
    return response ?? plainFetch(input, options);
  };

  await Promise.all(
    urls.map(async (url, index) => {
      const response = await fileAt(url, {}, plainFetch);
      arriving.set(url, response);
      void count(response.clone(), sizes[index], (bytes) => {
        loaded += bytes;
        report(loaded, total);
      });
    }),
  );
}

/**
 * A file of this page's server.
 * @param {string} url
 * @param {RequestInit} [options]
 * @param {typeof globalThis.fetch} [plainFetch]
 * @throws {Error} it cannot be loaded; names it
 */
export async function fileAt(url, options = {}, plainFetch = globalThis.fetch) {
  const response = await plainFetch(url, options).catch((/** @type {Error} */ { message }) => {
    throw new Error(`${url} cannot be loaded: ${message}`);
  });
  if (!response.ok) throw new Error(`${url} cannot be loaded: ${response.status} ${response.statusText}`);
  return response;
}

/**
 * @param {string} url
 * @param {typeof fetch} plainFetch
 * @returns {Promise<number>} bytes
 */
async function sizeOf(url, plainFetch) {
  const response = await fileAt(url, { method: "HEAD" }, plainFetch);
  return Number(response.headers.get("Content-Length") ?? 0);
}

/**
 * @param {Response} response
 * @param {number} size its Content-Length, which is less than what arrives here if the server compresses
 * @param {(bytes: number) => void} add
 */
async function count(response, size, add) {
  let counted = 0;
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done) break;
      const bytes = Math.min(value.length, size - counted);
      counted += bytes;
      add(bytes);
    }
  } catch {
    // The other reader of the same response meets this error too, and reports it.
    return;
  }
  add(size - counted);
}
