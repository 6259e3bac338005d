// `ask` without a browser: the names of reply mailboxes, what an asker does when something fails, and what stays open.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Asker } from "../../js/api/actors/asker.js";
import { Companions } from "../../js/api/actors/companions.js";
import { checkLetter, markerOf, mayBeLeftOver, nameOf, newMarker } from "../../js/api/actors/reply-mailboxes.js";
import { Replies, ReplyTo, resolved } from "../../js/api/actors/replying.js";
import { ConnectionLostError, MailboxClosedError, StorageUnavailableError } from "../../js/model/errors.js";

/** @typedef {import("../../js/index.js").Mailbox} Mailbox */

/** As Python's `uuid.UUID(...)` of the time 2024-01-01 and no random bits. */
const OLD = "018cc251-f400-7000-8000-000000000000";

test("a reply mailbox is named by its marker, which begins with the time", () => {
  const [before, marker, other, after] = [Date.now(), newMarker(), newMarker(), Date.now()];
  const time = Number.parseInt(marker.replace("-", "").slice(0, 12), 16);
  assert.ok(before <= time && time <= after);
  assert.notEqual(marker, other);
  assert.equal(nameOf(OLD), `pymailbox-replies-${OLD}`);
  for (const one of [marker, OLD]) assert.equal(markerOf(nameOf(one)), one);
  const others = ["inbox", OLD, `${nameOf(OLD)}0`, `x${nameOf(OLD)}`, nameOf(OLD.toUpperCase())];
  others.push(nameOf("018cc251-f400-4000-8000-000000000000"), `${nameOf(OLD)}\n`);
  assert.deepEqual(
    others.map(markerOf),
    others.map(() => undefined),
  );
  assert.deepEqual([...others, nameOf(marker), nameOf(OLD)].map(mayBeLeftOver), [
    ...others.map(() => false),
    false,
    true,
  ]);
});

test("a letter is a copy, and its id is canonical", () => {
  const payload = new Uint8Array([1, 2]);
  const headers = { a: "b" };
  const letter = checkLetter(payload, { headers, messageId: OLD.toUpperCase() }, ["own"], "which is mine");
  payload.fill(0);
  headers.a = "c";
  assert.deepEqual([letter.payload, letter.headers, letter.messageId], [new Uint8Array([1, 2]), [["a", "b"]], OLD]);
  assert.throws(() => checkLetter(payload, { headers: { own: "" } }, ["own"], "which is mine"), {
    name: "RangeError",
    message: 'headers must not have "own", which is mine',
  });
});

/** The mailboxes of an origin, each of which does what it is told. */
class FakeOrigin {
  /** @type {string[]} */
  log = [];
  /** @type {string[]} */
  there = [];
  isMarked = true;

  /** @param {(name: string) => object} [verbs] */
  constructor(verbs = () => ({})) {
    this.verbs = verbs;
  }

  names = async () => this.there;

  delete = async (/** @type {string} */ name) => {
    this.log.push(`delete ${name}`);
    return true;
  };

  open = async (/** @type {string} */ name) => {
    this.log.push(`open ${name}`);
    const close = async () => void this.log.push(`close ${name}`);
    const get = async () => (this.isMarked ? {} : null);
    return /** @type {Mailbox} */ (/** @type {unknown} */ ({ name, get, close, ...this.verbs(name) }));
  };
}

test("without its reply mailbox an asker's questions fail, and the next question makes another one", async () => {
  const error = new StorageUnavailableError("on purpose");
  const origin = new FakeOrigin(() => ({ enqueue: () => Promise.reject(error) }));
  const companions = new Companions(origin);
  const asker = companions.of(Asker);
  const asked = new Promise((resolve, reject) => {
    asker.wait("id", { mailbox: /** @type {any} */ (undefined), resolve, reject });
  });
  await assert.rejects(asker.ready(), error);
  await assert.rejects(asked, error);
  await asker.end();
  assert.deepEqual([...new Set(origin.log)], [`open ${asker.name}`, `close ${asker.name}`, `delete ${asker.name}`]);
  const next = companions.of(Asker);
  assert.notEqual(next, asker);
  await next.end();
});

test("an asker waits out a passing error, and its answers are acknowledged once they are handed over", async () => {
  const answer = /** @type {any} */ ({ id: "answer", headers: { "correlation-id": "id" } });
  /** @type {((error: Error) => void) | undefined} */
  let close;
  /** @type {unknown[]} */
  const acked = [];
  const steps = [
    () => [], // the marker
    () => {
      throw new ConnectionLostError("on purpose");
    },
    () => [answer, { id: "late", headers: {} }],
    () => new Promise((_, reject) => (close = reject)),
  ];
  const origin = new FakeOrigin(() => ({
    enqueue: async () => "",
    dequeue: async (/** @type {{ack?: string[]}} */ options) => {
      acked.push(options?.ack);
      return steps.shift()?.();
    },
    close: async () => close?.(new MailboxClosedError("closed")),
  }));
  const asker = new Asker(origin);
  const got = await new Promise((resolve, reject) => {
    asker.wait("id", { mailbox: /** @type {any} */ (undefined), resolve, reject });
  });
  assert.equal(got, answer);
  await asker.end();
  assert.deepEqual(acked, [undefined, [], [], ["answer", "late"]]);
});

