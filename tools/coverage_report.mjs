// Prints the lines of js/ that no test ran, as `make coverage` counted them in Node and in Chromium.

import { readdir, readFile } from "node:fs/promises";
import { CoverageReport } from "monocart-coverage-reports";

const root = new URL("../", import.meta.url);
const counted = new URL("build/coverage/", root);

/** Where the pages' server has the engine, and where the server of the JavaScript API's tests has it. */
const SERVED = /^http:[/]+[^/]+[/](?:js|pymailbox|bundled)[/]/;

/** The file in js/ that a page or Node loaded from an address; undefined for any other. @param {string} url */
function fileOf(url) {
  const local = url.replace(SERVED, `${root}js/`);
  return local.startsWith(`${root}js/`) ? new URL(local) : undefined;
}

/** @param {URL} folder @param {string} ending */
async function* read(folder, ending) {
  for (const name of await readdir(folder)) {
    if (name.endsWith(ending)) yield JSON.parse(await readFile(new URL(name, folder), "utf8"));
  }
}

const report = new CoverageReport({
  outputDir: "build/coverage/js-html",
  reports: ["v8", "console-details"],
  logging: "error",
});
/** @param {{ url: string, functions: object[] }[]} scripts */
async function add(scripts) {
  const entries = [];
  for (const { url, functions } of scripts) {
    const file = fileOf(url);
    if (file) entries.push({ url: file.href, functions, source: await readFile(file, "utf8") });
  }
  if (entries.length) await report.add(entries);
}
for await (const scripts of read(new URL("pages/", counted), ".js.json")) await add(scripts);
for await (const { result } of read(new URL("node/", counted), ".json")) await add(result);
await report.generate();
