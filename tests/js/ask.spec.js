// `ask` and `context.reply` in JavaScript. Tests of what is the same in Python have the names of the checks there, see
// pymailbox/testing/checks/asking.py.

import { expect, test as base } from "./page.js";

/** Tests whose page has `consuming` at hand. */
const test = base.extend({
  page: async ({ page }, use) => {
    await page.addScriptTag({ url: "/consuming.js", type: "module" });
    await page.waitForFunction(() => "consuming" in globalThis);
    await use(page);
  },
});

test("answer is the reply", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { bytes, left, textOf } = consuming;
    const [asker, inbox] = [await pymailbox.openMailbox("shop"), await pymailbox.openMailbox("shop")];
    /** @type {import("../../js/index.js").MessageRecord[]} */
    const records = [];
    inbox.consume((message, context) => {
      records.push(message);
      const answer = bytes("4");
      context.reply(answer, { sender: bytes("shop"), priority: "high", headers: { currency: "EUR" } });
      answer.fill(0);
    });
    const question = bytes("tea");
    const headers = new Map([["trace", "1"]]);
    const asking = pymailbox.ask(asker, question, {
      timeout: 60_000,
      sender: bytes("alice"),
      priority: "high",
      headers,
    });
    question.fill(0);
    records.push(await asking);
    const decoder = new TextDecoder();
    const ids = records.map(({ headers }) => headers["correlation-id"]);
    return {
      records: records.map((one) => [textOf(one), decoder.decode(one.sender), one.priority]),
      headers: [records[0].headers.trace, records[1].headers.currency],
      ids: [ids[0]?.length, ids[0] === ids[1]],
      left: await left(inbox),
    };
  });
  expect(seen).toEqual({
    records: [
      ["tea", "alice", "high"],
      ["4", "shop", "high"],
    ],
    headers: ["1", "EUR"],
    ids: [36, true],
    left: [0, 0],
  });
});

test("many questions share a mailbox, and askers get their own answers", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { bytes, eventually, numbered, sleep, textOf } = consuming;
    const [one, other] = [await pymailbox.openMailbox("many"), await pymailbox.openMailbox("many")];
    const inbox = await pymailbox.openMailbox("many");
    /** @type {Set<string | undefined>} */
    const replyTo = new Set();
    let begun = 0;
    inbox.consume(
      async (message, context) => {
        replyTo.add(message.headers["reply-to"]);
        begun += 1;
        await eventually(() => begun === 12);
        await sleep(20 * Math.random());
        context.reply(bytes(`re: ${textOf(message)}`));
      },
      { concurrency: 12 },
    );
    const asked = numbered(12).map((text, i) => pymailbox.ask(i % 2 ? one : other, bytes(text), { timeout: Infinity }));
    return { answers: (await Promise.all(asked)).map(textOf), mailboxes: replyTo.size };
  });
  expect(seen).toEqual({ answers: Array.from({ length: 12 }, (_, i) => `re: m${i}`), mailboxes: 2 });
});

test("reply commits with the ack", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { AT_ONCE, bytes, left, sleep, textOf } = consuming;
    const [asker, inbox] = [await pymailbox.openMailbox("commits"), await pymailbox.openMailbox("commits")];
    let isAnswered = false;
    /** @type {boolean[]} */
    const answered = [];
    inbox.consume(
      async ({ deliveryCount }, context) => {
        context.reply(bytes(`attempt ${deliveryCount}`));
        context.reply(bytes("a second one"));
        await sleep(50);
        answered.push(isAnswered);
        if (deliveryCount === 1) throw new Error("on purpose");
      },
      { retry: AT_ONCE },
    );
    const answer = await pymailbox.ask(asker, bytes("work"), { timeout: 60_000 });
    isAnswered = true;
    return { answered, answer: textOf(answer), left: await left(asker) };
  });
  expect(seen).toEqual({ answered: [false, false], answer: "attempt 2", left: [0, 0] });
});