test("mailboxes of askers stay open for the next answer, up to 16, and are deleted if their asker has left", async () => {
  const origin = new FakeOrigin();
  const names = Array.from({ length: 18 }, (_, i) => nameOf(OLD.replace(/00$/, String(10 + i))));
  origin.there = names;
  const companions = new Companions(origin);
  const message = { sender: new Uint8Array(), payload: new Uint8Array() };
  const answer = (/** @type {string[]} */ ...names) =>
    resolved(
      () => companions,
      names.map((name) => [new ReplyTo(name), message]),
      async (sends) => sends.map(([mailbox]) => mailbox.name),
    );
  for (const name of names) await answer(name);
  assert.deepEqual(
    origin.log.filter((line) => line.startsWith("close")),
    names.slice(0, 2).map((name) => `close ${name}`),
  );
  origin.log = [];
  origin.there = [];
  // one that is open, one that is gone
  assert.deepEqual(await answer(names[5], names[0]), [names[5]]);
  assert.deepEqual(origin.log, []);
  origin.isMarked = false;
  await answer(names[5]);
  assert.deepEqual(origin.log, [`close ${names[5]}`, `delete ${names[5]}`]);
  origin.log = [];
  await companions.end();
  assert.equal(origin.log.length, 15);
  await assert.doesNotReject(answer());
});

test("one slow opening holds up no other answer", async () => {
  const origin = new FakeOrigin();
  const [slow, quick] = ["slow", "quick"];
  origin.there = [slow, quick];
  const { open } = origin;
  /** @type {(value?: unknown) => void} */
  let mayOpen = () => {};
  const opening = new Promise((resolve) => (mayOpen = resolve));
  origin.open = async (name) => {
    if (name === slow) await opening;
    return open(name);
  };
  const companions = new Companions(origin);
  /** @type {string[]} */
  const answered = [];
  const answer = (/** @type {string} */ name) =>
    resolved(
      () => companions,
      [[new ReplyTo(name), { sender: new Uint8Array(), payload: new Uint8Array() }]],
      async (sends) => answered.push(...sends.map(([mailbox]) => mailbox.name)),
    );
  const waiting = answer(slow);
  await answer(quick);
  assert.deepEqual(answered, [quick]);
  mayOpen();
  await waiting;
  assert.deepEqual(answered, [quick, slow]);
  await companions.end();
});

/** Answers to 19 askers, three more than stay open, whose mailboxes close only when they may. */
function answersWithSlowClosing() {
  let mayClose = () => {};
  const closing = new Promise((resolve) => (mayClose = () => resolve(undefined)));
  const origin = new FakeOrigin((name) => ({
    close: async () => {
      origin.log.push(`close ${name}`);
      await closing;
    },
  }));
  const names = Array.from({ length: 19 }, (_, i) => nameOf(OLD.replace(/00$/, String(10 + i))));
  origin.there = names;
  const companions = new Companions(origin);
  const message = { sender: new Uint8Array(), payload: new Uint8Array() };
  /** @type {Array<() => void>} */
  const ends = [];
  return {
    names,
    companions,
    mayClose,
    /** End the answers, in the order of their beginning. */
    ends,
    /** @param {string[]} names */
    answer: (...names) =>
      resolved(
        () => companions,
        names.map((name) => [new ReplyTo(name), message]),
        () => new Promise((/** @type {(_: void) => void} */ resolve) => ends.push(resolve)),
      ),
    /** The names in the log of what was done. @param {string} what */
    that: (what) => origin.log.filter((line) => line.startsWith(what)).map((line) => line.slice(what.length + 1)),
  };
}

const steps = () => new Promise((resolve) => setTimeout(resolve));

test("answers that end together close each idle mailbox once", async () => {
  const { names, companions, mayClose, answer, ends, that } = answersWithSlowClosing();
  const others = answer(...names.slice(0, 18));
  await steps();
  const last = answer(names[18]);
  await steps();
  for (const end of ends.splice(0)) end();
  await steps();
  assert.deepEqual(that("close"), names.slice(0, 2));
  const again = answer(names[1]);
  await steps();
  mayClose();
  await Promise.all([others, last]);
  assert.deepEqual(that("close"), names.slice(0, 3));
  ends[0]();
  await again;
  await companions.end();
  assert.deepEqual(that("open").sort(), [names[1], ...names].sort());
  assert.deepEqual(that("close").sort(), that("open").sort());
});

