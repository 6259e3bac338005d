// The page that runs the benchmark: Pyodide with the wheel in it, and all contestants. `bench/tabs.py` drives it: it calls
// the methods of `globalThis.bench` and waits for their promises.

import * as durability from "../contestants/durability.js";
import IDBMapSync from "@webreflection/idb-map/sync";
import * as session from "./session.js";

const HOME = "/home/pyodide";

/** The other side of `pyscript.storage`, as polyscript makes it: `registerJSModule` in its `interpreter/_python.js`. */
const polyscript = {
  /** @param {string} name */
  async storage(name) {
    const storage = new IDBMapSync(name);
    await storage.sync();
    return storage;
  },
};

/** @type {import("pyodide").PyodideAPI} */
let pyodide;

/** @type {any} */
let pythonSession;

const bench = {
  /**
   * Starts Python.
   * @param {string} wheels URLs, separated by spaces, of what micropip installs
   * @param {Record<string, string>} files Python modules, by their paths in Python's home, and their URLs
   */
  async start(wheels, files) {
    const url = new URL("/pyodide/pyodide.mjs", import.meta.url).href;
    /** @type {typeof import("pyodide")} */
    const { loadPyodide } = await import(url);
    pyodide = await loadPyodide();
    pyodide.registerJsModule("polyscript", polyscript);
    pyodide.registerJsModule("bench_durability", { ...durability });
    await pyodide.loadPackage("micropip", { messageCallback: () => {} });
    await pyodide.pyimport("micropip").install(wheels.split(" "));
    for (const [path, source] of Object.entries(files)) {
      const target = `${HOME}/${path}`;
      pyodide.FS.mkdirTree(target.slice(0, target.lastIndexOf("/")));
      pyodide.FS.writeFile(target, await (await fetch(source)).text());
    }
    pythonSession = pyodide.pyimport("bench.session");
  },

  /** @param {string} contestant @param {import("../types.js").Job} job */
  async prepare(contestant, job) {
    if (contestant in session.CONTESTANTS) await session.prepare(contestant, job);
    else await pythonSession.prepare(contestant, JSON.stringify(job));
  },

  /** @param {string} contestant @returns {Promise<number>} */
  measure: (contestant) =>
    contestant in session.CONTESTANTS ? session.measure(contestant) : pythonSession.measure(contestant),

  /** @param {string} contestant */
  async finish(contestant) {
    if (contestant in session.CONTESTANTS) await session.finish(contestant);
    else await pythonSession.finish(contestant);
  },

  /** Runs asynchronous Python. @param {string} code @returns {Promise<unknown>} */
  runPython: (code) => pyodide.runPythonAsync(code),
};

Object.assign(globalThis, { bench });
