/**
 * What an engine takes from its surroundings, and the few numbers that decide how long things take. Programs have no
 * reason to change any; tests do, to provoke what happens rarely or late.
 */

import { CHANNEL } from "../coordination/notifier.js";
import { ABORTS_AFTER_COMMIT, DATABASE_VERSION } from "../storage/database.js";

/**
 * @typedef {object} Settings
 * @property {number} layout that the database is brought to
 * @property {boolean} asksToCommit whether transactions of several requests ask to be committed as soon as possible
 * @property {number} answerLimit milliseconds that opening waits for an answer: it queues behind other tabs, and some
 * browsers lose the request
 * @property {number} blockedLimit milliseconds that opening waits for another tab to close an older layout
 * @property {number} slowPoll milliseconds after which a waiter looks in any case, since hints may get lost
 * @property {number} longestAbsence milliseconds after which a page that was left counts as back even without an event
 * that says so. Until then its handles claim nothing: if it is really going away, the messages are for whoever comes
 * next
 * @property {boolean} heartbeats whether holders without a lock show that they live
 * @property {number} carriedSegment bytes of the largest segment that travels with the head, and needs no request of
 * its own
 * @property {number} cacheBytes bytes of segments kept at hand, so that a page need not read again what it produced
 * itself
 * @property {number} shownBytes bytes of messages after which a call that shows them stops: all of them are in one
 * array, and Python copies it
 * @property {number} firstWait milliseconds after which a value that could not be read is first tried again; doubled
 * each time
 * @property {number} longestWait the most that this becomes
 * @property {LockManager | undefined} locks undefined where there are none
 * @property {() => BroadcastChannel | undefined} openChannel to other contexts; undefined where there are none
 * @property {Pick<EventTarget, "addEventListener">} events of the page or worker
 */

/** @returns {Settings} */
export const defaultSettings = () => ({
  layout: DATABASE_VERSION,
  asksToCommit: ABORTS_AFTER_COMMIT,
  answerLimit: 20_000,
  blockedLimit: 5000,
  slowPoll: 5000,
  longestAbsence: 1000,
  heartbeats: true,
  carriedSegment: 2048,
  cacheBytes: 8 * 1024 * 1024,
  shownBytes: 256 * 1024 * 1024,
  firstWait: 100,
  longestWait: 1000,
  locks: globalThis.navigator?.locks,
  openChannel: () => (typeof BroadcastChannel === "undefined" ? undefined : new BroadcastChannel(CHANNEL)),
  // Node has none
  events: "addEventListener" in globalThis ? globalThis : new EventTarget(),
});
