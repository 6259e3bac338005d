/**
 * A page that is left or frozen: what its handles hold is released at once, since nothing may run later. If the page goes on after
 * all, each handle begins a new life. See docs/liveness.md.
 *
 * If one handle throws, the others are released, or go on, all the same.
 */

import { countUnload, keepNotes } from "../coordination/unload-notes.js";
import { attempt } from "../model/errors.js";
import { connection, groupCommit, handles, notifier } from "./realm.js";

/** @typedef {import("../coordination/unload-notes.js").Note} Note */
/** @typedef {import("../coordination/cancellation.js").Cancellation} Cancellation */

/**
 * Milliseconds after which a page that was left, and has not said that it is back, counts as back. Until then its handles
 * claim nothing: if it is really going away, its messages are for whoever comes next.
 */
const LONGEST_ABSENCE = 1000;

/** @type {{over: Promise<void>, end: () => void} | undefined} */
let absence;

/**
 * Resolves when the page is no longer being left, or when this is cancelled; undefined if there is nothing to wait for.
 * @param {Cancellation} cancelled @returns {Promise<void> | undefined}
 */
export const whenBack = (cancelled) => (absence === undefined ? undefined : untilBack(cancelled));

/** @param {Cancellation} cancelled */
async function untilBack(cancelled) {
  while (absence !== undefined && !cancelled.isCancelled) {
    const { over } = absence;
    await new Promise((/** @type {(_: void) => void} */ resolve) => {
      const unlisten = cancelled.listen(resolve);
      over.then(resolve).then(unlisten);
    });
  }
}

/** For a page that is left, or a worker whose page tells it so. */
function releaseOnUnload() {
  countUnload();
  /** @type {Note[]} */
  const left = [];
  for (const handle of handles) attempt(() => left.push(...handle.releaseOnUnload()));
  connection.writeAtOnce("departed", left);
  keepNotes(left);
  // it asks for no other lock before it is back: a page that does is not kept in Chromium's back/forward cache
  groupCommit.suspendWriteLeases();
  for (const mailbox of new Set(left.map(([, mailbox]) => mailbox))) {
    notifier.tellOthers({ mailbox, notes: left.filter(([, of]) => of === mailbox) });
  }
  absence?.end();
  const timer = setTimeout(resumeAfterUnload, LONGEST_ABSENCE);
  let end = () => {};
  /** @type {Promise<void>} */
  const over = new Promise((resolve) => {
    end = resolve;
  });
  absence = {
    over,
    end: () => {
      clearTimeout(timer);
      end();
    },
  };
  for (const handle of handles) attempt(() => handle.onLifeOver?.());
}

function resumeAfterUnload() {
  if (absence === undefined) return;
  absence.end();
  absence = undefined;
  groupCommit.renewWriteLeases();
  for (const handle of handles) attempt(() => handle.resumeAfterUnload());
}

for (const event of ["pagehide", "freeze"]) globalThis.addEventListener?.(event, releaseOnUnload, true);
for (const event of ["pageshow", "resume"]) globalThis.addEventListener?.(event, resumeAfterUnload, true);
if (typeof document === "undefined") {
  globalThis.addEventListener?.("message", ({ data }) => {
    if (data?.pymailbox === "release") releaseOnUnload();
  });
} else {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") resumeAfterUnload();
  });
}
