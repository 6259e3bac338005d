// What a handle still has to release, if a page is left or a lock taken away while a transaction is under way.

import assert from "node:assert/strict";
import { test } from "node:test";
import { UnloadNotes } from "../../js/coordination/unload-notes.js";
import { PendingReleases } from "../../js/engine/pending-releases.js";
import { writeId } from "../../js/model/ids.js";
import { MailboxState } from "../../js/model/state.js";
import { Rows } from "./rows.js";

const notes = new UnloadNotes();

const TERMS = { maxDeliveries: 0, lease: 300_000, locked: true };

/** A state of messages, one for each holder, who has claimed it. @param {string[]} holders */
function stateOf(holders) {
  const state = MailboxState.create(1);
  const rows = new Rows();
  for (const holder of holders) {
    state.enqueue(0, false, 0);
    rows.run(state, state.claim(holder, TERMS, 1, 0));
  }
  return state;
}

/** @param {MailboxState} state @param {number} sequence */
function idOf(state, sequence) {
  const id = new Uint8Array(16);
  writeId(new DataView(id.buffer), 0, state.idBase, 0, sequence);
  return id;
}

/** A transaction, as far as it is used here; `complete` is what it does when it is committed. */
function transaction({ seesNotes = false } = {}) {
  /** @type {(() => void)[]} */
  const afterCommit = [];
  /** @type {string[]} */
  const deletedNotes = [];
  const tx = {
    afterCommit,
    seesNotes,
    unloadsBefore: notes.unloads,
    store: () => ({ delete: (/** @type {string} */ holder) => deletedNotes.push(holder) }),
    run: async (/** @type {MailboxState} */ state, /** @type {any} */ steps) => new Rows().run(state, steps),
    find: async (/** @type {MailboxState} */ state, /** @type {Uint8Array} */ id) => state.ownPlaceOf(id),
  };
  return { tx: /** @type {any} */ (tx), deletedNotes, complete: () => afterCommit.forEach((done) => done()) };
}

/** @param {string} id */
const life = (id) =>
  /** @type {any} */ ({
    id,
    over: false,
    ended: false,
    end() {
      this.ended = true;
    },
  });

const nobody = () => assert.fail("nothing was taken");

test("a lock that is lost while a transaction is filled counts in that transaction", async () => {
  const state = stateOf(["old", "old"]);
  const pending = new PendingReleases(notes);
  const { tx, complete } = transaction();
  pending.addMessages([idOf(state, 0)]);
  assert.deepEqual(await pending.release(tx, state, "old", TERMS, nobody), { released: 1, inherited: false });
  pending.addLife(life("old"), { noted: false, inherited: true, held: true });
  // what follows in it is done as the new life, and finds what the old one held
  assert.deepEqual(await pending.release(tx, state, "new", TERMS, nobody), { released: 0, inherited: true });
  assert.ok(state.isHeldBy("new", { priority: 0, sequence: 1 }));
  assert.deepEqual(await pending.release(tx, state, "new", TERMS, nobody), { released: 0, inherited: false });
  complete();
  assert.ok(pending.isEmpty);
});

test("what a failed transaction released is released in the next", async () => {
  const pending = new PendingReleases(notes);
  const old = life("old");
  pending.addLife(old, { noted: false, inherited: true, held: true });
  const failed = stateOf(["old", "new"]);
  pending.addMessages([idOf(failed, 1)]);
  assert.deepEqual(await pending.release(transaction().tx, failed, "heir", TERMS, nobody), {
    released: 0,
    inherited: true,
  });
  const state = stateOf(["old"]);
  const { tx, complete } = transaction();
  assert.deepEqual(await pending.release(tx, state, "heir", TERMS, nobody), { released: 0, inherited: true });
  assert.ok(!old.ended);
  complete();
  assert.ok(old.ended && pending.isEmpty);
});

test("a message that is to be released twice is released once", async () => {
  const state = stateOf(["here"]);
  const pending = new PendingReleases(notes);
  const { tx, complete } = transaction();
  pending.addMessages([idOf(state, 0)]);
  assert.equal((await pending.release(tx, state, "here", TERMS, nobody)).released, 1);
  pending.addMessages([idOf(state, 0)]);
  complete();
  assert.ok(pending.isEmpty);
});

