// Large messages whose files cannot be read for a while: browsers keep each in a file of its own, which is moved away
// here.

import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { test as base, expect } from "@playwright/test";

import { launchOptions } from "../../tools/browsers.mjs";

/** Bytes of a message that every browser keeps in a file, and of one that the engine does not keep in memory either. */
const LARGE = 1_200_000;
const VERY_LARGE = 9_000_000;

/**
 * The files of a profile's large messages, by the text with which each payload begins: a long one, since the rest is
 * random.
 */
class Files {
  /** @type {[string, string][]} */
  #moved = [];

  /** @param {string} folder */
  constructor(folder) {
    this.profile = join(folder, "profile");
    this.elsewhere = join(folder, "elsewhere");
    for (const folder of [this.profile, this.elsewhere]) mkdirSync(folder, { recursive: true });
  }

  /** Moves away the files of messages, which must all exist. @param {string[]} payloads */
  takeAway(...payloads) {
    const texts = new Set(payloads);
    for (const file of readdirSync(this.profile, { recursive: true, encoding: "utf8" })) {
      if (!/\.indexeddb\.blob|\.files/.test(file)) continue;
      const path = join(this.profile, file);
      if (!statSync(path).isFile()) continue;
      const begin = readFileSync(path).subarray(0, 1000).toString("latin1");
      const text = [...texts].find((text) => begin.includes(`<message ${text}>`));
      if (text === undefined) continue;
      texts.delete(text);
      const away = join(this.elsewhere, String(this.#moved.length));
      renameSync(path, away);
      this.#moved.push([path, away]);
    }
    expect([...texts]).toEqual([]);
  }

  putBack() {
    for (const [path, away] of this.#moved.splice(0)) renameSync(away, path);
  }

  delete() {
    for (const folder of [this.profile, this.elsewhere]) rmSync(folder, { recursive: true, force: true });
  }
}

/** @typedef {import("@playwright/test").Page} Page */

/**
 * @typedef {import("@playwright/test").PlaywrightTestArgs & import("@playwright/test").PlaywrightTestOptions} TestArgs
 */
/**
 * @typedef {import("@playwright/test").PlaywrightWorkerArgs & import("@playwright/test").PlaywrightWorkerOptions}
 * WorkerArgs
 */
/** @typedef {{context: import("@playwright/test").BrowserContext, files: Files}} Browser */

/**
 * `files` of one browser for all tests; `open` gives a page, which is a separate context.
 * @type
 * {import("@playwright/test").Fixtures<{open: () => Promise<Page>, files: Files}, {ownBrowser: Browser}, TestArgs,
 *   WorkerArgs>}
 */
const fixtures = {
  ownBrowser: [
    async ({ playwright, browserName }, use, info) => {
      const files = new Files(mkdtempSync(join(tmpdir(), `pymailbox-${info.workerIndex}-`)));
      const context = await playwright[browserName].launchPersistentContext(files.profile, launchOptions(browserName));
      await use({ context, files });
      await context.close();
      files.delete();
    },
    { scope: "worker" },
  ],
  files: async ({ ownBrowser: { files } }, use) => {
    await use(files);
    files.putBack();
  },
  open: async ({ ownBrowser: { context }, baseURL }, use) => {
    /** @type {Page[]} */
    const pages = [];
    await use(async () => {
      const page = await context.newPage();
      pages.push(page);
      await page.goto(`${baseURL}/`);
      await page.waitForFunction(() => "pymailbox" in globalThis);
      await page.evaluate(prepare);
      return page;
    });
    for (const page of pages) await page.close();
  },
};
const test = base.extend(fixtures);

/** What else the pages here have. */
function prepare() {
  const textOf = (/** @type {{payload: Uint8Array}} */ { payload }) =>
    /<message (.*?)>/.exec(new TextDecoder("latin1").decode(payload.subarray(0, 100)))?.[1];
  const payloadOf = (/** @type {string} */ text, size = 0) => {
    const begin = new TextEncoder().encode(`<message ${text}>`);
    const payload = new Uint8Array(Math.max(size, begin.length));
    // compressible data would not be large
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(payload.subarray(at, Math.min(size, at + 65536)));
    payload.set(begin);
    return payload;
  };
  const eventually = async (/** @type {() => Promise<boolean>} */ holds) => {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  Object.assign(globalThis, { here: { textOf, payloadOf, eventually } });
}

/**
 * Stores messages, in a page that is then closed.
 * @param {() => Promise<Page>} open @param {string} name
 * @param {[text: string, size?: number, options?: object][]} messages @returns {Promise<string[]>} their ids
 */
async function stored(open, name, messages) {
  const page = await open();
  const ids = await page.evaluate(
    async ([name, messages]) => {
      const mailbox = await pymailbox.openMailbox(name);
      const ids = await mailbox.enqueueMany(
        messages.map(([text, size, options]) => ({
          sender: new Uint8Array(),
          payload: here.payloadOf(text, size),
          ...options,
        })),
      );
      await mailbox.close();
      return ids;
    },
    /** @type {const} */ ([name, messages]),
  );
  await page.close();
  return ids;
}

/** The warnings of a page. @param {Page} page */
function warningsOf(page) {
  /** @type {string[]} */
  const warnings = [];
  page.on("console", (message) => message.type() === "warning" && warnings.push(message.text()));
  return warnings;
}

test("an unreadable message is passed over, stays in its place, and comes when it can be read again", async ({
  files,
  open,
}) => {
  const ids = await stored(open, "box", [["a", LARGE], ["b", LARGE], ["c"], ["d", LARGE]]);
  files.takeAway("b", "d");
  const page = await open();
  const warnings = warningsOf(page);
  const seen = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("box");
    const shown = await mailbox.peek();
    const first = await mailbox.dequeue();
    const none = await mailbox.dequeue();
    const { queuedMessages, inflightMessages, deadLetters } = await mailbox.status();
    await mailbox.close();
    return {
      shown: shown.map(here.textOf),
      first: first.map(here.textOf),
      none: none.length,
      counts: [queuedMessages, inflightMessages, deadLetters],
    };
  });
  expect(seen).toEqual({ shown: ["a", "c"], first: ["a", "c"], none: 0, counts: [2, 2, 0] });
  // another context finds out by itself
  const other = await open();
  const there = await other.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("box");
    const batch = await mailbox.dequeue();
    await mailbox.close();
    return batch.map(here.textOf);
  });
  expect(there).toEqual(["a", "c"]);
  files.putBack();
  const back = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("box");
    await here.eventually(async () => (await mailbox.peek()).length === 4);
    const batch = await mailbox.dequeue();
    await mailbox.close();
    return batch.map((record) => [here.textOf(record), record.payload.length, record.deliveryCount]);
  });
  expect(back).toEqual([
    ["a", LARGE, 1],
    ["b", LARGE, 1],
    ["c", "<message c>".length, 1],
    ["d", LARGE, 1],
  ]);
  const fresh = await open();
  const atOnce = await fresh.evaluate(async () =>
    (await (await pymailbox.openMailbox("box")).dequeue()).map(here.textOf),
  );
  expect(atOnce).toEqual(["a", "b", "c", "d"]);
  expect(warnings.length).toBe(2);
  for (const id of [ids[1], ids[3]]) expect(warnings.filter((text) => text.includes(`ack("${id}")`)).length).toBe(1);
});

