/**
 * Whether anybody still wants a call's result: an `AbortSignal` with its controller, much cheaper than the browser's.
 */

export class Cancellation {
  isCancelled = false;
  /** @type {Set<() => void> | undefined} */
  #listeners;

  cancel() {
    this.isCancelled = true;
    for (const listener of this.#listeners ?? []) listener();
  }

  /** Calls a function when it is cancelled. @param {() => void} listener @returns {() => void} stops that */
  listen(listener) {
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }
}
