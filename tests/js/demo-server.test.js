// What the demo counts of what was sent to its server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connectedTo, newAtServer, sentThere } from "../../demo/server-account.js";

/** @param {Partial<import("../../js/index.js").MailboxStats>} some */
const outbox = (some) =>
  /** @type {import("../../js/index.js").MailboxStats} */ ({
    queuedMessages: 0,
    inflightMessages: 0,
    deadLetters: 0,
    ...some,
  });

test("sent is what has left the outbox, whoever took it", () => {
  const account = { ...newAtServer("ws://one"), sent: 10 };
  assert.equal(sentThere(account, outbox({})), 10);
  assert.equal(sentThere(account, outbox({ queuedMessages: 3, inflightMessages: 2, deadLetters: 1 })), 4);
});

test("what a relay still has from before a start over is not less than nothing", () => {
  assert.equal(sentThere(newAtServer("ws://one"), outbox({ inflightMessages: 100 })), 0);
});

test("what went to a server before this one does not count, what waited for it does", () => {
  const account = { ...connectedTo(newAtServer(), "ws://one", outbox({})), sent: 10 };
  const again = connectedTo(account, "ws://one", outbox({ queuedMessages: 3 }));
  assert.equal(sentThere(again, outbox({})), 10);
  const other = connectedTo(account, "ws://two", outbox({ queuedMessages: 3 }));
  assert.equal(sentThere(other, outbox({ queuedMessages: 3 })), 0);
  assert.equal(sentThere(other, outbox({})), 3);
});

test("an account from before servers were noted takes the first one for its own", () => {
  const { sender } = newAtServer();
  const account = connectedTo({ sender, sent: 10 }, "ws://one", outbox({}));
  assert.equal(sentThere(account, outbox({})), 10);
});
