// One Pyodide for the importing module: the harness page, its module worker, or Node.

import { useClock } from "./clock.mjs";

/**
 * Loads Pyodide and gives a function that runs asynchronous Python in it.
 * @param {string | URL} pyodideUrl  folder of the Pyodide distribution, ending in a slash
 * @param {URL} [engineUrl]  the IndexedDB engine, for a page whose policy keeps Python from loading it
 * @returns {Promise<(code: string) => Promise<unknown>>} resolves with the value of the last expression, which has to
 * be a string, a number, a boolean or None; rejects with the Python traceback as its message
 */
export async function startPython(pyodideUrl, engineUrl) {
  const { loadPyodide } = await import(new URL("pyodide.mjs", pyodideUrl).href);
  /** @type {import("pyodide").PyodideAPI} */
  const pyodide = await loadPyodide();
  if (engineUrl) {
    pyodide.registerJsModule("pymailbox_js", await import(engineUrl.href));
  }
  return async (code) => {
    await pyodide.loadPackagesFromImports(code, { messageCallback: () => {} });
    return pyodide.runPythonAsync(code);
  };
}

/**
 * Starts Pyodide from the server that also serves this module, as the address of the harness asks for.
 * @param {URLSearchParams} parameters  `engine` is there when the engine is to be handed over; `clock`, when the clock is
 * to be put forward, is by how many milliseconds it begins ahead
 */
export function startServedPython(parameters) {
  const ahead = parameters.get("clock");
  if (ahead !== null) {
    useClock(Number(ahead));
  }
  const engineUrl = parameters.has("engine") ? new URL("/js/index.js", import.meta.url) : undefined;
  return startPython(new URL("/pyodide/", import.meta.url), engineUrl);
}
