/**
 * The switch “Network” in a worker: puts a WebSocket in place of the browser's that does what that does when the network
 * goes and comes back. Python notices no difference.
 */

const BrowserSocket = globalThis.WebSocket;

/** Those that are open. @type {Set<WebSocket>} */
const sockets = new Set();
let isOffline = false;

/** @param {boolean} offline */
export function setOffline(offline) {
  if (offline === isOffline) return;
  isOffline = offline;
  for (const socket of sockets) {
    // at once and without a goodbye from the server; what was on its way may have arrived or not
    socket.dispatchEvent(new Event("close"));
    socket.close();
  }
  dispatchEvent(new Event(offline ? "offline" : "online"));
}

class CutOffSocket extends EventTarget {
  constructor() {
    super();
    setTimeout(() => this.dispatchEvent(new Event("close")));
  }

  close() {}
}

/** @param {string} url */
function SocketOfThisNetwork(url) {
  if (isOffline) return new CutOffSocket();
  const socket = new BrowserSocket(url);
  sockets.add(socket);
  socket.addEventListener("close", () => sockets.delete(socket));
  return socket;
}

globalThis.WebSocket = /** @type {typeof WebSocket} */ (/** @type {unknown} */ (SocketOfThisNetwork));
