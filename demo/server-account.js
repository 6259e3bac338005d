/** What a peer has sent to the server, by its account and its outbox. */

import { keyOf } from "./peer.js";

/** @import { MailboxStats } from "../js/index.js" */
/** @import { ServerAccount } from "./types.js" */

const SENDER_BYTES = 8;

/** @param {string | null} [location] of the server's mailbox @returns {ServerAccount} */
export const newAtServer = (location = null) => ({
  sender: keyOf(crypto.getRandomValues(new Uint8Array(SENDER_BYTES))),
  sent: 0,
  location,
  before: 0,
});

/**
 * The account of a peer that is now connected to a server at a location: what has left the outbox by then went to the one
 * before, if that was another.
 * @param {ServerAccount} account @param {string} location @param {MailboxStats} outbox @returns {ServerAccount}
 */
export function connectedTo(account, location, outbox) {
  const { location: known = null } = account;
  const before = known === null || known === location ? account.before : left(account, outbox);
  return { ...account, location, before };
}

/** What has left the outbox for the server that the peer is connected to. @param {ServerAccount} account @param {MailboxStats} outbox */
export const sentThere = (account, outbox) => left(account, outbox) - (account.before ?? 0);

/**
 * After a start over some of what was sent before it may still be in a relay's hands.
 * @param {ServerAccount} account @param {MailboxStats} outbox
 */
const left = ({ sent }, outbox) => Math.max(0, sent - waitingIn(outbox) - outbox.deadLetters);

/** @param {MailboxStats} outbox */
export const waitingIn = ({ queuedMessages, inflightMessages }) => queuedMessages + inflightMessages;
