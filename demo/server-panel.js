/** The part of the page that is about a server: it begins the relay to it, and shows how far that is. */

import { Arrivals, sum } from "./arrivals.js";
import { BacklogChart } from "./backlog-chart.js";
import { SERVER } from "./gateway.js";
import { addToLog } from "./log.js";
import { askServer, lookAtServer } from "./server-side.js";
import { element, failureOf } from "./page.js";
import { sentThere, waitingIn } from "./server-account.js";
import { connectedServer, rememberServer } from "./web-storage.js";
import { WorkerClient } from "./worker-client.js";
import {
  arrivedText,
  excerpt,
  lastErrorText,
  loadingFailure,
  loadingText,
  noServer,
  numberText,
  relayText,
  serverText,
} from "./format.js";

/** @import { LocalPeer } from "./local-peer.js" */
/** @import { Network } from "./network.js" */
/** @import { Failure, RelayState, ServerState } from "./types.js" */

/** Milliseconds between two looks. */
const LOOK = 250;
const WHILE_HIDDEN = 2000;

const page = {
  connect: element("server-connect", HTMLButtonElement),
  connectOff: element("server-connect-off", HTMLElement),
  problem: element("server-problem", HTMLElement),
  problemTitle: element("server-problem-title", HTMLElement),
  problemText: element("server-problem-text", HTMLElement),
  way: element("server-way", HTMLElement),
  waiting: element("server-waiting", HTMLElement),
  sent: element("server-sent", HTMLElement),
  arrived: element("server-arrived", HTMLElement),
  loading: element("server-loading", HTMLProgressElement),
  relayState: element("server-relay-state", HTMLElement),
  relayError: element("server-relay-error", HTMLElement),
  killRelay: element("server-kill-relay", HTMLButtonElement),
  state: element("server-state", HTMLElement),
  kill: element("server-kill", HTMLButtonElement),
  audit: element("server-audit", HTMLElement),
  logEmpty: element("server-log-empty", HTMLElement),
  log: element("server-log", HTMLElement),
};

export class ServerPanel {
  #peers;
  #network;
  #chart = new BacklogChart();
  /** To the mailbox there; another object each time. @type {{location: string} | null} */
  #connection = null;
  #isConnecting = false;
  /** @type {WorkerClient | undefined} */
  #worker;
  /** Whether its Python is there. */
  #isLoaded = false;
  #hasFailedToLoad = false;
  /** As it was when it was last seen. @type {ServerState | undefined} */
  #side;
  /** Whether that was in this look. */
  #isSeen = false;
  /** What is being done with it. @type {"kill" | "start" | null} */
  #changing = null;
  /** Why the last of that came to nothing. */
  #failure = "";
  #arrivals = new Arrivals();
  /** The last arrival that is in the log. */
  #place = 0;

