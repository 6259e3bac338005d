// Who is told of changes, and how often, on the tests' own clock.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Changes as Counts } from "../../js/api/changes.js";
import { Changes } from "../../js/coordination/changes.js";

const INTERVAL = 50;
const SLOW_POLL = 5000;
const SAID_AGAIN = 10_000;
const BELIEVED = 30_000;

/** Contexts that hear each other at once, on one clock. */
class World {
  now = 1000;
  /** @type {Context[]} */
  contexts = [];
  /** The last commit to the only mailbox. */
  version = 0;

  constructor() {
    mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    mock.method(performance, "now", () => this.now);
  }

  /** @param {{hasChannel?: boolean}} [how] */
  context({ hasChannel = true } = {}) {
    const context = new Context(this, hasChannel);
    this.contexts.push(context);
    return context;
  }

  /** @param {number} milliseconds */
  async pass(milliseconds) {
    for (let i = 0; i < milliseconds; i += 10) {
      this.now += 10;
      mock.timers.tick(10);
      // what was looked up arrives
      await null;
      await null;
    }
  }

  end() {
    mock.timers.reset();
    mock.restoreAll();
  }
}

class Context {
  heard = 0;
  /** What it has sent. @type {string[]} */
  sent = [];
  looks = 0;

  /** @param {World} world @param {boolean} hasChannel */
  constructor(world, hasChannel) {
    this.world = world;
    const notifier = {
      hasChannel,
      announce: (/** @type {import("../../js/coordination/changes.js").Announcement} */ announcement) => {
        if (!hasChannel) return;
        this.sent.push(Object.keys(announcement)[0]);
        for (const other of world.contexts) if (other !== this) other.changes.receive(announcement);
      },
    };
    const lookUp = async () => {
      this.looks += 1;
      return `${world.version}`;
    };
    this.changes = new Changes(notifier, lookUp, SLOW_POLL);
  }

  listen(mailbox = "m") {
    return this.changes.listen(mailbox, () => {
      this.heard += 1;
    });
  }

  commit(mailbox = "m") {
    this.world.version += 1;
    this.changes.committed([mailbox]);
  }

  /** How often it was called since the last look. */
  told() {
    const { heard } = this;
    this.heard = 0;
    return heard;
  }
}

/** @param {string} name @param {(world: World) => Promise<void>} body */
const testIn = (name, body) =>
  test(name, async () => {
    const world = new World();
    try {
      await body(world);
    } finally {
      world.end();
    }
  });

testIn("nobody sends anything while nobody listens", async (world) => {
  const [one, two] = [world.context(), world.context()];
  for (let i = 0; i < 5; i++) {
    one.commit();
    two.commit();
    await world.pass(1000);
  }
  assert.deepEqual([one.sent, two.sent, one.looks], [[], [], 0]);
});

testIn("a listener hears of its own context's commits and others', but of no other mailbox", async (world) => {
  const [one, two] = [world.context(), world.context()];
  one.listen();
  one.commit();
  assert.equal(one.told(), 1);
  await world.pass(INTERVAL);
  two.commit();
  assert.equal(one.told(), 1);
  await world.pass(INTERVAL);
  two.commit("another");
  one.commit("another");
  await world.pass(INTERVAL);
  assert.equal(one.told(), 0);
  assert.deepEqual(two.sent, ["changed"]);
});

testIn("many changes are merged, and the last one is reported", async (world) => {
  const [one, two] = [world.context(), world.context()];
  one.listen();
  for (let i = 0; i < 100; i++) {
    two.commit();
    await world.pass(10);
  }
  const told = one.told();
  assert.ok(told >= 15 && told <= 21, `${told} in a second`);
  await world.pass(2 * INTERVAL);
  one.told();
  two.commit();
  two.commit();
  assert.equal(one.told(), 1);
  await world.pass(2 * INTERVAL);
  assert.equal(one.told(), 1);
  await world.pass(10 * INTERVAL);
  assert.equal(one.told(), 0);
});

testIn("a context that leaves reports what it would have reported later", async (world) => {
  const [one, two] = [world.context(), world.context()];
  one.listen();
  two.commit();
  two.commit();
  one.told();
  two.changes.hurry();
  await world.pass(INTERVAL);
  assert.equal(two.sent.length, 2);
  assert.equal(one.told(), 1);
});

testIn(
  "who has not said for long that it listens is told no more, and one that goes on listening says so",
  async (world) => {
    const [one, two] = [world.context(), world.context()];
    const stop = one.listen();
    await world.pass(3 * SAID_AGAIN + SLOW_POLL);
    assert.ok(one.sent.length >= 4, `${one.sent.length}`);
    two.commit();
    assert.equal(two.sent.length, 1);
    stop();
    await world.pass(BELIEVED + SAID_AGAIN);
    two.commit();
    await world.pass(INTERVAL);
    assert.equal(two.sent.length, 1);
    const said = one.sent.length;
    await world.pass(BELIEVED);
    assert.equal(one.sent.length, said, "nothing goes on after the last listener");
  },
);

testIn("if a change may have been missed, a listener is told, and says again that it listens", async (world) => {
  const [one, two] = [world.context(), world.context()];
  one.listen();
  const late = world.context();
  one.changes.missed();
  assert.equal(one.told(), 1);
  late.commit();
  await world.pass(INTERVAL);
  assert.equal(one.told(), 1);
  two.changes.missed();
  assert.deepEqual(two.sent, []);
});

testIn("unreported commits are found after a while, or at once where nobody can report them", async (world) => {
  for (const [hasChannel, within] of /** @type {[boolean, number][]} */ ([
    [true, SLOW_POLL],
    [false, INTERVAL],
  ])) {
    const one = world.context({ hasChannel });
    const stop = one.listen();
    await world.pass(within + INTERVAL);
    one.told();
    await world.pass(3 * within);
    assert.equal(one.told(), 0, "nothing has changed");
    world.version += 1;
    await world.pass(within + INTERVAL);
    assert.equal(one.told(), 1);
    stop();
    const { looks } = one;
    await world.pass(2 * within);
    assert.equal(one.looks, looks);
  }
});

testIn("a look that fails counts as a change: the listener finds out why", async (world) => {
  const failing = new Changes({ hasChannel: false, announce: () => {} }, () => Promise.reject(new Error("gone")), 1e9);
  let told = 0;
  const stop = failing.listen("m", () => {
    told += 1;
  });
  await world.pass(INTERVAL);
  assert.equal(told, 1);
  stop();
  await world.pass(5 * INTERVAL);
  assert.equal(told, 1);
});

test("counts that cannot be read end a loop over them, which leaves no listener behind", async () => {
  const { signal } = new AbortController();
  const told = new Set();
  const listening = new Set();
  mock.method(signal, "addEventListener", (/** @type {string} */ _, /** @type {unknown} */ one) => told.add(one));
  mock.method(signal, "removeEventListener", (/** @type {string} */ _, /** @type {unknown} */ one) => told.delete(one));
  const handle = {
    isClosed: false,
    status: () => Promise.reject(new Error("on purpose")),
    listenToChanges: (/** @type {unknown} */ onChange) => {
      listening.add(onChange);
      return () => listening.delete(onChange);
    },
  };
  const counts = new Counts(/** @type {any} */ (undefined), /** @type {any} */ (handle), signal);
  const loop = async () => {
    for await (const _ of counts) assert.fail("there are no counts");
  };
  await assert.rejects(loop(), /on purpose/);
  assert.deepEqual([told.size, listening.size], [0, 0]);
  mock.restoreAll();
});
