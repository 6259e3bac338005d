/** Files may be dropped anywhere: a browser would leave the page for one that missed its target. */

/** @import { LocalPeer } from "./local-peer.js" */

/** @param {LocalPeer[]} peers a file goes to the one on which it is dropped, and beside them to the first */
export function acceptDrops(peers) {
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const { view, sending } =
      peers.find(({ view }) => event.target instanceof Node && view.root.contains(event.target)) ?? peers[0];
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length === 0) view.say("That was no file. Drop a text file, and each of its lines becomes a message.");
    else void sending.storeFiles(files);
  });
}
