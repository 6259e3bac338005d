/**
 * Which peers a page is. A peer is an actor with a mailbox of its own.
 *
 * All pages of an origin share one storage, so each peer's mailboxes are named after it: those of peer 1 begin with
 * "demo", those of peer 2 with "demo-2". A page becomes the first peers that no other page is (a Web Lock tells), not
 * new ones each time: so who closes the tab and comes back finds the mailboxes as they were, and at work again.
 */

import { attempt } from "./web-storage.js";

/** @import { Peer } from "./types.js" */

const NUMBER = "pymailbox-demo-peer";

/** How a Protobuf encoder writes `message PeerId { bytes id = 1; }`, sixteen bytes long; actor.py knows peers by it. */
const ENCODED_ID = [0x0a, 0x10];
const RANDOM_BYTES = 16;

/** Milliseconds that a reloaded page waits for its lock, which the page before it may not have let go yet. */
const RELOADING = 2000;

/** @param {number} place of the page's first peer: 0, of its second one: 1 @returns {Promise<Peer>} */
export async function becomePeer(place) {
  const key = place === 0 ? NUMBER : `${NUMBER}-at-${place}`;
  const number = await freeNumber(place, Number(attempt(() => sessionStorage.getItem(key))));
  attempt(() => sessionStorage.setItem(key, String(number)));
  const id = idOf(number);
  return { number, id, key: keyOf(id), mailbox: number === 1 ? "demo" : `demo-${number}` };
}

/** @param {number} place @param {number} before what the page at this place was before, or none */
async function freeNumber(place, before) {
  try {
    if (before > 0 && (await hold(before, { signal: AbortSignal.timeout(RELOADING) }))) return before;
    for (let number = 1; ; number++) if (await hold(number, { ifAvailable: true })) return number;
  } catch {
    // Without Web Locks nobody can tell; then all tabs are the same peers and share their work.
    return place + 1;
  }
}

/** A peer's id as text, for what needs text. @param {Uint8Array} id */
export const keyOf = (id) => Array.from(id, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Enough of a peer's id to tell it from others. @param {string} key */
export const shortKey = (key) => key.slice(2 * ENCODED_ID.length).slice(0, 6);

/** @param {number} number */
function idOf(number) {
  const stored = attempt(() => localStorage.getItem(`${NUMBER}-${number}`));
  if (stored) return Uint8Array.from(stored.match(/../g) ?? [], (digits) => parseInt(digits, 16));
  const id = Uint8Array.from([...ENCODED_ID, ...crypto.getRandomValues(new Uint8Array(RANDOM_BYTES))]);
  attempt(() => localStorage.setItem(`${NUMBER}-${number}`, keyOf(id)));
  return id;
}

/**
 * Becomes a peer until the page ends.
 * @param {number} number
 * @param {LockOptions} options
 * @returns {Promise<boolean>} false if another tab is that one
 * @throws {Error} there are no Web Locks, or none where site data is blocked
 */
function hold(number, options) {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(`${NUMBER}-${number}`, options, (lock) => {
        resolve(lock !== null);
        return lock === null ? undefined : new Promise(() => {});
      })
      .catch((error) => (options.signal?.aborted ? resolve(false) : reject(error)));
  });
}
