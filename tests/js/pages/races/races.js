/**
 * Random programs over three contexts that share a mailbox, in which things go wrong at random steps; a judge decides
 * whether the mailbox did right. Each context is a worker, since only a separate thread can be blocked in the middle of
 * a call.
 */

import { deleteMailbox, openMailbox } from "/pymailbox.js";
import { Judge, Wrong } from "./judge.js";
import { SALVAGED, litter } from "./litter.js";
import { labelOf } from "./payload.js";
import { randomOf } from "./random.js";
import { makeWithSmallPages } from "./small-pages.js";

/** @typedef {import("./judge.js").Handle} Handle */
/** @typedef {import("./judge.js").Call} Call */
/** @typedef {import("./faults.js").Fault} Fault */

const CONTEXTS = 3;
const ROUNDS = 12;

/** Milliseconds after which a call that nothing holds up counts as hanging. */
const PATIENCE = 30_000;

/** Milliseconds that a context is blocked, if the others' calls take longer: they may wait for what it has open. */
const BLOCKED = 40;

/** Payload bytes: kept beside the state, in a record with others, and in a record of its own. */
const SIZES = [1000, 5000, 5000, 70_000];

/** Messages of a page, and bytes of pages that travel with the state, where these are smaller than usual. */
const PAGE_NUMBERS = [1, 2, 4, 8];
const PAGES_IN_HEAD = [0, 20, 100];

/** @type {Fault[]} */
const FAULTS = ["block", "block", "block", "die", "leave", "rob", "abort", "lose", "fill"];

