// The examples of docs/reference.md that are in JavaScript, which are those of the JSDoc, do what their texts say.
// tests/docs/test_reference.py runs those in Python.

import { readFileSync } from "node:fs";
import { expect, test } from "./page.js";

/** By the name above each. @type {Map<string, string>} */
const EXAMPLES = new Map();
const page = readFileSync(new URL("../../docs/reference.md", import.meta.url), "utf8");
for (const part of page.split(/^#{3,4} /m)) {
  const name = /^`([\w.]+)` \(JavaScript\)/.exec(part)?.[1];
  const code = /^```js\n(.*?)^```/ms.exec(part)?.[1];
  if (name !== undefined && code !== undefined) EXAMPLES.set(name, code);
}

/** What a page does before and after each. @type {Record<string, [before: string, after: string]>} */
const AROUND = {
  exportMailbox: [
    `const written = [];
    const fileHandle = { createWritable: async () => new WritableStream({ write: (piece) => void written.push(piece) }) };
    await mailbox.enqueue(sender, bytes("hello"));`,
    "return [await blob.text() === await new Blob(written).text(), (await blob.text()).split('\\n').length];",
  ],
  "Mailbox.consume": [
    `const me = bytes("me");
    const answerTo = (payload) => bytes(text(payload).toUpperCase());
    await mailbox.enqueue(sender, bytes("hello"));
    outbox.dequeue({ wait: Infinity }).then(([{ payload }]) => {
      answer = text(payload);
      void consumer.stop();
    });
    let answer;`,
    "return answer;",
  ],
  ask: [
    `const prices = mailbox;
    const shop = mailbox.consume((_, context) => context.reply(bytes("4.20 EUR")));`,
    "await shop.stop(); return text(answer.payload);",
  ],
  Backpressure: [
    "const frames = [bytes('1'), bytes('2')];",
    "return (await mailbox.dequeue()).map(({ payload }) => text(payload));",
  ],
};

const OUTCOMES = {
  exportMailbox: [true, 4],
  "Mailbox.consume": "HELLO",
  ask: "4.20 EUR",
  Backpressure: ["1", "2"],
};

test("each example is run", () => {
  expect([...EXAMPLES.keys()].sort()).toEqual(Object.keys(AROUND).sort());
});

for (const [name, [before, after]] of Object.entries(AROUND)) {
  test(`the example of ${name} does what it says`, async ({ page }) => {
    const outcome = await page.evaluate(`(async () => {
      const { Backpressure, ask, exportMailbox, openMailbox } = pymailbox;
      const bytes = (text) => new TextEncoder().encode(text);
      const text = (bytes) => new TextDecoder().decode(bytes);
      const [mailbox, outbox, sender] = [await openMailbox("example"), await openMailbox("outbox"), bytes("alice")];
      ${before}
      ${EXAMPLES.get(name)}
      ${after}
    })()`);
    expect(outcome).toEqual(OUTCOMES[/** @type {keyof typeof OUTCOMES} */ (name)]);
  });
}
