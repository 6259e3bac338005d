// The store `pages` of one mailbox, in memory.

import assert from "node:assert/strict";
import { MailboxState } from "../../js/model/state.js";

/** @typedef {import("../../js/model/state.js").MailboxState} State */
/** @typedef {import("../../js/model/page-directory.js").PageEntry} PageEntry */

export class Rows {
  /** @type {Map<string, Uint8Array>} */
  rows = new Map();
  /** @type {any} */
  head;
  /** Rows written by the last save. */
  written = 0;
  /** How many rows were read. */
  read = 0;

  /** @param {State} state */
  save(state) {
    this.written = 0;
    for (const { key, to, bytes } of state.pack()) {
      if (bytes !== undefined) {
        this.rows.set(`${key}`, bytes.slice());
        this.written += 1;
        continue;
      }
      for (const name of [...this.rows.keys()]) {
        const [kind, number] = name.split(",").map(Number);
        if (kind === key[0] && number >= key[1] && number <= to) this.rows.delete(name);
      }
    }
    this.head = structuredClone(state.toStored());
  }

  /** @returns {State} */
  load() {
    const state = this.tryToLoad();
    assert.ok(state, "what was saved is a state");
    return state;
  }

  tryToLoad() {
    const state = MailboxState.from(structuredClone(this.head));
    if (state === undefined) return undefined;
    const { absent } = state;
    if (absent.length === 0) return state;
    return state.fill(absent.map(({ kind, number }) => this.rows.get(`${kind},${number}`))) ? state : undefined;
  }

  /** Opens pages; one that cannot be opened is forgotten. @param {State} state @param {PageEntry[]} entries */
  open(state, entries) {
    let lost = false;
    for (const entry of entries) {
      this.read += 1;
      if (state.pages.open(entry, this.rows.get(`${entry.kind},${entry.number}`))) continue;
      state.pages.remove(entry);
      lost = true;
    }
    if (!lost) return;
    this.open(state, state.pages.allLacking());
    state.pages.recount();
  }

  /** @template T @param {State} state @param {import("../../js/model/page-table.js").Steps<T>} steps @returns {T} */
  run(state, steps) {
    for (let rounds = 0; ; rounds++) {
      assert.ok(rounds < 10_000, "it comes to an end");
      const step = steps.next();
      if (step.done) return step.value;
      assert.ok(step.value.length > 0);
      this.open(state, step.value);
    }
  }
}
