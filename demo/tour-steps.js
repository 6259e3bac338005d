/** What the tour shows. Each step does what the visitor could do with the page's own buttons. */

/** @import { ActorWorker } from "./actor-worker.js" */
/** @import { Gateway } from "./gateway.js" */
/** @import { Sending } from "./sending.js" */
/** @import { Balance, TourStep } from "./types.js" */

/**
 * @param {object} tools
 * @param {Gateway} tools.gateway
 * @param {Sending} tools.sending
 * @param {ActorWorker} tools.actor
 * @param {(holds: (balance: Balance) => boolean) => Promise<Balance>} tools.until waits for how things stand
 * @param {() => boolean} tools.openDeadLetter shows it in the inspector; whether it could
 * @param {() => void} tools.openPeer
 * @param {() => void} tools.reload
 * @returns {TourStep[]}
 */
export function tourSteps({ gateway, sending, actor, until, openDeadLetter, openPeer, reload }) {
  return [
    {
      part: "counters",
      title: "A message's way",
      text:
        "A message has just been sent to the Python actor: queued is stored in your browser, in flight is in the " +
        "actor's hands, done is answered. The answer and the acknowledgement are one transaction.",
      act: async (say) => {
        actor.resume();
        const { handled } = await until(() => true);
        await sending.send("hello from the tour", null);
        await until((now) => now.handled > handled);
        say("The actor has answered: look for “hello from the tour” in its log.");
      },
    },
    {
      part: "counters",
      title: "Ten thousand at once, and a death in the middle",
      text:
        "The actor is flooded with 10,000 messages. When some of them are done its worker is killed without " +
        "warning. A new worker takes over, and what the dead one had in hand is handed out again.",
      act: async (say) => {
        const { handled } = await until(() => true);
        const flooded = sending.flood(null);
        await until((now) => now.handled > handled + 200);
        const { inflight } = await until((now) => now.inflight > 0 || now.queued === 0);
        void actor.kill();
        say(`The worker was killed with ${inflight} messages in hand. Another one is loading Python.`);
        const killed = await until(() => true);
        await flooded;
        await until((now) => now.handled > killed.handled);
        say("The new worker is at work.");
        await until((now) => now.queued + now.inflight === 0);
        say("All of it is done.");
      },
    },
    {
      part: "ledger",
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
      part: "log-panel",
      title: "A handler that crashes",
      text:
        "Its handler raises an exception, twice. Each time the message goes back with the traceback, and comes " +
        "again after a pause. The third time it is handled.",
      act: async (say) => {
        const { handled } = await until(() => true);
        await sending.crash(null);
        await until((now) => now.handled > handled);
        say("It was handled at its third delivery.");
      },
    },
    {
      part: "inspector",
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
      part: "inspector",
      atEnd: true,
      title: "Mended, and once more",
      text:
        "The actor is mended now, and the dead letter is put back into the queue, as “Redrive” does it. It is " +
        "handled as if nothing had happened.",
      act: async (say) => {
        await actor.mend(true);
        // the one of the step before may still be on its way there
        await until((now) => now.queued + now.inflight === 0);
        for (const { record } of await gateway.inbox.deadLetters({ limit: 1000 }))
          await gateway.inbox.redrive(record.id);
        await until((now) => now.dead === 0 && now.queued + now.inflight === 0);
        say("Handled. Nothing is dead any more.");
      },
    },
    {
      part: "peers",
      title: "A second peer",
      text:
        "Open one in another tab and choose it under “To”. What you send goes over a WebRTC data channel " +
        "straight into its mailbox, and its actor answers. Close it in between: what you send waits until it is back.",
      extra: { label: "Open a second peer", perform: openPeer },
    },
    {
      part: "counters",
      title: "Leave and come back",
      text:
        "Reload this page, or close the tab and open it again, in the middle of a flood too. The tour goes on " +
        "after a reload from here.",
      extra: { label: "Reload now", perform: reload },
    },
    {
      part: "ledger",
      title: "Everything is where it was",
      text:
        "All that you see here comes from the storage, not from the page's memory. Now it is your turn: flood " +
        "it, kill it, crash it, poison it, and see whether the sum still comes out.",
    },
  ];
}