test("a waiting call gets what can be read again, and what comes meanwhile", async ({ files, open }) => {
  await stored(open, "waiting", [["late", LARGE]]);
  files.takeAway("late");
  const page = await open();
  const meanwhile = await page.evaluate(async () => {
    const mailbox = await pymailbox.openMailbox("waiting");
    const messages = mailbox.messages();
    const first = messages.next();
    await mailbox.enqueue(new Uint8Array(), here.payloadOf("new"));
    const { value } = await first;
    here.next = messages.next();
    return here.textOf(value);
  });
  expect(meanwhile).toBe("new");
  files.putBack();
  expect(await page.evaluate(async () => here.textOf((await here.next).value))).toBe("late");
});

test("however many there are, a claim costs few transactions, and all come in their order", async ({
  files,
  open,
  browserName,
}) => {
  // Firefox keeps only values above 1 MiB in files
  const [count, size] = browserName === "chromium" ? [300, 70_000] : [40, LARGE];
  const texts = Array.from({ length: count }, (_, i) => String(i));
  await stored(
    open,
    "many",
    texts.flatMap((text) => /** @type {[string, number?][]} */ ([[text, size], [`small ${text}`]])),
  );
  files.takeAway(...texts);
  const page = await open();
  const seen = await page.evaluate(async () => {
    const mailbox = (here.mailbox = await pymailbox.openMailbox("many"));
    let [transactions, reads] = [0, 0];
    const { transaction } = IDBDatabase.prototype;
    const { get } = IDBObjectStore.prototype;
    IDBDatabase.prototype.transaction = function (...given) {
      transactions += 1;
      return transaction.apply(this, given);
    };
    Object.assign(IDBObjectStore.prototype, {
      /** @this {IDBObjectStore} @param {IDBValidKey} key */
      get(key) {
        if (this.name === "segments") reads += 1;
        return get.call(this, key);
      },
    });
    const [one] = await mailbox.dequeue({ limit: 1 });
    const batch = [one, ...(await mailbox.dequeue({ limit: 1000 }))];
    const first = transactions;
    const { queuedMessages } = await mailbox.status();
    [transactions, reads] = [0, 0];
    let more = 0;
    for (let i = 0; i < 10; i++) more += (await mailbox.dequeue()).length;
    const costs = { first: first < 20, transactions: transactions <= 40, reads: reads <= 10 * 32 };
    Object.assign(IDBObjectStore.prototype, { get });
    IDBDatabase.prototype.transaction = transaction;
    const acked = await mailbox.ackMany(batch.map(({ id }) => id));
    return { texts: batch.map(here.textOf), queuedMessages, more, acked, costs };
  });
  expect(seen).toEqual({
    texts: texts.map((text) => `small ${text}`),
    queuedMessages: count,
    more: 0,
    acked: count,
    costs: { first: true, transactions: true, reads: true },
  });
  files.putBack();
  const back = await page.evaluate(async (count) => {
    const seen = [];
    while (seen.length < count) seen.push(...(await here.mailbox.dequeue({ limit: 37, wait: Infinity })));
    return seen.map(here.textOf);
  }, count);
  expect(back).toEqual(texts);
});