test("no answer in time, or the call is aborted: the question stays, and its answer is dropped", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, bytes, eventually, left, textOf } = consuming;
    const [asker, inbox] = [await pymailbox.openMailbox("late"), await pymailbox.openMailbox("late")];
    const controller = new AbortController();
    const aborted = pymailbox
      .ask(asker, bytes("aborted"), { timeout: Infinity, signal: controller.signal })
      .catch((error) => error);
    await eventually(async () => (await left(asker))[0] === 1);
    controller.abort("given up");
    const late = await pymailbox.ask(asker, bytes("late"), { timeout: 200 }).catch((error) => error);
    const before = await pymailbox
      .ask(asker, bytes("never"), { timeout: 200, signal: AbortSignal.abort("before") })
      .catch((error) => error);
    const names = new Set();
    inbox.consume((message, context) => {
      names.add(message.headers["reply-to"]);
      context.reply(bytes(`re: ${textOf(message)}`));
    });
    await allHandled(inbox);
    const answer = await pymailbox.ask(asker, bytes("in time"), { timeout: 60_000 });
    const [name] = names;
    const replies = await pymailbox.openMailbox(`indexeddb://${name}`);
    // nothing but what its reader holds for good
    await eventually(async () => (await left(replies)).join() === "0,1");
    const ever = (await asker.status()).everQueued;
    return { outcomes: [await aborted, late.name, late instanceof DOMException, before], answer: textOf(answer), ever };
  });
  expect(seen).toEqual({
    outcomes: ["given up", "TimeoutError", true, "before"],
    answer: "re: in time",
    ever: 3,
  });
});

test("closing ends questions, and an answer to nobody is dropped", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, bytes, eventually, left, sleep } = consuming;
    const inbox = await pymailbox.openMailbox("closing");
    const ask = async (/** @type {import("../../js/index.js").Mailbox} */ asker) =>
      pymailbox.ask(asker, bytes("?"), { timeout: 60_000 }).catch((error) => error.name);
    /** @type {unknown[]} */
    const outcomes = [];
    /** @type {string[]} */
    const names = [];
    // before its reply mailbox exists
    const hasty = await pymailbox.openMailbox("closing");
    const hastily = ask(hasty);
    await hasty.close();
    outcomes.push(await hastily, await ask(hasty));
    const waiting = await pymailbox.openMailbox("closing");
    const asked = [ask(waiting), ask(waiting)];
    await eventually(async () => (await left(inbox))[0] >= 2);
    await waiting.close();
    outcomes.push(...(await Promise.all(asked)));
    // while its question is handled by somebody who knows its reply mailbox
    const known = await pymailbox.openMailbox("closing");
    let isClosing = false;
    inbox.consume(async (message, context) => {
      names.push(message.headers["reply-to"]);
      context.reply(bytes("!"));
      if (isClosing) await known.close();
    });
    outcomes.push((await pymailbox.ask(known, bytes("?"), { timeout: 60_000 })).payload.length);
    isClosing = true;
    outcomes.push(await ask(known));
    await allHandled(inbox);
    await sleep(50); // time for one that comes late
    await eventually(async () => !(await pymailbox.listMailboxes()).some((name) => name.includes("replies")));
    return { outcomes, handled: names.length >= 4 };
  });
  const closed = "MailboxClosedError";
  expect(seen).toEqual({ outcomes: [closed, closed, closed, closed, 1, closed], handled: true });
});

test("the same question again is stored once", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { bytes, eventually, left, textOf } = consuming;
    const [asker, inbox] = [await pymailbox.openMailbox("same"), await pymailbox.openMailbox("same")];
    const id = crypto.randomUUID();
    const asked = [id, id.toUpperCase()].map((messageId) =>
      pymailbox.ask(asker, bytes("one"), { timeout: 60_000, messageId }),
    );
    await eventually(async () => (await left(inbox))[0] === 1);
    inbox.consume((_, context) => context.reply(bytes("re"), { messageId: crypto.randomUUID() }));
    return { answers: (await Promise.all(asked)).map(textOf), ever: (await inbox.status()).everQueued };
  });
  expect(seen).toEqual({ answers: ["re", "re"], ever: 1 });
});

