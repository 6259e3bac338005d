// What the demo's workers share of Python.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { compileOnce } from "../../demo/compiled.js";
import { startDownloads } from "../../demo/downloads.js";

const URL = "http://page.test/python.wasm";
const PACKAGE = "http://page.test/package.whl";
/** A module without anything in it. */
const BYTES = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const MODULE = new WebAssembly.Module(BYTES);

const { instantiateStreaming } = WebAssembly;
/** @type {string[]} */
let asked = [];

beforeEach(() => {
  asked = [];
  Object.assign(globalThis, { location: { href: "http://page.test/" } });
  WebAssembly.instantiateStreaming = instantiateStreaming;
  globalThis.fetch = async (url) => {
    asked.push(String(url));
    return new Response(BYTES, { headers: { "Content-Type": "application/wasm", "Content-Length": "8" } });
  };
});

/** As Pyodide does it. */
async function load() {
  return WebAssembly.instantiateStreaming(fetch(URL), {});
}

test("the first worker tells what it has compiled, once", async () => {
  /** @type {WebAssembly.Module[]} */
  const told = [];
  compileOnce(URL, undefined, (module) => told.push(module));
  const { module } = await load();
  await load();
  assert.deepEqual(told, [module]);
  assert.deepEqual(asked, [URL, URL]);
});

test("a later one loads all but that, and each file once", async () => {
  compileOnce(URL, MODULE, () => assert.fail());
  await startDownloads([PACKAGE], () => {});
  const downloads = [...asked];
  const { module, instance } = await load();
  assert.equal(module, MODULE);
  assert.ok(instance instanceof WebAssembly.Instance);
  assert.equal((await (await fetch(PACKAGE)).arrayBuffer()).byteLength, BYTES.length);
  assert.deepEqual(asked, downloads);
});

test("what cannot be used here is compiled anew", async () => {
  const needy = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, 7, 1, 1, 0x61, 1, 0x62, 0, 0];
  compileOnce(URL, new WebAssembly.Module(new Uint8Array(needy)), () => assert.fail());
  const { instance } = await load();
  assert.ok(instance instanceof WebAssembly.Instance);
  assert.deepEqual(asked, [URL]);
});
