// The page that runs the benchmark: Pyodide with the wheel in it, and all competitors. `bench/environments.py` drives
// it: it calls the methods of `globalThis.bench` and waits for their promises.

import * as durability from "../competitors/durability.js";
import { storedBytes } from "../competitors/indexeddb.js";
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
   * @param {Record<string, string>} files URLs of Python modules, by their paths in Python's home
   */
  async start(wheels, files) {
    const url = new URL("/pyodide/pyodide.mjs", import.meta.url).href;
    /** @type {typeof import("pyodide")} */
    const { loadPyodide } = await import(url);
    pyodide = await loadPyodide();
    pyodide.registerJsModule("polyscript", polyscript);
    pyodide.registerJsModule("bench_durability", { ...durability });
    pyodide.registerJsModule("bench_indexeddb", { storedBytes });
    await pyodide.loadPackage("micropip", { messageCallback: () => {} });
    await pyodide.pyimport("micropip").install(wheels.split(" "));
    for (const [path, source] of Object.entries(files)) {
      const target = `${HOME}/${path}`;
      pyodide.FS.mkdirTree(target.slice(0, target.lastIndexOf("/")));
      pyodide.FS.writeFile(target, await (await fetch(source)).text());
    }
    pythonSession = pyodide.pyimport("bench.session");
  },

  /** @param {string} competitor @param {import("../types.js").Job} job */
  async prepare(competitor, job) {
    if (competitor in session.COMPETITORS) await session.prepare(competitor, job);
    else await pythonSession.prepare(competitor, JSON.stringify(job));
  },

  /** @param {string} competitor @returns {Promise<number>} */
  measure: (competitor) =>
    competitor in session.COMPETITORS ? session.measure(competitor) : pythonSession.measure(competitor),

  /** @param {string} competitor */
  async finish(competitor) {
    if (competitor in session.COMPETITORS) await session.finish(competitor);
    else await pythonSession.finish(competitor);
  },

  /** Runs asynchronous Python. @param {string} code @returns {Promise<unknown>} */
  runPython: (code) => pyodide.runPythonAsync(code),
};

Object.assign(globalThis, { bench });
