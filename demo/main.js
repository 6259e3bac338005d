/** The page: puts its parts together. */

import { ActorWorker } from "./actor-worker.js";
import { Gateway } from "./gateway.js";
import { openDeadLetter, openInspector } from "./inspector.js";
import { LedgerView } from "./ledger-view.js";
import { Peers } from "./peers.js";
import { complain, element, failureOf, hideProblem, page, say, showProblem } from "./page.js";
import { becomePeer } from "./peer.js";
import { takeInterrupted, takeTourStep } from "./web-storage.js";
import { Sending } from "./sending.js";
import { Tour } from "./tour.js";
import { tourSteps } from "./tour-steps.js";
import { interruptedText, openingFailure } from "./format.js";

/** @import { Balance, Failure } from "./types.js" */

async function start() {
  const me = await becomePeer();
  /** @type {Gateway} */
  let gateway;
  try {
    gateway = await Gateway.open(me);
  } catch (error) {
    showUnusable(failureOf(error));
    return;
  }
  const sending = new Sending(gateway);
  const peers = new Peers(me, gateway);
  const actor = new ActorWorker(me.mailbox, (sender) => peers.nameOf(sender));
  const ledger = new LedgerView(gateway);
  openInspector(me.mailbox);

  /** @type {Set<(balance: Balance) => void>} */
  const watchers = new Set();
  ledger.onFailure = (error) => showUnusable(failureOf(error));
  ledger.onLook = (balance) => {
    if (page.controls.disabled) {
      page.controls.disabled = false;
      hideProblem();
    }
    actor.show(balance.queued + balance.inflight > 0);
    void peers.show(balance.peers);
    for (const watcher of [...watchers]) watcher(balance);
  };
  /** @param {(balance: Balance) => boolean} holds @returns {Promise<Balance>} */
  const until = (holds) =>
    new Promise((resolve) => {
      /** @param {Balance} balance */
      const watcher = (balance) => {
        if (!holds(balance)) return;
        watchers.delete(watcher);
        resolve(balance);
      };
      watchers.add(watcher);
    });

  const tour = new Tour(
    tourSteps({
      gateway,
      sending,
      actor,
      until,
      openDeadLetter,
      openPeer: () => element("second-peer", HTMLAnchorElement).click(),
      reload: () => {
        tour.goOnAfterReload();
        location.reload();
      },
    }),
  );
  element("tour-start", HTMLButtonElement).addEventListener("click", () => tour.begin());

  page.startOver.addEventListener("click", async () => {
    if (!confirm("Delete all messages that wait, and count from 0 again?")) return;
    try {
      await actor.without(() => gateway.startOver());
      page.log.replaceChildren();
      page.logEmpty.hidden = false;
      say("The mailbox is empty.");
    } catch (error) {
      complain(failureOf(error).message);
    }
  });

  page.controls.disabled = false;
  page.startOver.disabled = false;
  const interrupted = takeInterrupted();
  if (interrupted) say(interruptedText(interrupted));
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted) takeInterrupted();
  });
  const step = takeTourStep();
  if (step !== undefined) tour.begin(step);

  void sending.goOn();
  void actor.start();
  await ledger.watch();
}

/** @param {Failure} failure */
function showUnusable(failure) {
  page.loading.hidden = true;
  page.controls.disabled = true;
  showProblem(openingFailure(failure), failure, "Load again", () => location.reload());
}

void start();
