/**
 * A great many messages. How far it got is in the account, so that a flood goes on where a page that ended had left it.
 */

import { numberText } from "./format.js";

/** @import { Gateway } from "./gateway.js" */
/** @import { Account, Flood } from "./types.js" */

/** In one transaction, so that the page moves and the actor gets its turn. */
const STEP = 250;

const wanted = Number(new URLSearchParams(location.search).get("flood"));

/** Messages of one; "?flood=1000" makes them fewer, for a computer that is slow. */
export const FLOOD = Number.isInteger(wanted) && wanted > 0 ? wanted : 10_000;

const encoder = new TextEncoder();

/** @param {Gateway} gateway @param {string | null} to the key of a peer; null for this one */
export const beginFlood = (gateway, to) => note(gateway, { to, next: 0, total: FLOOD });

/** No page goes on with it; what is stored of it stays. @param {Gateway} gateway */
export const endFlood = (gateway) => note(gateway, null);

/** @param {Gateway} gateway @param {Flood | null} flood */
const note = (gateway, flood) => gateway.store(null, "flood", [], "normal", (account) => ({ ...account, flood }));

/**
 * Stores what is left of the flood that the account knows of.
 * @param {Gateway} gateway
 * @param {(flood: Flood) => void} report called before and after each transaction
 */
export async function goOnFlooding(gateway, report) {
  for (;;) {
    const { flood } = await gateway.account();
    if (flood === null) return;
    report(flood);
    const { to, next, total } = flood;
    const step = Math.min(STEP, total - next);
    const payloads = Array.from({ length: step }, (_, index) =>
      encoder.encode(`message ${numberText(next + index + 1)} of a flood`),
    );
    const now = { to, next: next + step, total };
    // none if the mailbox has been emptied meanwhile
    const stored = (/** @type {Account} */ account) =>
      account.flood && { ...account, flood: after(account.flood, step) };
    await gateway.store(to, "flood", payloads, "normal", stored);
    report(now);
  }
}

/** @param {Flood} flood @param {number} step @returns {Flood | null} */
function after({ to, next, total }, step) {
  return next + step < total ? { to, next: next + step, total } : null;
}
