// The floors of js/: a module imports only from its own and those below, so that each can be read without those above.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

/** From the lowest; the inspector builds on what users import. */
const FLOORS = ["model", "storage", "coordination", "engine", "api", "python.js", "index.js", "inspector"];

const ROOT = fileURLToPath(new URL("../../js", import.meta.url));

const IMPORT = /(?:from |import |import\()"(\.[^"]+)"/g;

/** @param {string} module its path in js/ */
const floorOf = (module) => FLOORS.indexOf(module.split("/")[0] ?? "");

const modules = readdirSync(ROOT, { recursive: true, encoding: "utf-8" }).filter((path) => /\.(js|ts)$/.test(path));

test("each module is on a floor", () => {
  assert.deepEqual(
    modules.filter((module) => floorOf(module) === -1),
    [],
  );
});

test("no module imports from above, not even types", () => {
  const upward = modules.flatMap((module) => {
    const imported = [...readFileSync(join(ROOT, module), "utf-8").matchAll(IMPORT)].map(([, path = ""]) =>
      normalize(join(dirname(module), path)),
    );
    return imported.filter((other) => floorOf(other) > floorOf(module)).map((other) => `${module} imports ${other}`);
  });
  assert.deepEqual(upward, []);
});

test("no module imports itself by way of others", () => {
  /** @type {Map<string, string[]>} */
  const imports = new Map();
  for (const module of modules) {
    const statements = readFileSync(join(ROOT, module), "utf-8").matchAll(/^(?:import|export)\b[^;]*?"(\.[^"]+)";$/gm);
    imports.set(
      module,
      [...statements].map(([, path = ""]) => normalize(join(dirname(module), path))),
    );
  }
  /** @type {Set<string>} */
  const seen = new Set();
  const visit = (/** @type {string} */ module, /** @type {string[]} */ path) => {
    assert.ok(!path.includes(module), [...path, module].join(" imports "));
    if (seen.has(module)) return;
    for (const other of imports.get(module) ?? []) visit(other, [...path, module]);
    seen.add(module);
  };
  for (const module of modules) visit(module, []);
});

test("no line is longer than 120 characters, which the formatter does not ensure for comments and texts", () => {
  const long = modules.flatMap((module) => {
    const lines = readFileSync(join(ROOT, module), "utf-8").split("\n");
    return lines.flatMap((line, i) => (line.length > 120 ? [`${module}:${i + 1}`] : []));
  });
  assert.deepEqual(long, []);
});

test("each module begins by saying what is in it", () => {
  const silent = modules.filter(
    (module) => !/^(?:\/\/\/ .*\n\n)?\/\*\*/.test(readFileSync(join(ROOT, module), "utf-8")),
  );
  assert.deepEqual(silent, []);
});