test("reply to any mailbox, and none is made", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { allHandled, bytes, textOf } = consuming;
    const [inbox, answers] = [await pymailbox.openMailbox("in"), await pymailbox.openMailbox("an/swers")];
    /** @type {Record<string, string>[]} */
    const headers = [
      { "reply-to": "an/swers", "correlation-id": "id 0" },
      { "reply-to": "missing", "correlation-id": "id 1" },
      { "reply-to": "an/swers" },
    ];
    for (const [i, one] of headers.entries()) await inbox.enqueue(new Uint8Array(), bytes(`m${i}`), { headers: one });
    const consumer = inbox.consume(async (message, context) => {
      context.reply(bytes(`re: ${textOf(message)}`));
      // what it sent is then stored separately
      if (textOf(message) === "m2") await inbox.ack(message.id);
    });
    await allHandled(inbox);
    await consumer.stop();
    const got = (await answers.dequeue()).map((one) => [textOf(one), one.headers["correlation-id"] ?? null]);
    return { got, names: await pymailbox.listMailboxes() };
  });
  expect(seen).toEqual({
    got: [
      ["re: m0", "id 0"],
      ["re: m2", null],
    ],
    names: ["an/swers", "in"],
  });
});

test("left over mailboxes are deleted", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const { bytes, eventually, sleep } = consuming;
    // as if they had been made an hour ago
    const time = (Date.now() - 3_600_000).toString(16).padStart(12, "0");
    const markers = [1, 2].map((i) => `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-00000000000${i}`);
    const [dead, living] = markers.map((marker) => `pymailbox-replies-${marker}`);
    const left = await pymailbox.openMailbox(dead);
    await left.enqueue(bytes(""), bytes(""), { messageId: markers[0] });
    await left.enqueue(bytes(""), bytes("an answer"));
    const held = await pymailbox.openMailbox(living);
    await held.enqueue(bytes(""), bytes(""), { messageId: markers[1] });
    await held.dequeue();
    const [asker, inbox] = [await pymailbox.openMailbox("left"), await pymailbox.openMailbox("left")];
    inbox.consume((_, context) => context.reply(bytes("re")));
    await pymailbox.ask(asker, bytes("one"), { timeout: 60_000 });
    const there = async () => (await pymailbox.listMailboxes()).filter((name) => [dead, living].includes(name));
    await eventually(async () => !(await there()).includes(dead));
    await sleep(50);
    return { there: (await there()).map((name) => name === living) };
  });
  expect(seen).toEqual({ there: [true] });
});

for (const [leave, comeBack] of [
  ["freeze", "resume"],
  ["pagehide", "pageshow"],
]) {
  test(`after ${leave} and ${comeBack} an asker gets its answers again, although it seemed to be gone`, async ({
    page,
  }) => {
    const seen = await page.evaluate(
      async ([leave, comeBack]) => {
        const { bytes, eventually, left, textOf } = consuming;
        const [asker, inbox] = [await pymailbox.openMailbox("frozen"), await pymailbox.openMailbox("frozen")];
        const open = pymailbox.ask(asker, bytes("open"), { timeout: 60_000 });
        await eventually(async () => (await left(inbox))[0] === 1);
        const [question] = await inbox.peek();
        dispatchEvent(new Event(leave));
        dispatchEvent(new Event(comeBack));
        const name = question.headers["reply-to"];
        const replies = await pymailbox.openMailbox(name);
        const consumer = inbox.consume((message, context) => context.reply(bytes(`re: ${textOf(message)}`)));
        const answers = [textOf(await open)];
        await consumer.stop();
        // its marker is held again, and that is all
        await eventually(async () => (await left(replies)).join() === "0,1");
        // and now somebody deletes it meanwhile, and a waiting question learns of it
        await inbox.close();
        const lost = pymailbox.ask(asker, bytes("lost"), { timeout: Infinity }).catch((error) => error.name);
        await eventually(async () => (await left(asker))[0] === 1);
        dispatchEvent(new Event(leave));
        await pymailbox.deleteMailbox(name);
        dispatchEvent(new Event(comeBack));
        // where nobody knows that mailbox
        const other = await pymailbox.openMailbox("frozen");
        other.consume((message, context) => context.reply(bytes(`re: ${textOf(message)}`)));
        answers.push(textOf(await pymailbox.ask(asker, bytes("next"), { timeout: 60_000 })));
        answers.push(await lost);
        return answers;
      },
      [leave, comeBack],
    );
    expect(seen).toEqual(["re: open", "re: next", "TimeoutError"]);
  });
}

