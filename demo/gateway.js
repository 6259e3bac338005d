/**
 * The way into the mailbox, in JavaScript: it stores messages whether Python is there or not.
 *
 * How many it has stored is a message too, the account: it is replaced in the transaction that stores the messages, so
 * the two never disagree, however the page ends. Without an account `inbox.enqueue(peer.id, frame.payload)` would be
 * all.
 */

import { openMailbox } from "../js/index.js";
import { packed } from "./frames.js";
import { connectedTo, newAtServer } from "./server-account.js";

/** @import { Mailbox, Send } from "../js/index.js" */
/** @import { Account, Frame, OtherPeer, PeerAccount, Peer } from "./types.js" */
/** @typedef {import("../js/index.js").MessagePriority} MessagePriority */

const ACCOUNT_ID = "00000000-0000-4000-8000-000000000000";
/** @type {Account} */
const NOTHING_YET = { stored: 0, flood: null, peers: {} };
/** @type {PeerAccount} */
const NEVER_MET = { sent: 0, answered: 0, last: null };

/** The server's key, where those of peers are expected as well. */
export const SERVER = "server";

/** Dead letters that are settled in one commit. */
const TOGETHER = 500;

/** Milliseconds in which a browser has let go of what a killed worker held, and between two looks at that. */
const LETTING_GO = 10_000;
const LOOK = 100;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Gateway {
  #name;
  #sender;
  #inbox;
  #done;
  #accounts;
  /** @type {Map<string, Promise<Mailbox>>} */
  #outboxes = new Map();
  /** Whether this handle may hold the account, and could not give it back. */
  #stuck = false;
  /** @type {Promise<unknown>} */
  #before = Promise.resolve();

  /** @param {Peer} me @param {Mailbox} inbox @param {Mailbox} done @param {Mailbox} accounts */
  constructor(me, inbox, done, accounts) {
    this.#name = me.mailbox;
    this.#sender = me.id;
    this.#inbox = inbox;
    this.#done = done;
    this.#accounts = accounts;
  }

  /** @param {Peer} me @throws {Error} a `MailboxError` */
  static async open(me) {
    const names = [me.mailbox, `${me.mailbox}-done`, `${me.mailbox}-account`];
    const [inbox, done, accounts] = await Promise.all(names.map((name) => openMailbox(name)));
    const gateway = new Gateway(me, inbox, done, accounts);
    await gateway.#begin();
    return gateway;
  }

  /** The actor's mailbox. */
  get inbox() {
    return this.#inbox;
  }

  /** What the actor has done: a message for each that it has handled. */
  get done() {
    return this.#done;
  }

  /** The name of what waits for a peer, or for the server. @param {string} key */
  outboxName(key) {
    return `${this.#name}-to-${key}`;
  }

  /** What waits for a peer, or for the server. @param {string} key */
  outbox(key) {
    const known = this.#outboxes.get(key);
    if (known) return known;
    const outbox = openMailbox(this.outboxName(key));
    this.#outboxes.set(key, outbox);
    // one that could not be opened may be so later
    outbox.catch(() => this.#outboxes.delete(key));
    return outbox;
  }

  /** Waits until what is being stored is stored. */
  async settled() {
    await this.#before;
  }

  /** The account as it stands. @returns {Promise<Account>} */
  async account() {
    const [message] = await this.#accounts.peek({ limit: 1 });
    return message ? JSON.parse(decoder.decode(message.payload)) : NOTHING_YET;
  }

  /**
   * Stores messages, all or none of them.
   * @param {string | null} to the key of the peer that they are for, or the server's; null for this one
   * @param {string} sender what this peer's own actor hears about where they come from
   * @param {Uint8Array[]} payloads
   * @param {MessagePriority} priority
   * @param {(account: Account) => Account | null} [also] what else changes in the account; nothing is stored if it says so
   * @param {string[]} [ids] of the messages, if this peer's own are to be found again
   */
  async store(to, sender, payloads, priority, also = (account) => account, ids = []) {
    if (to === null) {
      const from = encoder.encode(sender);
      /** @type {Send[]} */
      const sends = payloads.map((payload, index) => [
        this.#inbox,
        { sender: from, payload, priority, messageId: ids[index] },
      ]);
      return this.#book((account) => {
        const changed = also({ ...account, stored: account.stored + payloads.length });
        return changed === null ? [account, []] : [changed, sends];
      });
    }
    const outbox = await this.outbox(to);
    if (to === SERVER)
      return this.#book((account) => {
        const server = account.server ?? newAtServer();
        const { sent } = server;
        const changed = also({ ...account, server: { ...server, sent: sent + payloads.length } });
        /** @type {Send[]} */
        const sends = payloads.map((payload, index) => [
          outbox,
          {
            sender: encoder.encode(server.sender),
            payload,
            priority,
            headers: { number: String(sent + index + 1) },
          },
        ]);
        return changed === null ? [account, []] : [changed, sends];
      });
    /** @type {Send[]} */
    const sends = payloads.map((payload) => [outbox, { sender: this.#sender, payload: packed(priority, payload) }]);
    return this.#book((account) => {
      const changed = also(withPeer(account, to, (peer) => ({ ...peer, sent: peer.sent + payloads.length })));
      return changed === null ? [account, []] : [changed, sends];
    });
  }

  /** Notes to which server the outbox drains from now on. @param {string} location of its mailbox */
  connect(location) {
    return this.#queue(async () => {
      const outbox = await (await this.outbox(SERVER)).status();
      await this.#bookNow((account) => [
        { ...account, server: connectedTo(account.server ?? newAtServer(), location, outbox) },
        [],
      ]);
    });
  }

  /**
   * Puts what a peer has sent straight into the mailbox, its sender's bytes untouched; answers are counted.
   * @param {OtherPeer} peer
   * @param {Frame[]} frames in their order, at least one
   */
  async receive(peer, frames) {
    const messages = frames.filter(({ kind }) => kind !== "answer");
    /** @type {Send[]} */
    const sends = messages.map(({ kind, payload }) => [
      this.#inbox,
      { sender: peer.id, payload, priority: kind === "high" ? "high" : "normal" },
    ]);
    const last = /** @type {Frame} */ (frames.at(-1)).id;
    await this.#book((account) => [
      withPeer({ ...account, stored: account.stored + messages.length }, peer.key, ({ sent, answered }) => ({
        sent,
        answered: answered + frames.length - messages.length,
        last,
      })),
      sends,
    ]);
  }

  /**
   * Deletes all messages that wait or were given up, and counts from 0. What comes in meanwhile is stored afterwards, and
   * counted.
   * @param {string[]} peers the keys of those to whom nothing is to go any more; what is on its way to others stays
   */
  startOver(peers) {
    return this.#queue(async () => {
      await this.#empty();
      await discardDead(this.#inbox);
      await this.#done.purge();
      const { server } = await this.account();
      for (const key of server ? [...peers, SERVER] : peers) {
        const outbox = await this.outbox(key);
        await outbox.purge();
        await discardDead(outbox);
      }
      await this.#bookNow(({ peers }) => [
        {
          ...NOTHING_YET,
          server: server && newAtServer(server.location),
          // so that what was received already is still known
          peers: Object.fromEntries(Object.entries(peers).map(([key, { last }]) => [key, { ...NEVER_MET, last }])),
        },
        [],
      ]);
    });
  }

  /** Puts all dead letters back into the queue, in the order in which they died. */
  redrive() {
    return settleDead(this.#inbox, (id) => this.#inbox.redrive(id));
  }

  /** Deletes what waits, and what a worker held that was killed: it comes back once the browser has let go of it. */
  async #empty() {
    for (const end = performance.now() + LETTING_GO; ; await new Promise((resolve) => setTimeout(resolve, LOOK))) {
      await this.#inbox.recover();
      await this.#inbox.purge();
      if ((await this.#inbox.status()).inflightMessages === 0 || performance.now() > end) return;
    }
  }

  /** @param {(account: Account) => [Account, Send[]]} change */
  #book(change) {
    return this.#queue(() => this.#bookNow(change));
  }

  /** Does one thing after the other. @param {() => Promise<void>} task */
  #queue(task) {
    const done = this.#before.then(task);
    this.#before = done.catch(() => {});
    return done;
  }

  /** @param {(account: Account) => [Account, Send[]]} change */
  async #bookNow(change) {
    if (this.#stuck) {
      await this.#accounts.close();
      this.#accounts = await openMailbox(this.#accounts.name);
      this.#stuck = false;
    }
    for (;;) {
      const [message] = await this.#accounts.dequeue({ limit: 1, wait: 500 });
      if (message === undefined) {
        // The site's data was cleared; or a page that has just ended still holds it.
        await this.#begin();
        continue;
      }
      try {
        const [account, sends] = change(JSON.parse(decoder.decode(message.payload)));
        if (await this.#accounts.ackAndSend(message.id, [...sends, [this.#accounts, this.#message(account)]])) return;
      } catch (error) {
        await this.#accounts.nack(message.id).catch(() => {
          this.#stuck = true;
        });
        throw error;
      }
    }
  }

  /** Begins an account; does nothing where there is one, since it has this id. */
  async #begin() {
    await this.#accounts.enqueueMany([this.#message(NOTHING_YET)]);
  }

  /** @param {Account} account */
  #message(account) {
    return { sender: this.#sender, payload: encoder.encode(JSON.stringify(account)), messageId: ACCOUNT_ID };
  }
}

/** @param {Mailbox} mailbox */
const discardDead = (mailbox) => settleDead(mailbox, (id) => mailbox.discard(id));

/** @param {Mailbox} mailbox @param {(id: string) => Promise<unknown>} settle */
async function settleDead(mailbox, settle) {
  const letters = await mailbox.deadLetters({ limit: 1_000_000 });
  const ids = letters.map(({ record }) => record.id).reverse();
  while (ids.length > 0) await Promise.all(ids.splice(0, TOGETHER).map(settle));
}

/**
 * @param {Account} account @param {string} key @param {(peer: PeerAccount) => PeerAccount} change @returns {Account}
 */
const withPeer = (account, key, change) => ({
  ...account,
  peers: { ...account.peers, [key]: change(account.peers[key] ?? NEVER_MET) },
});
