/**
 * A page that is left or frozen: what its handles hold goes back at once, since nothing may run any more later. If it goes
 * on all the same, each handle begins a new life. See docs/liveness.md.
 */

import { groupCommit, connection, handles, notifier } from "./realm.js";
import { keepNotes } from "../coordination/unload-notes.js";

/**
 * Milliseconds after which a page that was left, and has not said that it is back, counts as back. Until then its handles
 * claim nothing: if it is really going, its messages are for whoever comes next.
 */
const LONGEST_ABSENCE = 1000;

/** @type {{over: Promise<void>, end: () => void} | undefined} */
let absence;

/**
 * Resolves when the page is not being left any more, or when it is cancelled; nothing to wait for is undefined.
 * @param {AbortSignal} cancelled @returns {Promise<void> | undefined}
 */
export const whenBack = (cancelled) => (absence === undefined ? undefined : untilBack(cancelled));

/** @param {AbortSignal} cancelled */
async function untilBack(cancelled) {
  while (absence !== undefined && !cancelled.aborted) {
    const { over } = absence;
    await new Promise((resolve) => {
      cancelled.addEventListener("abort", resolve);
      over.then(resolve).then(() => cancelled.removeEventListener("abort", resolve));
    });
  }
}

/** For a page that is left, or a worker whose page tells it so. */
function leave() {
  const left = [...handles].flatMap((handle) => handle.releaseOnUnload());
  connection.writeAtOnce("departed", left);
  keepNotes(left);
  // it asks for no other lock before it is back: a page that does is not kept in Chromium's back/forward cache
  groupCommit.suspendRights();
  for (const mailbox of new Set(left.map(([, mailbox]) => mailbox))) {
    notifier.tellOthers({ mailbox, notes: left.filter(([, of]) => of === mailbox) });
  }
  absence?.end();
  const timer = setTimeout(comeBack, LONGEST_ABSENCE);
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
  for (const handle of handles) handle.onLifeOver?.();
}

function comeBack() {
  if (absence === undefined) return;
  absence.end();
  absence = undefined;
  groupCommit.renewRights();
  for (const handle of handles) handle.giveBackOwed();
}

for (const event of ["pagehide", "freeze"]) globalThis.addEventListener?.(event, leave, true);
for (const event of ["pageshow", "resume"]) globalThis.addEventListener?.(event, comeBack, true);
if (typeof document === "undefined") {
  globalThis.addEventListener?.("message", ({ data }) => {
    if (data?.pymailbox === "release") leave();
  });
} else {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") comeBack();
  });
}
