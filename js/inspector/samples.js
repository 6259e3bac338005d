/** What was seen of a mailbox in the last minutes: its depth, and how much came and went. Pure. */

/** Milliseconds of history that are kept. */
export const WINDOW = 120_000;

/** The least milliseconds that a rate is measured over. */
const RATE_SPAN = 2000;

/** Milliseconds without a look that make a gap. */
const GAP = 5000;

/**
 * @typedef {{at: number, queued: number, inflight: number, ever: number, fresh: boolean}} Sample `fresh`: unrelated to
 * the one before
 */
/** @typedef {{at: number, values: number[] | undefined}} Point undefined where nothing is known */

export class Samples {
  /** @type {Sample[]} */
  #samples = [];

  /**
   * @param {number} at milliseconds of a clock that never goes back
   * @param {import("../api/values.js").MailboxStats} stats
   */
  add(at, { queuedMessages: queued, inflightMessages: inflight, everQueued: ever }) {
    const last = this.#samples.at(-1);
    // a mailbox that counts from the start again is another one
    const fresh = last === undefined || at - last.at > GAP || ever < last.ever;
    this.#samples.push({ at, queued, inflight, ever, fresh });
    while (this.#samples.length > 1 && this.#samples[1].at < at - WINDOW) this.#samples.shift();
  }

  clear() {
    this.#samples = [];
  }

  /** How many were queued and inflight. @returns {Point[]} */
  depth() {
    return this.#samples.flatMap(({ at, queued, inflight, fresh }) => [
      ...(fresh ? [{ at, values: undefined }] : []),
      { at, values: [queued, inflight] },
    ]);
  }

  /** How many came and went per second. @returns {Point[]} */
  throughput() {
    /** @type {Point[]} */
    const points = [];
    let first = 0;
    let from = 0;
    this.#samples.forEach((sample, i) => {
      if (sample.fresh) {
        first = from = i;
        points.push({ at: sample.at, values: undefined });
        return;
      }
      while (from + 1 < i && sample.at - this.#samples[from + 1].at >= RATE_SPAN) from += 1;
      const before = this.#samples[Math.max(first, from)];
      const seconds = (sample.at - before.at) / 1000;
      if (seconds <= 0) return;
      const came = sample.ever - before.ever;
      const went = came - (living(sample) - living(before));
      points.push({ at: sample.at, values: [came / seconds, Math.max(0, went) / seconds] });
    });
    return points;
  }
}

/** @param {Sample} sample */
const living = ({ queued, inflight }) => queued + inflight;
