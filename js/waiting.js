/** Calls that wait for something to claim. */

export class Waiting {
  /** @type {Set<() => void>} */
  #wakes = new Set();

  wake() {
    for (const wake of this.#wakes) wake();
  }

  /**
   * Listens from now on, until it is stopped.
   * @param {AbortSignal} cancelled wakes too
   * @returns {{within: (milliseconds: number) => Promise<void>, stop: () => void}} `within` resolves once something has
   * been heard since, or when the time is over
   */
  listen(cancelled) {
    /** @type {() => void} */
    let wake = () => {};
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    /** @type {Promise<void>} */
    const heard = new Promise((resolve) => {
      wake = resolve;
    });
    this.#wakes.add(wake);
    cancelled.addEventListener("abort", wake);
    return {
      within: (milliseconds) => {
        timer = setTimeout(wake, milliseconds);
        return heard;
      },
      stop: () => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        cancelled.removeEventListener("abort", wake);
      },
    };
  }
}
