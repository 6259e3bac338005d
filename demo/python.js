/** What the page's workers share: Python with pymailbox in it, and the page's requests, which are passed on to it. */

import { compileOnce } from "./compiled.js";
import { fileAt, startDownloads } from "./downloads.js";
import { failureOf } from "./page.js";

/** @import { PyodideInterface } from "pyodide" */
/** @import { Asked, Failure, FromWorker, Loading, RequestName, Requests, ToWorker } from "./types.js" */

/**
 * `Answering` in answering.py.
 * @typedef {{answer(request: string, ...parameters: unknown[]): Promise<string>}} Answering
 */

/** What a worker can be asked for. @typedef {Partial<{[Name in RequestName]: (...parameters: Parameters<Requests[Name]>) => Promise<unknown>}>} Answers */

const BASE = new URL("./", import.meta.url).href;
const PYODIDE = new URL("../pyodide/", BASE).href;
const WHEELS = new URL("../wheels/", BASE).href;
const WASM = "pyodide.asm.wasm";

/** A Python error that the page can explain. */
class RpcError extends Error {
  /** @param {Failure} failure */
  constructor(failure) {
    super(failure.message);
    this.name = failure.name;
  }
}

/** @type {Answering | undefined} */
let answering;

/** What a worker before this one has compiled of Python. @type {WebAssembly.Module | undefined} */
let compiled;

/** Answers the page from now on. @param {Answers} answers */
export function answer(answers) {
  addEventListener("message", (/** @type {MessageEvent<ToWorker>} */ { data }) => {
    // what else the page says is meant for the mailboxes
    if ("request" in data) void reply(answers, data);
    else if ("compiled" in data) compiled = data.compiled;
  });
}

/** @param {Answers} answers @param {Asked} asked */
async function reply(answers, { id, request, arguments: parameters }) {
  const perform = /** @type {(...parameters: unknown[]) => Promise<unknown>} */ (answers[request]);
  try {
    post({ kind: "answer", id, value: await perform(...parameters) });
  } catch (error) {
    post({ kind: "failure", id, failure: failureOf(error) });
  }
}

/**
 * Loads Python, and tells the page how far it is.
 * @param {object} needs
 * @param {string} needs.main the Python file of the demo whose `answering` answers
 * @param {string[]} needs.modules those that it imports
 * @param {string[]} needs.wheels of pymailbox, by their names in wheel.json
 * @param {string[]} needs.packages of the Pyodide distribution
 */
export async function loadPython({ main, modules, wheels, packages }) {
  /** @type {Loading} */
  const loading = { step: "download", loaded: 0, total: 0 };
  /** @param {Partial<Loading>} news */
  const report = (news) => post({ kind: "loading", loading: Object.assign(loading, news) });

  const [lock, names] = await Promise.all([fetchJson(`${PYODIDE}pyodide-lock.json`), fetchJson(`${WHEELS}wheel.json`)]);
  const needed = ["micropip", ...lock.packages.micropip.depends, ...packages];
  const files = needed.map((name) => lock.packages[name].file_name);
  const ours = wheels.map((name) => WHEELS + names[name]);
  const core = [...(compiled ? [] : [WASM]), "pyodide.asm.mjs", "python_stdlib.zip"];
  compileOnce(PYODIDE + WASM, compiled, (module) => post({ kind: "compiled", module }));
  await startDownloads(
    [...[...core, ...files].map((name) => PYODIDE + name), ...ours],
    // The last byte is not the last step: from there on it is Python that takes its time.
    (loaded, total) => report(loaded < total ? { loaded, total } : { loaded, total, step: "start" }),
  );

  /** @type {typeof import("pyodide")} */
  const { loadPyodide } = await import(`${PYODIDE}pyodide.mjs`);
  const pyodide = await loadPyodide({ indexURL: PYODIDE, lockFileContents: lock, packageBaseUrl: PYODIDE });
  report({ step: "install" });
  await pyodide.loadPackage(["micropip", ...packages], { messageCallback: () => {} });
  await pyodide.pyimport("micropip").install(ours);
  await Promise.all(["answering.py", ...modules, main].map((name) => addModule(pyodide, name)));

  report({ step: "open" });
  answering = /** @type {Answering} */ (pyodide.pyimport(main.replace(".py", "")).answering);
}

/** @param {string} url @returns {Promise<any>} */
async function fetchJson(url) {
  return (await fileAt(url)).json();
}

/**
 * Puts a Python file of the demo where `import` finds it.
 * @param {PyodideInterface} pyodide
 * @param {string} name
 */
async function addModule(pyodide, name) {
  const source = await (await fileAt(BASE + name)).text();
  pyodide.FS.writeFile(`${pyodide.FS.cwd()}/${name}`, source);
}

/**
 * @param {string} request a method in Python
 * @param {...unknown} parameters
 */
export async function ask(request, ...parameters) {
  if (!answering) throw new Error("Python is not there yet");
  const { value, failure } = JSON.parse(await answering.answer(request, ...parameters));
  if (failure) throw new RpcError(failure);
  return value;
}

/** @param {FromWorker} message */
export function post(message) {
  postMessage(message);
}