test("a life whose note is left again while its release is committed is released again", async () => {
  const state = stateOf(["left"]);
  const pending = new PendingReleases(notes);
  const left = life("left");
  pending.addLife(left, { noted: true, inherited: false, held: true });
  assert.ok(pending.needsNotes());
  assert.deepEqual(
    await pending.release(transaction().tx, state, "next", TERMS, nobody),
    { released: 0, inherited: false },
    "not without the notes",
  );
  const first = transaction({ seesNotes: true });
  assert.deepEqual(await pending.release(first.tx, state, "next", TERMS, nobody), { released: 1, inherited: false });
  notes.countUnload();
  pending.noteLives();
  assert.deepEqual(
    await pending.release(first.tx, state, "next", TERMS, nobody),
    { released: 0, inherited: false },
    "not before the note",
  );
  first.complete();
  assert.ok(!left.ended && pending.needsNotes(), "its second note is in the store");
  const second = transaction({ seesNotes: true });
  await pending.release(second.tx, state, "next", TERMS, nobody);
  assert.deepEqual([first.deletedNotes, second.deletedNotes], [["left"], ["left"]]);
  second.complete();
  assert.ok(left.ended && pending.isEmpty);
});

test("messages that others have taken end the life that held them, once that is committed", async () => {
  const state = stateOf(["somebody else"]);
  const pending = new PendingReleases(notes);
  /** @type {unknown[]} */
  const taken = [];
  const old = life("old");
  pending.addLife(old, { noted: false, inherited: true, held: true });
  const { tx, complete } = transaction();
  await pending.release(tx, state, "new", TERMS, (lives) => taken.push(...lives));
  assert.deepEqual(taken, []);
  // what was called while it lived must not concern what the next life has claimed in the same transaction
  assert.ok(pending.isTakenIn(tx));
  assert.ok(!pending.isTakenIn(transaction().tx), "that one may not be committed");
  complete();
  assert.deepEqual(taken, [old]);
});

test("what is released while a transaction is filled that found it taken is not released again", async () => {
  const state = stateOf([]);
  state.enqueue(0, false, 0);
  const pending = new PendingReleases(notes);
  pending.addLife(life("old"), { noted: false, inherited: true, held: true });
  const { tx, complete } = transaction();
  await pending.release(tx, state, "new", TERMS, () => {});
  // somebody else has given it back
  new Rows().run(state, state.claim("new", TERMS, 1, 0));
  pending.addMessages([idOf(state, 0)]);
  assert.deepEqual(await pending.release(tx, state, "new", TERMS, nobody), { released: 0, inherited: false });
  assert.ok(state.isHeldBy("new", { priority: 0, sequence: 0 }));
  complete();
  assert.ok(pending.isEmpty);
});

test("a lock that is lost again before the first life was inherited takes nothing", async () => {
  const state = stateOf(["first"]);
  const pending = new PendingReleases(notes);
  // a commit was under way when the second one was lost, but has failed
  for (const id of ["first", "second"]) pending.addLife(life(id), { noted: false, inherited: true, held: true });
  const { tx, complete } = transaction();
  assert.deepEqual(await pending.release(tx, state, "third", TERMS, nobody), { released: 0, inherited: true });
  complete();
  assert.ok(state.isHeldBy("third", { priority: 0, sequence: 0 }));
  assert.ok(pending.isEmpty);
});

test("a page that is left again while its lives are released keeps the notes that are written then", async () => {
  const state = stateOf(["old", "older"]);
  const pending = new PendingReleases(notes);
  for (const id of ["old", "older"]) pending.addLife(life(id), { noted: false, inherited: false, held: true });
  pending.noteLives();
  const first = transaction({ seesNotes: true });
  const run = first.tx.run;
  first.tx.run = async (/** @type {any[]} */ ...given) => {
    first.tx.run = run;
    notes.countUnload();
    pending.noteLives();
    return run(...given);
  };
  await pending.release(first.tx, state, "new", TERMS, nobody);
  first.complete();
  assert.deepEqual(first.deletedNotes, ["old"]);
  const second = transaction({ seesNotes: true });
  await pending.release(second.tx, state, "new", TERMS, nobody);
  second.complete();
  assert.deepEqual(second.deletedNotes, ["old", "older"]);
  assert.equal(pending.isEmpty, true);
});

test("what was inherited in a commit of which nobody knows is not taken by others", async () => {
  const state = stateOf(["old"]);
  const pending = new PendingReleases(notes);
  pending.addLife(life("old"), { noted: false, inherited: true, held: true });
  // its outcome is not known, so it never completes here
  await pending.release(transaction().tx, state, "new", TERMS, nobody);
  const { tx, complete } = transaction();
  assert.deepEqual(await pending.release(tx, state, "new", TERMS, nobody), { released: 0, inherited: false });
  assert.ok(!pending.isTakenIn(tx));
  complete();
  assert.ok(pending.isEmpty);
});
