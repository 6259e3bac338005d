// Pyodide in Node, for tests in Python.
// Usage: node node_runtime.mjs, then requests as in json_lines.mjs.

import { serveRequests } from "./json_lines.mjs";
import { startPython } from "./python.mjs";

const runPython = await startPython(new URL("../../build/pyodide/", import.meta.url));
await serveRequests({ runPython });
process.exit();