test("a mailbox that is borrowed again while another is closed stays open, and is closed in the end", async () => {
  const { names, companions, mayClose, answer, ends, that } = answersWithSlowClosing();
  const [one, two] = names;
  const first = answer(...names.slice(0, 18));
  await steps();
  ends[0]();
  await steps();
  assert.deepEqual(that("close"), [one]);
  const again = [answer(one), answer(two)];
  await steps();
  assert.deepEqual(that("open"), [...names.slice(0, 18), one]);
  mayClose();
  await first;
  assert.deepEqual(that("close"), [one]);
  for (const end of ends) end();
  await Promise.all(again);
  await companions.end();
  assert.deepEqual(that("close").sort(), that("open").sort());
});

test("a failure after an answer was sent is reported, and the answer counts", async (t) => {
  t.mock.method(Replies.prototype, "giveBack", () => Promise.reject(new Error("after the commit")));
  /** @type {unknown[]} */
  const said = [];
  t.mock.method(console, "error", (/** @type {unknown[]} */ ...values) => said.push(values.map(String)));
  const { names, companions, mayClose, answer, ends } = answersWithSlowClosing();
  const answered = answer(names[0]);
  await steps();
  ends[0]();
  await answered;
  assert.deepEqual(said, [["The mailboxes of askers could not be looked after:", "Error: after the commit"]]);
  mayClose();
  await companions.end();
});

/** An asker whose marker is held once it has been stored. @param {FakeOrigin} origin */
function holdsItsMarker(origin) {
  let isHeld = false;
  origin.verbs = () => {
    /** @type {((error: Error) => void) | undefined} */
    let close;
    return {
      get: async () => (isHeld ? { status: "inflight" } : null),
      enqueue: async () => {
        origin.log.push("mark");
        setTimeout(() => (isHeld = true), 20);
      },
      dequeue: (/** @type {object | undefined} */ options) =>
        options === undefined ? [] : new Promise((_, reject) => (close = reject)),
      close: async () => close?.(new MailboxClosedError("closed")),
    };
  };
}

for (const foundOutBy of ["a look", "the next question"]) {
  test(`a question whose answer was deleted ends with ${foundOutBy}`, async () => {
    const origin = new FakeOrigin();
    let isHeld = true;
    /** @type {Set<(records: object[]) => void>} */
    const looks = new Set();
    /** @type {((error: Error) => void) | undefined} */
    let close;
    origin.verbs = () => ({
      get: async () => (isHeld ? { status: "inflight" } : null),
      enqueue: async () => (isHeld = true),
      dequeue: (/** @type {object | undefined} */ options) =>
        options === undefined
          ? []
          : new Promise((resolve, reject) => {
              looks.add(resolve);
              close = reject;
            }),
      close: async () => close?.(new MailboxClosedError("closed")),
    });
    const asker = new Asker(origin);
    await asker.ready();
    /** @type {DOMException[]} */
    const ends = [];
    asker.wait("id", {
      mailbox: /** @type {any} */ (undefined),
      resolve: () => {},
      reject: (error) => ends.push(/** @type {DOMException} */ (error)),
    });
    const look = async () => {
      for (const end of looks) end([]);
      await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await look();
    assert.deepEqual(ends, []);
    isHeld = false;
    await (foundOutBy === "a look" ? look() : asker.ready());
    assert.ok(isHeld);
    assert.deepEqual(
      ends.map(({ name }) => name),
      ["TimeoutError"],
    );
    await asker.end();
  });
}

test("a question waits until the marker is held, and any error while an asker leaves is reported", async (t) => {
  const origin = new FakeOrigin();
  holdsItsMarker(origin);
  /** @type {unknown[]} */
  const said = [];
  t.mock.method(console, "error", (/** @type {unknown[]} */ ...values) => said.push(String(values[1])));
  origin.names = () => Promise.reject(new Error("no names"));
  origin.delete = () => Promise.reject(new Error("not deleted"));
  const asker = new Asker(origin);
  await asker.ready();
  assert.ok(origin.log.filter((line) => line === "mark").length > 1);
  await asker.end();
  assert.deepEqual(said, ["Error: no names", "Error: not deleted"]);
});

test("living askers are rarely checked", async () => {
  const origin = new FakeOrigin();
  const living = nameOf(OLD.replace(/00$/, "77"));
  origin.there = [living];
  /** @type {unknown[]} */
  const deleted = [];
  origin.delete = async (...given) => deleted.push(given) === 0;
  for (let i = 0; i < 3; i++) {
    holdsItsMarker(origin);
    const asker = new Asker(origin);
    await asker.ready();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await asker.end();
  }
  assert.equal(origin.log.filter((line) => line === `open ${living}`).length, 1);
  assert.deepEqual(deleted[0], [living, markerOf(living), true]);
});
