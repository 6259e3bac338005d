/** Messages to pass over when looking through a mailbox. */

/** @typedef {{from: number, to: number}} Numbers `to` is exclusive */

export class PassedOver {
  /** By priority; in order, without overlaps. @type {Map<number, Numbers[]>} */
  #lanes = new Map();

  /** @param {number} priority @param {number} from @param {number} to exclusive */
  add(priority, from, to) {
    let lane = this.#lanes.get(priority);
    if (lane === undefined) this.#lanes.set(priority, (lane = []));
    const at = firstBeyond(lane, from);
    let end = at;
    for (; end < lane.length && lane[end].from < to; end++) {
      from = Math.min(from, lane[end].from);
      to = Math.max(to, lane[end].to);
    }
    lane.splice(at, end - at, { from, to });
  }

  /** How many numbers are passed over. */
  get count() {
    return [...this.#lanes.keys()].reduce((count, priority) => count + this.countFrom(priority, 0), 0);
  }

  /** How many numbers of a lane, from a number on, are passed over. @param {number} priority @param {number} from */
  countFrom(priority, from) {
    return (this.#lanes.get(priority) ?? []).reduce(
      (count, numbers) => count + Math.max(0, numbers.to - Math.max(from, numbers.from)),
      0,
    );
  }

  /**
   * A run without them.
   * @template {Numbers & {priority: number}} Run @param {Run} run @returns {Run[]}
   */
  without(run) {
    const lane = this.#lanes.get(run.priority);
    if (lane === undefined) return [run];
    /** @type {Run[]} */
    const left = [];
    let { from } = run;
    for (let at = firstBeyond(lane, from); at < lane.length && lane[at].from < run.to; at++) {
      if (from < lane[at].from) left.push({ ...run, from, to: lane[at].from });
      from = lane[at].to;
    }
    if (from < run.to) left.push({ ...run, from });
    return left;
  }
}

/** Index of the first that ends after a number. @param {Numbers[]} lane @param {number} number */
function firstBeyond(lane, number) {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane[middle].to > number) high = middle;
    else low = middle + 1;
  }
  return low;
}