test("what needs no bytes works without them, and what does says so", async ({ files, open }) => {
  const given = "00000000-0000-4000-8000-000000000001";
  const ids = await stored(open, "verbs", [
    ["acked", LARGE],
    ["named", LARGE, { messageId: given }],
    ["purged", LARGE, { delay: 1e9 }],
    ["dead", LARGE],
    ["dead too", LARGE],
    ["dead and small"],
  ]);
  const before = await open();
  await before.evaluate(async (ids) => {
    const mailbox = await pymailbox.openMailbox("verbs");
    const batch = await mailbox.dequeue();
    for (const { id } of batch) if (ids.includes(id)) await mailbox.deadLetter(id, "bad");
    await mailbox.close();
  }, ids.slice(3));
  await before.close();
  files.takeAway("acked", "named", "purged", "dead", "dead too");
  const page = await open();
  const warnings = warningsOf(page);
  const seen = await page.evaluate(
    async ([ids, given]) => {
      const mailbox = (here.mailbox = await pymailbox.openMailbox("verbs"));
      const none = await mailbox.dequeue();
      const letters = await mailbox.deadLetters();
      const error = await mailbox.redrive(ids[3]).catch((error) => error);
      const again = await mailbox.enqueue(new Uint8Array(), here.payloadOf("again"), { messageId: given });
      const { queuedMessages, deadLetters } = await mailbox.status();
      return {
        none: none.length,
        letters: letters.map(({ record }) => here.textOf(record)),
        error: [error.name, error.passing, error.message.includes(ids[3])],
        again,
        counts: [queuedMessages, deadLetters],
        acked: [await mailbox.ack(ids[0]), await mailbox.ack(ids[0])],
        discarded: [await mailbox.discard(ids[4]), await mailbox.discard(ids[4])],
        purged: await mailbox.purge(),
      };
    },
    /** @type {const} */ ([ids, given]),
  );
  expect(seen).toEqual({
    none: 0,
    letters: ["dead and small"],
    error: ["StorageUnavailableError", true, true],
    again: given,
    counts: [3, 3],
    acked: [true, false],
    discarded: [true, false],
    purged: 2,
  });
  files.putBack();
  const back = await page.evaluate(async (id) => {
    await here.eventually(async () => (await here.mailbox.deadLetters()).length === 2);
    return [await here.mailbox.redrive(id), (await here.mailbox.dequeue()).map(here.textOf)];
  }, ids[3]);
  expect(back).toEqual([true, ["dead"]]);
  expect(warnings.filter((text) => text.includes(`discard("${ids[3]}")`)).length).toBe(1);
  expect(warnings.filter((text) => text.includes(`ack("${given}")`)).length).toBe(1);
});

