/** The worker: loads Python, installs pymailbox, and passes the page's requests on to `rpc.py`. */

import { fileAt, startDownloads } from "./downloads.js";

/** @import { PyodideInterface } from "pyodide" */
/** @import { Failure, FromWorker, Loading, ToWorker } from "./types.js" */

/**
 * `Rpc` in rpc.py.
 * @typedef {{answer(request: string, ...parameters: unknown[]): Promise<string>}} Rpc
 */

const BASE = new URL("./", import.meta.url).href;
const PYODIDE = new URL("../pyodide/", BASE).href;
const WHEELS = new URL("../wheels/", BASE).href;

/** A Python error that the page can explain. */
class RpcError extends Error {
  /** @param {Failure} failure */
  constructor(failure) {
    super(failure.message);
    this.name = failure.name;
  }
}

/** @type {Rpc | undefined} */
let rpc;

addEventListener("message", (/** @type {MessageEvent<ToWorker>} */ { data }) => {
  // what else the page says is meant for the mailboxes
  if ("request" in data) void reply(data);
});

/** @param {ToWorker} asked */
async function reply(asked) {
  try {
    post({ kind: "answer", id: asked.id, value: await perform(asked) });
  } catch (error) {
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    post({ kind: "failure", id: asked.id, failure: { name, message } });
  }
}

/** @param {ToWorker} asked */
async function perform(asked) {
  switch (asked.request) {
    case "load":
      return load(...asked.arguments);
    case "setWorking":
      return ask("set_working", ...asked.arguments);
    case "setMended":
      return ask("set_mended", ...asked.arguments);
    case "setPace":
      return ask("set_pace", ...asked.arguments);
    case "setHandler":
      return ask("set_handler", ...asked.arguments);
  }
}

/** @param {string} mailbox */
async function load(mailbox) {
  /** @type {Loading} */
  const loading = { step: "download", loaded: 0, total: 0 };
  /** @param {Partial<Loading>} news */
  const report = (news) => post({ kind: "loading", loading: Object.assign(loading, news) });

  const [lock, wheel] = await Promise.all([fetchJson(`${PYODIDE}pyodide-lock.json`), fetchJson(`${WHEELS}wheel.json`)]);
  const micropip = ["micropip", ...lock.packages.micropip.depends].map((name) => lock.packages[name].file_name);
  const core = ["pyodide.asm.wasm", "pyodide.asm.mjs", "python_stdlib.zip"];
  await startDownloads(
    [...[...core, ...micropip].map((name) => PYODIDE + name), WHEELS + wheel.page],
    // The last byte is not the last step: from there on it is Python that takes its time.
    (loaded, total) => report(loaded < total ? { loaded, total } : { loaded, total, step: "start" }),
  );

  /** @type {typeof import("pyodide")} */
  const { loadPyodide } = await import(`${PYODIDE}pyodide.mjs`);
  const pyodide = await loadPyodide({ indexURL: PYODIDE, lockFileContents: lock, packageBaseUrl: PYODIDE });
  report({ step: "install" });
  await pyodide.loadPackage("micropip", { messageCallback: () => {} });
  await pyodide.pyimport("micropip").install(WHEELS + wheel.page);
  await Promise.all(["actor.py", "handler.py", "rpc.py"].map((name) => addModule(pyodide, name)));

  report({ step: "open" });
  rpc = /** @type {Rpc} */ (pyodide.pyimport("rpc").rpc);
  await ask("open", mailbox, (/** @type {string} */ news) => post({ kind: "news", news: JSON.parse(news) }));
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
 * @param {string} request a method of `Rpc`
 * @param {...unknown} parameters
 */
async function ask(request, ...parameters) {
  if (!rpc) throw new Error("Python is not there yet");
  const { value, failure } = JSON.parse(await rpc.answer(request, ...parameters));
  if (failure) throw new RpcError(failure);
  return value;
}

/** @param {FromWorker} message */
function post(message) {
  postMessage(message);
}