const sleep = (/** @type {number} */ milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class Context {
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: any) => void}>} */
  calls = new Map();
  /** @type {string[]} */
  locks = [];
  isDead = false;
  /** @type {(fault: Fault, step: string) => void} */
  onFault = () => {};
  #gate = new SharedArrayBuffer(4);
  #worker = new Worker("context.js", { type: "module" });
  #calls = 0;

  constructor() {
    this.ready = new Promise((resolve, reject) => {
      this.#worker.onerror = ({ message }) => reject(new Error(message));
      this.#worker.onmessage = ({ data }) => {
        if (data.ready) resolve(undefined);
        if (data.fault) this.onFault(data.fault, data.at);
        if (data.locks) this.locks = data.locks;
        if (data.returned === undefined) return;
        const call = this.calls.get(data.returned);
        this.calls.delete(data.returned);
        if (data.error) call?.reject(data.error);
        else call?.resolve(data.value);
      };
    });
    this.tell({ gate: this.#gate });
  }

  /** @param {any} what */
  tell(what) {
    this.#worker.postMessage(what);
  }

  /** @param {number} handle @param {string} verb @param {any} given @returns {Promise<any>} */
  call(handle, verb, given) {
    const call = this.#calls++;
    const { promise, resolve, reject } = withResolvers();
    this.calls.set(call, { resolve, reject });
    this.tell({ call, handle, verb, given });
    return promise;
  }

  release() {
    const gate = new Int32Array(this.#gate);
    gate[0] = 1;
    Atomics.notify(gate, 0);
  }

  kill() {
    this.isDead = true;
    this.#worker.terminate();
    // Chromium gives a thread that is blocked 2 s to end by itself, and keeps its transactions open; this one has its
    // task left
    this.release();
    for (const { reject } of this.calls.values()) reject({ name: "Killed", message: "" });
    this.calls.clear();
  }
}

/** @returns {{promise: Promise<any>, resolve: (value: any) => void, reject: (error: any) => void}} */
function withResolvers() {
  /** @type {any} */
  const given = {};
  given.promise = new Promise((resolve, reject) => Object.assign(given, { resolve, reject }));
  return given;
}

/** Contexts that one program leaves for the next. @type {Context[]} */
const spare = [];

class Race {
  #random;
  /** For what was added later, so that a seed still has its program. */
  #more;
  #name;
  /** Handles that can send to another mailbox. @type {Set<Handle>} */
  #withBeside = new Set();
  judge = new Judge();
  /** @type {{context: Context, number: number, handle: Handle}[]} */
  #open = [];
  /** @type {Set<Promise<void>>} */
  #underWay = new Set();
  #handles = 0;
  #labels = 0;
  /** @type {unknown} */
  #wrong;

  /** @param {number} seed */
  constructor(seed) {
    this.#random = randomOf(seed);
    this.#more = randomOf(-seed - 2);
    this.#name = `race ${seed}`;
  }

  async run() {
    const { below, once, pick } = this.#random;
    try {
      if (this.#more.once(2)) await this.#makeWithSmallPages();
      await Promise.all(Array.from({ length: CONTEXTS }, () => this.#addContext()));
      for (let round = 0; round < ROUNDS && this.#wrong === undefined; round++) {
        if (once(4)) this.#track(litter(this.#name, this.#random));
        if (once(20)) this.#deleteBy(pick(this.#open));
        if (!once(3)) pick(this.#open)?.context.tell({ fault: pick(FAULTS), after: below(pick([3, 12])) });
        if (once(3)) await this.#serve(pick(this.#open)?.context);
        for (let calls = 1 + below(3); calls > 0; calls--) this.#callOne(pick(this.#open));
        await this.#settled();
      }
      if (this.#wrong === undefined) await this.#end();
      if (this.#wrong === undefined) await this.#drain();
      if (this.#wrong !== undefined) throw this.#wrong;
    } finally {
      for (const context of this.#contexts()) context.kill();
    }
  }

  async #makeWithSmallPages() {
    const { pick } = this.#more;
    const sizes = { pageNumbers: pick(PAGE_NUMBERS), pagesInHead: pick(PAGES_IN_HEAD) };
    this.judge.note(`made with ${JSON.stringify(sizes)}`);
    await makeWithSmallPages(this.#name, sizes);
  }

  async #addContext() {
    const { once } = this.#random;
    const late = once(4);
    const handles = once(3) ? 2 : 1;
    const context = spare.pop() ?? new Context();
    await context.ready;
    context.tell({ late });
    context.onFault = (fault, step) => this.#track(this.#suffer(context, fault, step));
    await Promise.all(Array.from({ length: handles }, () => this.#addHandle(context)));
  }

  /** @param {Context} context */
  async #addHandle(context) {
    const { pick } = this.#random;
    const number = this.#handles++;
    const maxDeliveries = pick([2, 3, Infinity]);
    const handle = this.judge.handle(`h${number}`, maxDeliveries);
    const options = { maxDeliveries, durability: pick(["strict", "relaxed"]) };
    const beside = this.#more.once(3) ? this.#beside : undefined;
    if (beside !== undefined) this.#withBeside.add(handle);
    this.judge.note(`${handle.name} opens ${JSON.stringify(options)}${beside === undefined ? "" : ", and another"}`);
    try {
      await this.#within(context.call(number, "open", { name: this.#name, beside, options }), `${handle.name} open`);
    } catch (error) {
      this.#checkError(error, `${handle.name} open`);
      return;
    }
    this.#open.push({ context, number, handle });
  }

  /**
   * Calls that wait while there is nothing, until one of their context stores something.
   * @param {Context | undefined} context
   */
  async #serve(context) {
    const { below, once, pick } = this.#random;
    const there = () => pick(this.#open.filter((at) => at.context === context));
    this.#callOne(there(), ["dequeue", { limit: 100 }]);
    for (let calls = 1 + below(2); calls > 0; calls--) {
      this.#callOne(there(), [
        "dequeue",
        { limit: 1 + below(3), wait: 80 + below(80), ...(once(8) ? { abortAfter: below(100) } : {}) },
      ]);
    }
    await sleep(20 + below(60));
    this.#callOne(there(), [
      "enqueue",
      { messages: Array.from({ length: 1 + below(3) }, () => ({ label: `m${this.#labels++}` })) },
    ]);
  }

  /**
   * Makes a call, whose answer is judged when it comes.
   * @param {{context: Context, number: number, handle: Handle} | undefined} at @param {[string, any]} [chosen]
   */
  #callOne(at, chosen) {
    if (at === undefined || at.context.isDead) return;
    const [verb, given] = chosen ?? this.#chooseCall(at.handle);
    const call = this.judge.begin(at.handle, verb, given);
    // a handle that a fault's calls close again has its successor
    const isClosing = verb === "close" && this.#open.includes(at);
    if (isClosing) this.#open.splice(this.#open.indexOf(at), 1);
    this.#track(this.#make(at, call));
    if (isClosing) this.#track(this.#addHandle(at.context));
  }

  /**
   * The mailbox is deleted, with everything in it, while contexts have it open.
   * @param {{context: Context, number: number, handle: Handle} | undefined} at
   */
  #deleteBy(at) {
    if (at === undefined || at.context.isDead) return;
    this.#track(this.#make(at, this.judge.begin(at.handle, "delete", { name: this.#name })));
  }

  /** @param {{context: Context, number: number}} at @param {Call} call */
  async #make({ context, number }, call) {
    /** @type {any} */
    let value;
    try {
      value = await this.#within(
        context.call(number, call.verb, call.given),
        `${call.handle.name} ${call.verb} of ${call.called}`,
      );
    } catch (error) {
      this.judge.fail(call, this.#checkError(error, `${call.handle.name} ${call.verb} of ${call.called}`));
      return;
    }
    this.judge.end(call, value);
  }

  /** @param {unknown} error @param {string} what @returns {string} @throws {Wrong} it must not end like this */
  #checkError(error, what) {
    if (error instanceof Wrong) throw error;
    const { name, message } = /** @type {Error} */ (error);
    if (!ALLOWED.includes(name)) throw new Wrong(`${what}: ${name}: ${message}`);
    return `${name}: ${message}`;
  }

  /** @param {Handle} handle @returns {[string, any]} */
  #chooseCall(handle) {
    const { below, once, pick } = this.#random;
    const held = this.judge.heldBy(handle).flatMap(({ id }) => id ?? []);
    const seen = this.judge.seen().flatMap(({ id }) => id ?? []);
    const verb = pick([
      ...Array(8).fill("enqueue"),
      ...Array(8).fill("dequeue"),
      ...(held.length > 0 ? [...Array(5).fill("ack"), "nack", "nack", "ackMany", "ackAndSend", "deadLetter"] : []),
      ...(seen.length > 0 ? ["ackAny", "redrive"] : []),
      ...(once(8) ? ["purge"] : []),
      "peek",
      "recover",
      "close",
    ]);
    switch (verb) {
      case "enqueue": {
        const messages = Array.from({ length: once(3) ? 1 + below(4) : 1 }, () => ({
          label: `m${this.#labels++}`,
          ...(once(2) ? { bytes: pick(SIZES) } : {}),
          ...(once(4) ? { priority: "high" } : {}),
          ...(once(8) ? { delay: below(30) } : {}),
          ...(once(6) ? { messageId: crypto.randomUUID() } : {}),
        }));
        return [verb, { messages }];
      }
      case "dequeue":
        return [
          verb,
          {
            limit: 1 + below(4),
            ...(once(2) ? { wait: below(60) } : {}),
            ...(once(8) ? { abortAfter: below(5) } : {}),
            ...(once(3) && held.length > 0 ? { ack: [pick(held)] } : {}),
          },
        ];
      case "ackAny":
        return ["ack", { id: pick(seen) }];
      case "redrive":
        return [verb, { id: pick(seen) }];
      case "ackMany":
        return [verb, { ids: held }];
      case "ack":
      case "deadLetter":
        return [verb, { id: pick(held) }];
      case "nack":
        return [verb, { id: pick(held), ...(once(4) ? { delay: below(30) } : {}) }];
      case "ackAndSend":
        return [
          verb,
          {
            id: pick(held),
            label: `m${this.#labels++}`,
            ...(this.#withBeside.has(handle) && this.#more.once(2) ? { isBeside: true } : {}),
          },
        ];
      default:
        return [verb, {}];
    }
  }

  /** @param {Context} context @param {Fault} fault @param {string} step */
  async #suffer(context, fault, step) {
    const { below, once } = this.#random;
    const own = this.#open.filter((at) => at.context === context);
    const others = this.#open.filter((at) => at.context !== context);
    this.judge.note(`${own.map(({ handle }) => handle.name)}: ${fault} at ${step}`);
    const meanwhile = async () => {
      for (let calls = below(3); calls > 0; calls--) this.#callOne(this.#random.pick(others));
      await sleep(below(BLOCKED));
    };
    switch (fault) {
      case "block":
        await meanwhile();
        context.release();
        return;
      case "rob":
        for (const { handle } of own) this.judge.lifeOver(handle, "is robbed", true);
        for (const name of context.locks) await navigator.locks.request(name, { steal: true }, () => {});
        if (once(2)) await meanwhile();
        context.release();
        return;
      case "die":
        if (once(2)) await meanwhile();
        for (const { handle } of own) this.judge.lifeOver(handle, "dies", true);
        this.#open = this.#open.filter((at) => at.context !== context);
        context.kill();
        await this.#addContext();
        return;
      case "leave":
        for (const { handle } of own) {
          this.judge.lifeOver(handle, "is left", false);
          handle.isAbsent = true;
        }
        await meanwhile();
        if (!once(8)) context.tell({ comeBack: true });
        for (const { handle } of own) this.judge.lifeOver(handle, "is back", false);
        return;
      default:
    }
  }

  /** The name of the mailbox to which some send. */
  get #beside() {
    return `${this.#name}, beside`;
  }

  #contexts() {
    return new Set(this.#open.map(({ context }) => context));
  }

  /** Some contexts close what they have and stay for the next program, others die. */
  async #end() {
    /** @type {Set<Context>} */
    const closing = new Set();
    for (const context of this.#contexts()) {
      const own = this.#open.filter((at) => at.context === context);
      context.tell({ fault: "block", after: Infinity });
      if (this.#random.once(6)) {
        for (const { handle } of own) this.judge.lifeOver(handle, "dies", true);
        context.kill();
      } else {
        for (const at of own) this.#track(this.#make(at, this.judge.begin(at.handle, "close", {})));
        closing.add(context);
      }
    }
    await this.#settled();
    // including new ones in place of those that died while closing
    for (const context of this.#contexts()) if (!closing.has(context)) context.kill();
    spare.push(...[...closing].filter(({ isDead }) => !isDead));
    this.#open = [];
  }

  /** Takes everything that is left, as a context that comes when all others are gone. */
  async #drain() {
    const handle = this.judge.handle("the last", Infinity);
    const letters = [];
    for (const name of [this.#name, this.#beside]) {
      const mailbox = await openMailbox(name);
      await this.#drainOne(handle, mailbox);
      letters.push(...(await mailbox.deadLetters({ limit: 1000 })));
      await mailbox.close();
      await deleteMailbox(name);
    }
    // of what somebody else wrote
    const own = letters.filter(({ reason }) => !reason.includes(SALVAGED));
    this.judge.finish(own.map(({ record }) => labelOf(record.payload)));
  }

  /** @param {Handle} handle @param {import("/pymailbox.js").Mailbox} mailbox */
  async #drainOne(handle, mailbox) {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const call = this.judge.begin(handle, "dequeue", {});
      const batch = await mailbox.dequeue({ limit: 100, wait: 20 });
      this.judge.end(
        call,
        batch.map(({ id, payload, deliveryCount }) => ({ id, label: labelOf(payload), count: deliveryCount })),
      );
      const ids = batch.map(({ id }) => id);
      const removed = this.judge.begin(handle, "ackMany", { ids });
      this.judge.end(removed, await mailbox.ackMany(ids));
      if (batch.length > 0) continue;
      const { queuedMessages, inflightMessages } = await mailbox.status();
      if (queuedMessages + inflightMessages === 0) return;
      if (performance.now() > deadline)
        throw new Wrong(`${queuedMessages} queued and ${inflightMessages} inflight never come`);
      await mailbox.recover();
    }
  }

  /** @template T @param {Promise<T>} promise @param {string} what @returns {Promise<T>} */
  async #within(promise, what) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Wrong(`${what} hangs`)), PATIENCE);
    });
    try {
      return /** @type {T} */ (await Promise.race([promise, late]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {Promise<void>} doing */
  #track(doing) {
    const tracked = doing.catch((error) => (this.#wrong ??= error)).finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }

  async #settled() {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }
}

/** Errors that a call may end with when something goes wrong. */
const ALLOWED = ["Killed", "AbortError", "StorageFullError", "ConnectionLostError", "MailboxClosedError"];

/** Programs that run at the same time: they mostly wait. */
const AT_A_TIME = 3;

/**
 * Runs the programs of some seeds.
 * @param {number} first @param {number} count @returns {Promise<string | undefined>} what was wrong, and how it
 * happened
 */
async function run(first, count) {
  const seeds = Array.from({ length: count }, (_, i) => first + i);
  /** @type {string | undefined} */
  let wrong;
  const runSome = async () => {
    while (wrong === undefined && seeds.length > 0) wrong ??= await runOne(/** @type {number} */ (seeds.shift()));
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, runSome));
  return wrong;
}

/** @param {number} seed */
async function runOne(seed) {
  const race = new Race(seed);
  try {
    await race.run();
  } catch (error) {
    const { message, stack } = /** @type {Error} */ (error);
    return [`seed ${seed}: ${error instanceof Wrong ? message : `${message} ${stack}`}`, ...race.judge.log].join("\n");
  }
  return undefined;
}

Object.assign(globalThis, { runRaces: run });
