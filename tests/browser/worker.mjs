// The harness's module worker: answers {id, code} with {id, result} or {id, error}.

import { startServedPython } from "./python.mjs";

const python = startServedPython(new URLSearchParams(location.search));

globalThis.onmessage = async ({ data: { id, code } }) => {
  if (code === undefined) return; // not for the harness
  try {
    const result = await (await python)(code);
    globalThis.postMessage({ id, result });
  } catch (error) {
    globalThis.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
