/** The way to the server side of the demo, which tools/serve_demo.py has and a server of plain files has not. */

/** @import { ServerState } from "./types.js" */

const BASE = new URL("../server/", import.meta.url);

/** How it is. @throws {Error} as below */
export const lookAtServer = () => ask("", {});

/**
 * Has it do something.
 * @param {"open" | "kill" | "start"} what
 * @throws {Error} it does not answer; `NoServerSideError`: this page's server has none; `OtherAddressError`: it has one,
 *   but not for pages at this address; the message says at which
 */
export const askServer = (what) => ask(what, { method: "POST" });

/** @param {string} what @param {RequestInit} options @returns {Promise<ServerState>} how it is afterwards */
async function ask(what, options) {
  const response = await fetch(new URL(what, BASE), options);
  const type = response.headers.get("Content-Type");
  if (type === "application/json") {
    const told = await response.json();
    if (response.ok) return told;
    if (response.status === 403 && told.problem)
      throw Object.assign(new Error(told.problem), { name: "OtherAddressError" });
  }
  throw Object.assign(new Error(`${response.status} ${response.statusText}`), { name: "NoServerSideError" });
}
