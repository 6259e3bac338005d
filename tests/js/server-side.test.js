// What the demo page makes of the answers of its server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { askServer } from "../../demo/server-side.js";

/** @param {unknown} told @param {number} status */
const json = (told, status) => Response.json(told, { status });

for (const [what, answer, wanted] of /** @type {[string, Response, object][]} */ ([
  ["a server of files", new Response("", { status: 404 }), { name: "NoServerSideError" }],
  ["a server of files that forbids", new Response("", { status: 403 }), { name: "NoServerSideError" }],
  ["a host of files that forbids", json({ message: "no" }, 403), { name: "NoServerSideError" }],
  [
    "the demo's own, for a page at another address",
    json({ problem: "Open it there" }, 403),
    { name: "OtherAddressError", message: "Open it there" },
  ],
]))
  test(`${what} is known by its answer`, async (context) => {
    context.mock.method(globalThis, "fetch", async () => answer);
    await assert.rejects(askServer("open"), wanted);
  });

test("how the server side is", async (context) => {
  context.mock.method(globalThis, "fetch", async () => json({ runs: true }, 200));
  assert.deepEqual(await askServer("open"), { runs: true });
});
