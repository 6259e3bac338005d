// Who is told of a commit, if one of those throws.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Notifier } from "../../js/coordination/notifier.js";

test("an observer that throws keeps nobody else from being told", () => {
  const reported = mock.method(console, "error", () => {});
  /** @type {unknown[]} */
  const told = [];
  const channel = { postMessage: (/** @type {any} */ data) => told.push(data.mailbox ?? "hello"), close() {} };
  const notifier = new Notifier(() => /** @type {any} */ (channel), new EventTarget());
  notifier.add({
    mailbox: "inbox",
    receiveDepth() {
      throw new Error("of an observer");
    },
  });
  notifier.add({ mailbox: "inbox", receiveDepth: (depth) => told.push(depth) });
  notifier.listen(() => told.push("waiters"));
  /** @type {any} */ (channel).onmessage({ data: { answered: "somebody" } });
  notifier.publish({ mailbox: "inbox", depth: 3 });
  assert.deepEqual(told, ["hello", 3, "waiters", "inbox"]);
  assert.equal(reported.mock.callCount(), 1);
});
