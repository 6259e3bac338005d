/** What the tour shows. Each step does what the visitor could do with the page's own buttons. */

/** @import { LocalPeer } from "./local-peer.js" */
/** @import { TourStep } from "./types.js" */

import { FLOOD } from "./flood.js";
import { element } from "./page.js";
import { numberText } from "./format.js";

/**
 * @param {object} tools
 * @param {LocalPeer} tools.first with which it does everything
 * @param {LocalPeer | undefined} tools.second the other one of this page
 * @param {() => boolean} tools.openDeadLetter shows it in the inspector; whether it could
 * @param {() => void} tools.openPeer
 * @param {() => void} tools.reload
 * @returns {TourStep[]}
 */
export function tourSteps({ first, second, openDeadLetter, openPeer, reload }) {
  const { view, sending, actor } = first;
  /** @type {LocalPeer["until"]} */
  const until = (holds) => first.until(holds);
  return [
    {
      part: view.counters,
      title: "A message's way",
      text:
        "A message has just been sent to the Python actor: queued is stored in your browser, in flight is in the " +
        "actor's hands, done is answered. The answer and the acknowledgement are one transaction.",
      act: async (say) => {
        actor.resume();
        const id = await sending.send("hello from the tour", null);
        if (id === undefined) return;
        const { queued } = await until(() => true);
        if (queued > 1) say("It waits for its turn: others were sent before it.");
        if (await first.isHandled(id)) say("The actor has answered: look for “hello from the tour” in its log.");
        else say("The handler has failed three times, so it is a dead letter.");
      },
    },
    {
      part: view.counters,
      title: "A flood, and a death in the middle",
      text:
        `The actor is flooded with ${numberText(FLOOD)} messages. When some of them are done its worker is killed ` +
        "without warning. A new worker takes over, and what the dead one had in hand is handed out again.",
      act: async (say) => {
        const { handled } = await until(() => true);
        const flooded = sending.flood(null);
        await until((now) => now.handled > handled + 200);
        const { inflight } = await until((now) => now.inflight > 0 || now.queued === 0);
        void actor.kill();
        say(`The worker was killed with ${numberText(inflight)} messages in hand. Another one is loading Python.`);
        const killed = await until(() => true);
        await flooded;
        await until((now) => now.handled > killed.handled);
        say("The new worker is at work.");
        await until((now) => now.queued + now.inflight === 0);
        say("All of it is done.");
      },
    },
    {
      part: view.ledger,
      title: "The ledger",
      text:
        "Messages are counted in the transaction that stores them, so the sum has to come out, always. When " +
        "nothing waits, all answers are read back: none is there twice, though what the dead worker had in hand was " +
        "handed out again.",
      act: async (say) => {
        await until((now) => now.queued + now.inflight === 0);
        say("The sum is right, and everything has been checked one by one.");
      },
    },
    {
      part: view.logPanel,
      title: "A handler that crashes",
      text:
        "Its handler raises an exception, twice. Each time the message goes back with the traceback, and comes " +
        "again after a pause. The third time it is handled.",
      act: async (say) => {
        const id = await sending.crash(null);
        if (id === undefined) return;
        if (await first.isHandled(id)) say("It was handled at its third delivery.");
        else say("The handler has failed three times, so it is a dead letter.");
      },
    },
    {
      part: element("inspector", HTMLElement),
      atEnd: true,
      title: "Poison",
      text:
        "The actor has a mistake, and this message finds it each time. After three failures it is a dead letter: " +
        "out of the way, not lost. The inspector shows it with its traceback.",
      act: async (say) => {
        const { dead } = await until(() => true);
        await actor.mend(false);
        await sending.poison(null);
        await until((now) => now.dead > dead);
        say("It is dead.");
        await until(openDeadLetter);
        say("There it is, among the dead letters.");
      },
    },
    {
      part: element("inspector", HTMLElement),
      atEnd: true,
      title: "Mended, and once more",
      text:
        "The actor is mended now, and the dead letter is put back into the queue, as “Redrive” does. It is " +
        "handled as if nothing had happened.",
      act: async (say) => {
        await actor.mend(true);
        // the one of the step before may still be on its way there
        await until((now) => now.queued + now.inflight === 0);
        await sending.redrive();
        await until((now) => now.dead === 0 && now.queued + now.inflight === 0);
        say("Handled. Nothing is dead any more.");
      },
    },
    {
      part: (second ?? first).view.counters,
      title: "Two peers",
      text:
        "Each peer has an actor and a mailbox of its own. What one sends to the other goes over a WebRTC data channel " +
        "straight into its mailbox, and the answer comes back. Without a network it waits in an outbox until they meet again.",
      act: async (say) => {
        if (second === undefined) return;
        second.actor.resume();
        const answered = await until(() => true).then(({ peers }) => peers[second.me.key]?.answered ?? 0);
        await sending.send("hello from the tour, peer to peer", second.me.key);
        await until(({ peers }) => (peers[second.me.key]?.answered ?? 0) > answered);
        say(`Peer ${second.me.number} has answered.`);
      },
      extra: { label: "Open another peer", perform: openPeer },
    },
    {
      part: element("code", HTMLElement),
      title: "Your own handler",
      text:
        "Change the handler and apply it, or kill an actor: its next life takes what you wrote, and the messages are " +
        "still there. A mistake is shown here. It costs no message: what fails goes back, and at last is a dead letter.",
    },
    {
      part: view.counters,
      title: "Leave and come back",
      text:
        "Reload this page, or close the tab and open it again, in the middle of a flood too, and with the “Network” " +
        "switched off: then it comes from a cache. The tour goes on after a reload from here.",
      extra: { label: "Reload now", perform: reload },
    },
    {
      part: view.ledger,
      title: "Everything is where it was",
      text:
        "All that you see here comes from the storage, not from the page's memory. Now it is your turn: flood " +
        "it, kill it, crash it, poison it once “Mended” is off, and see whether the sum still comes out.",
    },
  ];
}