test("what is inflight is given back and acknowledged without its bytes", async ({ files, open }) => {
  const texts = ["acked", "nacked", "worn out", "buried", "closed"];
  await stored(
    open,
    "inflight",
    texts.map((text) => [text, VERY_LARGE]),
  );
  const page = await open();
  await page.evaluate(async () => {
    const mailbox = (here.mailbox = await pymailbox.openMailbox("inflight", { maxDeliveries: 1 }));
    const patient = (here.patient = await pymailbox.openMailbox("inflight"));
    const [acked] = await mailbox.dequeue({ limit: 1 });
    const [nacked] = await patient.dequeue({ limit: 1 });
    here.held = [acked, nacked, ...(await mailbox.dequeue())];
  });
  files.takeAway(...texts);
  const seen = await page.evaluate(async () => {
    const { mailbox, patient } = here;
    const [acked, nacked, wornOut, buried] = here.held.map(({ id }) => id);
    const error = await mailbox.deadLetter(buried, "bad").then(
      () => new Error("none"),
      (error) => error,
    );
    const answers = [
      await mailbox.ack(acked),
      await patient.nack(nacked),
      await mailbox.nack(wornOut, { error: "failed" }),
    ];
    const { queuedMessages, inflightMessages, deadLetters } = await mailbox.status();
    await mailbox.close();
    const after = await patient.status();
    return {
      answers,
      error: [error.name, error.passing, error.message.includes(buried)],
      counts: [queuedMessages, inflightMessages, deadLetters],
      closed: [after.queuedMessages, after.inflightMessages, after.deadLetters],
    };
  });
  expect(seen).toEqual({
    answers: [true, true, true],
    error: ["StorageUnavailableError", true, true],
    counts: [2, 2, 0],
    closed: [4, 0, 0],
  });
  files.putBack();
  const back = await page.evaluate(async () => {
    const { patient } = here;
    await here.eventually(async () => (await patient.peek()).length === 4);
    const batch = [];
    for (let i = 0; i < 4; i++) batch.push(...(await patient.dequeue({ limit: 1 })));
    return batch.map((record) => [here.textOf(record), record.deliveryCount]);
  });
  expect(back).toEqual([
    ["nacked", 2],
    ["worn out", 2],
    ["buried", 1],
    ["closed", 1],
  ]);
});

test("what a dead holder held comes back without its bytes", async ({ files, open }) => {
  await stored(open, "killed", [["held", VERY_LARGE]]);
  const page = await open();
  await page.evaluate(async () => {
    const source = `
      import { openMailbox } from ${JSON.stringify(new URL("/js/index.js", location.href).href)};
      const mailbox = await openMailbox("killed", { maxDeliveries: 1 });
      postMessage((await mailbox.dequeue()).length);
    `;
    here.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
    const { data } = await new Promise((resolve) => here.worker.addEventListener("message", resolve));
    if (data !== 1) throw new Error(`it has ${data}`);
  });
  files.takeAway("held");
  const counts = await page.evaluate(async () => {
    here.worker.terminate();
    const mailbox = (here.mailbox = await pymailbox.openMailbox("killed"));
    await here.eventually(async () => (await mailbox.recover()) > 0 || (await mailbox.status()).inflightMessages === 0);
    const none = await mailbox.dequeue();
    const { queuedMessages, inflightMessages, deadLetters } = await mailbox.status();
    return [none.length, queuedMessages, inflightMessages, deadLetters];
  });
  expect(counts).toEqual([0, 1, 0, 0]);
  files.putBack();
  const back = await page.evaluate(async () =>
    (await here.mailbox.dequeue({ wait: Infinity })).map((record) => [here.textOf(record), record.deliveryCount]),
  );
  expect(back).toEqual([["held", 2]]);
});