  /** @param {LocalPeer[]} peers of the page @param {Network} network */
  constructor(peers, network) {
    this.#peers = peers;
    this.#network = network;
    network.listen((offline) => this.#takeNetwork(offline));
    page.connect.addEventListener("click", () => (this.#connection ? this.#leave() : void this.#connect()));
    page.killRelay.addEventListener("click", () => this.#killRelay());
    page.kill.addEventListener("click", () => void this.#killOrStart());
    this.#showConnect();
  }

  /** @param {boolean} offline */
  #takeNetwork(offline) {
    this.#showConnect();
    if (!offline && this.#hasFailedToLoad) this.#killRelay();
    // one that is killed has no network either
    else void this.#worker?.ask("setOffline", offline).catch(() => {});
  }

  #showConnect() {
    const isConnected = this.#connection !== null;
    const isCutOff = this.#network.offline && !isConnected;
    page.connect.textContent = this.#isConnecting ? "Connecting…" : isConnected ? "Disconnect" : "Connect";
    page.connect.classList.toggle("quiet", isConnected);
    page.connect.disabled = this.#isConnecting || isCutOff;
    page.connectOff.hidden = !isCutOff;
    page.way.hidden = !isConnected;
  }

  /** Goes on where a page before this one was connected. @param {Promise<void>} loaded when the actors are there */
  goOn(loaded) {
    const location = connectedServer();
    if (location !== null) this.#begin(location, loaded);
  }

  async #connect() {
    this.#isConnecting = true;
    this.#showConnect();
    page.problem.hidden = true;
    try {
      const { location, problem } = await askServer("open");
      if (location === null) throw new Error(problem ?? "");
      this.#begin(location);
      const [{ view }] = this.#peers;
      view.to.value = SERVER;
      view.to.dispatchEvent(new Event("change"));
    } catch (error) {
      const { title, text } = noServer(failureOf(error));
      page.problemTitle.textContent = title;
      page.problemText.textContent = text;
      page.problem.hidden = false;
    }
    this.#isConnecting = false;
    this.#showConnect();
  }

  /** @param {string} location of the mailbox at the server @param {Promise<void>} [loaded] */
  #begin(location, loaded = Promise.resolve()) {
    const connection = (this.#connection = { location });
    page.relayState.textContent = "Waiting for the actors";
    rememberServer(location);
    this.#showConnect();
    for (const { view } of this.#peers) view.to.append(new Option("the server", SERVER));
    const booked = this.#book(location);
    void Promise.all([loaded, booked]).then(() => {
      if (this.#connection === connection) void this.#startRelay(connection.location);
    });
    void booked.then(() => this.#watch(connection));
  }

  /** Has the accounts tell what goes to this server from what went to another one. @param {string} location */
  async #book(location) {
    await Promise.all(this.#peers.map(({ gateway }) => gateway.connect(location))).catch(showError);
  }

  #leave() {
    this.#connection = null;
    rememberServer(null);
    this.#endRelay();
    this.#showConnect();
    for (const { view } of this.#peers) {
      view.to.querySelector(`[value="${SERVER}"]`)?.remove();
      view.to.dispatchEvent(new Event("change"));
    }
  }

  /** @param {string} location */
  async #startRelay(location) {
    const worker = (this.#worker = new WorkerClient(new URL("./relay-worker.js", import.meta.url)));
    this.#isLoaded = false;
    page.killRelay.disabled = false;
    page.loading.hidden = false;
    page.relayError.textContent = "";
    worker.onLoading = (loading) => {
      page.relayState.textContent = loadingText(loading);
      page.loading.max = loading.total || 1;
      page.loading.value = loading.loaded;
    };
    const outboxes = this.#peers.map(({ gateway }) => gateway.outboxName(SERVER));
    /** @type {Failure | undefined} */
    let failure;
    try {
      await worker.ask("setOffline", this.#network.offline);
      await worker.ask("relay", outboxes, location);
    } catch (error) {
      failure = failureOf(error);
    }
    // it may have been killed meanwhile
    if (this.#worker !== worker) return;
    page.loading.hidden = true;
    this.#isLoaded = failure === undefined;
    this.#hasFailedToLoad = !this.#isLoaded;
    if (failure === undefined) return;
    page.relayState.textContent = loadingFailure(failure).title;
    page.relayError.textContent = failure.message;
  }

  #endRelay() {
    this.#worker?.kill();
    this.#worker = undefined;
    this.#hasFailedToLoad = false;
  }

  /** Ends its worker in the middle of whatever it does, and starts another one. */
  #killRelay() {
    if (this.#connection === null) return;
    this.#endRelay();
    void this.#startRelay(this.#connection.location);
  }

  async #killOrStart() {
    if (this.#changing !== null) return;
    const change = (this.#changing = this.#side?.runs ? "kill" : "start");
    this.#failure = "";
    this.#showKill();
    try {
      this.#showServer(await askServer(change));
    } catch (error) {
      this.#failure = `${change === "start" ? "Not started" : "Not killed"}: ${failureOf(error).message}`;
    }
    this.#changing = null;
    this.#showKill();
  }

  #showKill() {
    const runs = this.#side?.runs ?? true;
    page.kill.disabled = this.#changing !== null || !this.#isSeen;
    page.kill.textContent = this.#changing === "start" ? "Starting…" : runs ? "Kill" : "Start";
    page.kill.classList.toggle("danger", runs && this.#changing !== "start");
  }

  /** Looks again and again until the visitor disconnects. @param {{location: string}} connection */
  async #watch(connection) {
    while (this.#connection === connection) {
      await this.#look().catch(showError);
      await new Promise((resolve) => setTimeout(resolve, document.hidden ? WHILE_HIDDEN : LOOK));
    }
  }

  async #look() {
    const peers = await Promise.all(this.#peers.map(lookAtOutbox));
    const waiting = sum(peers.map((peer) => peer.waiting));
    this.#senders = new Map(peers.map(({ sender, name }) => [sender, name]));
    page.waiting.textContent = numberText(waiting);
    page.sent.textContent = numberText(sum(peers.map(({ sent }) => sent)));
    this.#chart.add(waiting, this.#network.offline);
    const state = await this.#relayState();
    if (state) this.#showRelay(state);
    await this.#lookAtServer();
    this.#showArrivals(peers);
  }

  /** Nothing while Python is loading. @returns {Promise<RelayState | undefined>} */
  async #relayState() {
    const worker = this.#worker;
    if (worker === undefined || !this.#isLoaded) return undefined;
    return worker.ask("relayState").catch((error) => {
      // killed meanwhile
      if (this.#worker === worker) throw error;
      return undefined;
    });
  }

  /** @param {RelayState} state */
  #showRelay({ relays, stopped }) {
    page.relayState.textContent = relayText(relays, this.#network.offline, stopped !== null);
    page.relayError.textContent = lastErrorText(relays, stopped?.message ?? null);
  }

  async #lookAtServer() {
    let isSeen = false;
    if (this.#network.offline) page.state.textContent = "Unknown: the network is off";
    else
      try {
        const side = await lookAtServer();
        if (side.location === this.#connection?.location) {
          this.#showServer(side);
          isSeen = true;
        } else await this.#followServer();
      } catch {
        page.state.textContent = "No answer";
      }
    this.#isSeen = isSeen;
    this.#showKill();
  }

  /** The demo was started anew, and so its server is another one. */
  async #followServer() {
    const connection = this.#connection;
    if (connection === null) return;
    const side = await askServer("open");
    if (this.#connection !== connection) return;
    this.#showServer(side);
    const { location } = side;
    if (location === null) return;
    const runs = this.#worker !== undefined;
    this.#endRelay();
    connection.location = location;
    rememberServer(location);
    await this.#book(location);
    if (runs && this.#connection === connection) void this.#startRelay(location);
  }

  /** @param {ServerState} side */
  #showServer(side) {
    if (side.runs !== this.#side?.runs) this.#failure = "";
    this.#side = side;
    page.state.textContent = this.#failure || serverText(side);
    this.#showKill();
    // after a start of the demo it counts from 1 again
    if ((side.last.at(-1)?.place ?? 0) < this.#place) this.#place = 0;
    const entries = side.last
      .filter(({ place }) => place > this.#place)
      .map(({ sender, number, priority, text }) => ({
        from: this.#senders.get(sender) ?? "somebody else",
        kind: priority === "HIGH" ? /** @type {const} */ ("high") : /** @type {const} */ ("normal"),
        text: excerpt(text),
        result: `number ${numberText(number)}`,
      }));
    if (entries.length === 0) return;
    this.#place = side.last[side.last.length - 1].place;
    addToLog(page.log, entries);
    page.logEmpty.hidden = true;
  }

  /** The names of this page's peers, by what the server knows them by. @type {Map<string, string>} */
  #senders = new Map();

  /** @param {Awaited<ReturnType<typeof lookAtOutbox>>[]} peers */
  #showArrivals(peers) {
    const { tallies = {}, runs = false } = this.#side ?? {};
    const counts = peers.map(({ sender, sent, waiting, dead }) => {
      const { arrived, twice } = tallies[sender] ?? { arrived: 0, twice: 0 };
      return { sender, sent, waiting, dead, arrived, twice };
    });
    const arrived = this.#arrivals.look(counts, this.#isSeen && runs, performance.now());
    page.arrived.textContent = this.#side ? numberText(arrived.arrived) : "";
    page.audit.textContent = arrivedText(arrived);
    page.audit.classList.toggle("bad", arrived.missing + arrived.twice + arrived.dead > 0);
  }
}

/** @param {unknown} error */
function showError(error) {
  page.relayError.textContent = failureOf(error).message;
}

/** @param {LocalPeer} peer */
async function lookAtOutbox({ gateway, me }) {
  const { server } = await gateway.account();
  const outbox = await (await gateway.outbox(SERVER)).status();
  return {
    name: `peer ${me.number}`,
    sender: server?.sender ?? "",
    sent: server ? sentThere(server, outbox) : 0,
    waiting: waitingIn(outbox),
    dead: outbox.deadLetters,
  };
}
