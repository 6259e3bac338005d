// What the demo counts of what was sent to its server.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Arrivals } from "../../demo/arrivals.js";
import { arrivedText, noServer, relayText, serverText } from "../../demo/format.js";
import { connectedTo, newAtServer, sentThere } from "../../demo/server-account.js";

/** @param {Partial<import("../../js/index.js").MailboxStats>} some */
const outbox = (some) =>
  /** @type {import("../../js/index.js").MailboxStats} */ ({
    queuedMessages: 0,
    inflightMessages: 0,
    deadLetters: 0,
    ...some,
  });

const SERVER = { location: "ws://one", runs: false, problem: null, tallies: {}, last: [] };

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

/** @param {Partial<import("../../demo/types.js").SentAndArrived>} some */
const counts = (some) => [{ sender: "a", sent: 100, waiting: 0, dead: 0, arrived: 100, twice: 0, ...some }];

/** What is said after looks at these milliseconds. @param {ReturnType<typeof counts>} sent @param {number[]} looks */
function said(sent, looks, isSeen = true) {
  const arrivals = new Arrivals();
  return looks.map((at) => arrivedText(arrivals.look(sent, isSeen, at))).at(-1);
}

test("nothing is missing when that is seen twice", () => {
  assert.equal(said(counts({}), [0]), "Checked by number: 100 arrived, none of them twice.");
  assert.equal(said(counts({}), [0, 250]), "Checked by number: 100 arrived, none of them twice, none missing.");
});

test("the last ones that do not arrive are missing, once there was time for it", () => {
  const late = counts({ arrived: 90 });
  assert.equal(said(late, [0, 250]), "Checked by number: 90 arrived, none of them twice. 10 to come.");
  assert.equal(said(late, [0, 30_000]), "Checked by number: 90 arrived, none of them twice, 10 missing.");
  assert.equal(
    said(counts({ arrived: 0 }), [0, 30_000]),
    "Checked by number: 0 arrived, none of them twice, 100 missing.",
  );
});

test("one peer's messages do not stand in for another's", () => {
  const both = [...counts({ sent: 110 }), ...counts({ sender: "b", sent: 5, waiting: 10, arrived: 15 })];
  assert.equal(said(both, [0, 30_000]), "Checked by number: 115 arrived, none of them twice, 10 missing. 10 to come.");
});

test("nothing is called missing while the server cannot be seen, or things change", () => {
  const late = counts({ arrived: 90 });
  assert.equal(said(late, [0, 30_000], false), "Checked by number: 90 arrived, none of them twice. 10 to come.");
  assert.match(said(counts({}), [0, 250], false) ?? "", /none missing\.$/, "what is there stays there");
  const arrivals = new Arrivals();
  for (const [at, arrived] of [80, 81, 82].entries()) arrivals.look(counts({ arrived }), true, at * 20_000);
  assert.equal(arrivals.look(counts({ arrived: 82 }), true, 50_000).missing, 0);
  assert.equal(arrivals.look(counts({ arrived: 82 }), true, 70_000).missing, 18);
});

test("dead letters of the outbox are told", () => {
  const text = "Checked by number: 100 arrived, none of them twice. In the outbox: 1 dead letter.";
  assert.equal(said(counts({ dead: 1 }), [0, 250]), text);
});

test("a server that is not there is another matter than one that does not start, whose log is told by its last line", () => {
  const how = "There is no NATS server at /nowhere: here is how to get one. Then connect again.";
  assert.deepEqual(noServer({ name: "Error", message: how }), { title: "There is no NATS server here", text: how });
  const message = "the NATS server server-1 has ended:\n[1] [INF] Starting\n[1] [FTL] no port left\n";
  const title = "The NATS server does not start";
  assert.deepEqual(noServer({ name: "Error", message }), { title, text: "[1] [FTL] no port left" });
  const elsewhere = { title: "This address has no server side", text: "Open another." };
  assert.deepEqual(noServer({ name: "OtherAddressError", message: "Open another." }), elsewhere);
  assert.equal(serverText({ ...SERVER, problem: message }), "[1] [FTL] no port left");
});

test("a relay that has not failed is looking for the server, and one that has is not connected", () => {
  const relay = { connected: false, disconnected_since: "2026-01-31T12:00:00", last_error: null, last_error_at: null };
  const failed = { ...relay, disconnected_since: "2026-01-31T12:00:01", last_error: "away", last_error_at: null };
  const there = { ...relay, connected: true, disconnected_since: null };
  assert.equal(relayText([relay, there], false, false), "Looking for the server");
  assert.equal(relayText([failed, there], false, false), "Not connected since 12:00:01");
  assert.equal(relayText([there, there], false, false), "Connected");
  assert.equal(relayText([failed], true, false), "The network is off");
});
