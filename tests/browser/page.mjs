// The harness page: runs Python here with ?in=page, or with ?in=worker in a module worker, for whatever drives the
// browser; with anything else it is a page without Python.
// Drivers call `runPython(code)` and get a promise; `endWorker()` ends the worker, whatever that is doing.

import { startServedPython } from "./python.mjs";

const parameters = new URLSearchParams(location.search);

/** @returns {Promise<(code: string) => Promise<unknown>>} */
async function startWorker() {
  const worker = new Worker(`worker.mjs${location.search}`, { type: "module" });
  Object.assign(globalThis, { endWorker: () => worker.terminate() });
  for (const event of ["pagehide", "freeze"])
    addEventListener(event, () => worker.postMessage({ pymailbox: "release" }), true);
  /** @type {Map<number, { resolve: (value: unknown) => void, reject: (error: Error) => void }>} */
  const calls = new Map();
  let lastId = 0;
  worker.onmessage = ({ data: { id, result, error } }) => {
    const call = calls.get(id);
    calls.delete(id);
    if (error === undefined) {
      call?.resolve(result);
    } else {
      call?.reject(new Error(error));
    }
  };
  worker.onerror = (event) => {
    for (const call of calls.values()) {
      call.reject(new Error(`the worker failed: ${event.message}`));
    }
    calls.clear();
  };
  return (code) =>
    new Promise((resolve, reject) => {
      calls.set(++lastId, { resolve, reject });
      worker.postMessage({ id: lastId, code });
    });
}

const place = parameters.get("in");
const python =
  place === "worker" ? startWorker() : place === "page" ? startServedPython(parameters) : Promise.resolve(undefined);

/** @param {string} code */
async function runPython(code) {
  return (await python)?.(code);
}

Object.assign(globalThis, { runPython });