test("when an asking page is left, its reply mailbox may be deleted", async ({ page, context, baseURL }) => {
  const asking = await context.newPage();
  await asking.goto(`${baseURL}/`);
  await asking.waitForFunction(() => "pymailbox" in globalThis);
  await asking.evaluate(async () => {
    const asker = await pymailbox.openMailbox("left");
    pymailbox.ask(asker, new Uint8Array(), { timeout: Infinity });
    while ((await asker.status()).queuedMessages === 0);
  });
  const name = await page.evaluate(
    async () => (await (await pymailbox.openMailbox("left")).peek())[0].headers["reply-to"],
  );
  const left = () =>
    page.evaluate(async (name) => {
      const replies = await pymailbox.openMailbox(name);
      await replies.recover();
      const { queuedMessages, inflightMessages } = await replies.status();
      await replies.close();
      return [queuedMessages, inflightMessages];
    }, name);
  expect(await left()).toEqual([0, 1]);
  await asking.goto("about:blank");
  await expect.poll(left).toEqual([1, 0]);
  await asking.close();
});

test("arguments are checked before anything is stored", async ({ page }) => {
  const outcomes = await page.evaluate(async () => {
    const { bytes, left } = consuming;
    const mailbox = await pymailbox.openMailbox("bad");
    const { ask } = /** @type {any} */ (pymailbox);
    const timeout = 1000;
    /** @type {[string, () => unknown][]} */
    const calls = [
      ["TypeError mailbox", () => ask("bad", bytes(""), { timeout })],
      ["TypeError payload", () => ask(mailbox, "text", { timeout })],
      ["TypeError timeout", () => ask(mailbox, bytes(""))],
      ["TypeError timeout", () => ask(mailbox, bytes(""), { timeout: "1" })],
      ["RangeError timeout", () => ask(mailbox, bytes(""), { timeout: 0 })],
      ["RangeError timeout", () => ask(mailbox, bytes(""), { timeout: NaN })],
      ["TypeError options", () => ask(mailbox, bytes(""), { timeout, delay: 5 })],
      ["TypeError sender", () => ask(mailbox, bytes(""), { timeout, sender: "me" })],
      ["RangeError priority", () => ask(mailbox, bytes(""), { timeout, priority: "urgent" })],
      ["RangeError messageId", () => ask(mailbox, bytes(""), { timeout, messageId: "1" })],
      ["TypeError headers", () => ask(mailbox, bytes(""), { timeout, headers: 5 })],
      ["RangeError headers", () => ask(mailbox, bytes(""), { timeout, headers: { "reply-to": "me" } })],
      ["RangeError headers", () => ask(mailbox, bytes(""), { timeout, headers: { "correlation-id": "1" } })],
      ["TypeError signal", () => ask(mailbox, bytes(""), { timeout, signal: 1 })],
    ];
    /** @type {[string, string][]} */
    const outcomes = [];
    const note = async (/** @type {string} */ expected, /** @type {() => unknown} */ call) => {
      try {
        outcomes.push([`${call} ${expected}`, `${call} gave ${await call()}`]);
      } catch (error) {
        const { name, message } = /** @type {Error} */ (error);
        outcomes.push([`${call} ${expected}`, `${call} ${name} ${message.split(" ")[0]}`]);
      }
    };
    for (const [expected, call] of calls) await note(expected, call);
    outcomes.push(["0,0", (await left(mailbox)).join()], ["bad", (await pymailbox.listMailboxes()).join()]);
    const headers = { "reply-to": "missing" };
    await mailbox.enqueue(bytes(""), bytes("no question"));
    await mailbox.enqueue(bytes(""), bytes("question"), { headers });
    /** @type {any} */
    let kept;
    const consumer = mailbox.consume(async (message, context) => {
      /** @type {any} */
      const any = (kept = context);
      if (!("reply-to" in message.headers)) {
        await note("RangeError message", () => any.reply(bytes("")));
        return;
      }
      await note("TypeError payload", () => any.reply("text"));
      await note("TypeError payload", () => any.reply());
      await note("TypeError options", () => any.reply(bytes(""), { delay: 1 }));
      await note("TypeError sender", () => any.reply(bytes(""), { sender: 1 }));
      await note("RangeError messageId", () => any.reply(bytes(""), { messageId: "1" }));
      await note("RangeError headers", () => any.reply(bytes(""), { headers: { "correlation-id": "1" } }));
      context.stop();
    });
    await consumer.finished;
    await note("Error This", () => kept.reply(bytes("")));
    outcomes.push(["24", String(outcomes.length)]);
    return outcomes;
  });
  expect(outcomes.map(([, outcome]) => outcome)).toEqual(outcomes.map(([expected]) => expected));
});
