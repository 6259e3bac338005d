/**
 * Whether anybody still wants what a call is to give: an `AbortSignal` with its controller, for much less than the
 * browser's own.
 */

export class Cancellation {
  isCancelled = false;
  /** @type {Set<() => void> | undefined} */
  #listeners;

  cancel() {
    this.isCancelled = true;
    for (const listener of this.#listeners ?? []) listener();
  }

  /** Calls a function when it is cancelled. @param {() => void} listener @returns {() => void} no longer calls it */
  listen(listener) {
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }
}
