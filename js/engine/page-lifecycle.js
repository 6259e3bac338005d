/**
 * A page that is left or frozen: what its handles hold is released at once, since nothing may run later. If the page
 * continues after all, each handle begins a new life. See docs/liveness.md.
 *
 * An error of one handle does not keep the others from being released or continuing.
 */

import { attempt } from "../model/errors.js";

/** @typedef {import("../coordination/unload-notes.js").Note} Note */
/** @typedef {import("../coordination/cancellation.js").Cancellation} Cancellation */

export class PageLifecycle {
  /** @type {{over: Promise<void>, end: () => void} | undefined} */
  #absence;
  #engine;

  /** @param {import("./engine.js").Engine} engine */
  constructor(engine) {
    this.#engine = engine;
    const { events } = engine.settings;
    const leave = () => this.#releaseOnUnload();
    const resume = () => this.#resumeAfterUnload();
    for (const event of ["pagehide", "freeze"]) events.addEventListener(event, leave, true);
    for (const event of ["pageshow", "resume"]) events.addEventListener(event, resume, true);
    if (typeof document !== "undefined") {
      events.addEventListener("visibilitychange", () => document.visibilityState === "visible" && resume(), true);
    } else if (!("ServiceWorkerGlobalScope" in globalThis)) {
      // a worker is told by its page; a service worker has no page
      events.addEventListener("message", (event) => {
        if (/** @type {MessageEvent} */ (event).data?.pymailbox === "release") leave();
      });
    }
  }

  /**
   * Resolves when the page is no longer being left, or on cancellation; undefined if there is nothing to wait for.
   * @param {Cancellation} cancelled @returns {Promise<void> | undefined}
   */
  whenBack(cancelled) {
    return this.#absence === undefined ? undefined : this.#untilBack(cancelled);
  }

  /** @param {Cancellation} cancelled */
  async #untilBack(cancelled) {
    while (this.#absence !== undefined && !cancelled.isCancelled) {
      const { over } = this.#absence;
      await new Promise((/** @type {(_: void) => void} */ resolve) => {
        const unlisten = cancelled.listen(resolve);
        over.then(resolve).then(unlisten);
      });
    }
  }

  /** For a page that is left, or a worker whose page is. */
  #releaseOnUnload() {
    const { connection, groupCommit, handles, notes, notifier, settings } = this.#engine;
    notes.countUnload();
    /** @type {Note[]} */
    const left = [];
    for (const handle of handles) attempt(() => left.push(...handle.releaseOnUnload()));
    connection.writeAtOnce("notes", left);
    notes.keep(left);
    // requests no other lock until it is back: Chromium's back/forward cache keeps no page that does
    groupCommit.suspendWriteLeases();
    for (const mailbox of new Set(left.map(([, mailbox]) => mailbox))) {
      notifier.tellOthers({ mailbox, notes: left.filter(([, of]) => of === mailbox) });
    }
    this.#absence?.end();
    const timer = setTimeout(() => this.#resumeAfterUnload(), settings.longestAbsence);
    let end = () => {};
    /** @type {Promise<void>} */
    const over = new Promise((resolve) => {
      end = resolve;
    });
    this.#absence = {
      over,
      end: () => {
        clearTimeout(timer);
        end();
      },
    };
    for (const handle of handles) attempt(() => handle.onLifeOver?.());
  }

  #resumeAfterUnload() {
    if (this.#absence === undefined) return;
    this.#absence.end();
    this.#absence = undefined;
    this.#engine.groupCommit.renewWriteLeases();
    for (const handle of this.#engine.handles) attempt(() => handle.resumeAfterUnload());
  }
}
