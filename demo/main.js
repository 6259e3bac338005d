/** The page: puts its parts together. */

import { Editor } from "./editor.js";
import { Gateway } from "./gateway.js";
import { openDeadLetter, openInspector } from "./inspector.js";
import { showInstallLine } from "./install.js";
import { LocalPeer, showUnusable } from "./local-peer.js";
import { Network } from "./network.js";
import { Pace } from "./pace.js";
import { element, failureOf } from "./page.js";
import { becomePeer } from "./peer.js";
import { PeerView } from "./peer-view.js";
import { acceptDrops } from "./drops.js";
import { ServerPanel } from "./server-panel.js";
import { takeInterrupted, takeTourStep } from "./web-storage.js";
import { Tour } from "./tour.js";
import { tourSteps } from "./tour-steps.js";
import { interruptedText } from "./format.js";

/** Of a page; "?peers=1" makes it a tab of one. */
const PEERS = new URLSearchParams(location.search).get("peers") === "1" ? 1 : 2;

const place = element("peers", HTMLElement);
const views = Array.from({ length: PEERS }, () => new PeerView(place));
place.classList.toggle("alone", PEERS === 1);

async function start() {
  const [editor, pace, network] = [new Editor(), new Pace(), new Network()];
  /** @type {import("./types.js").Peer[]} */
  const us = [];
  for (const [place, view] of views.entries()) {
    us.push(await becomePeer(place));
    view.name(`Peer ${us[place].number}`);
  }
  await network.open();
  void showInstallLine();
  const opening = editor.open();

  const gateways = await Promise.all(us.map((me) => Gateway.open(me)));
  const peers = views.map((view, index) => {
    const tools = { editor, pace, network, sibling: us[1 - index] };
    return new LocalPeer(view, us[index], gateways[index], tools);
  });
  for (const { actor } of peers) {
    editor.add(actor);
    actor.onLoaded = () => void network.keep();
  }
  pace.onChange = () => peers.forEach(({ actor }) => void actor.takePace());
  openInspector(us);
  acceptDrops(peers);
  const server = new ServerPanel(peers, network);

  const startOver = element("start-over", HTMLButtonElement);
  startOver.addEventListener("click", async () => {
    if (
      !confirm("Delete all messages that wait here, for a peer of this page or for the server, and count from 0 again?")
    )
      return;
    startOver.disabled = true;
    await still(peers, async () => {
      await Promise.all(
        peers.map((peer) => peer.startOver(us.map(({ key }) => key).filter((key) => key !== peer.me.key))),
      );
    });
    startOver.disabled = false;
  });
  startOver.disabled = false;

  const interrupted = takeInterrupted();
  if (interrupted) views[0].say(interruptedText(interrupted));
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted) takeInterrupted();
  });
  beginTour(peers);

  await opening;
  server.goOn(startActors(peers));
}

/** One after the other: the first one is sooner there, and the second one finds what that has loaded. @param {LocalPeer[]} peers */
async function startActors(peers) {
  for (const { actor } of peers) await actor.start();
}

/**
 * Does something while all of these peers are still.
 * @param {LocalPeer[]} peers @param {() => Promise<void>} task @returns {Promise<void>}
 */
const still = ([first, ...others], task) => (first === undefined ? task() : first.still(() => still(others, task)));

/** @param {LocalPeer[]} peers */
function beginTour([first, second]) {
  const tour = new Tour(
    tourSteps({
      first,
      second,
      openDeadLetter: () => openDeadLetter(first.me),
      openPeer: () => element("another-peer", HTMLAnchorElement).click(),
      reload: () => {
        tour.goOnAfterReload();
        location.reload();
      },
    }),
  );
  element("tour-start", HTMLButtonElement).addEventListener("click", () => tour.begin());
  const step = takeTourStep();
  if (step !== undefined) tour.begin(step);
}

start().catch((error) => {
  for (const view of views) showUnusable(view, failureOf(error));
});
