// A mailbox's state as anybody would write it: every message separately, in one map. The state is tested against it.

/**
 * @typedef
 * {{where: "queued" | "delayed" | string, handOuts: number, failures: number, suspect: boolean, solo: boolean, hasError:
 *   boolean, custom: boolean, due: number}}
 * Message
 */

const HIGHEST_FIRST = [1, 0];

export class NaiveMailbox {
  next = [0, 0];
  /** By priority, by number. @type {Map<number, Message>[]} */
  lanes = [new Map(), new Map()];

  /** @param {number} priority @param {boolean} custom @param {number} due */
  append(priority, custom, due) {
    const number = this.next[priority]++;
    this.lanes[priority].set(number, {
      where: due > 0 ? "delayed" : "queued",
      handOuts: 0,
      failures: 0,
      suspect: false,
      solo: false,
      hasError: false,
      custom,
      due,
    });
    return number;
  }

  /** @param {number} now */
  promote(now) {
    for (const message of this.#all())
      if (message.where === "delayed" && message.due <= now) Object.assign(message, { where: "queued", due: 0 });
  }

  /**
   * @param {{priority: number, sequence: number}[] | undefined} places all if omitted @param {number} now
   * @returns {number} how many delays were still running
   */
  promoteEarly(places, now) {
    this.promote(now);
    const all = places?.map(({ priority, sequence }) => this.lanes[priority].get(sequence)) ?? this.#all();
    let count = 0;
    for (const message of all) {
      if (message?.where !== "delayed") continue;
      Object.assign(message, { where: "queued", due: 0 });
      count += 1;
    }
    return count;
  }

  /** @param {string} holder @param {number} limit @param {number} now @returns {[number, number][]} */
  claim(holder, limit, now, isPassedOver = (/** @type {[number, number]} */ ..._) => false) {
    this.promote(now);
    /** @type {[number, number][]} */
    const taken = [];
    for (const priority of HIGHEST_FIRST) {
      for (const [number, message] of this.#sorted(priority)) {
        if (message.where !== "queued" || isPassedOver(priority, number)) continue;
        if (taken.length === limit || (message.suspect && taken.length > 0)) return this.#hand(taken, holder);
        taken.push([priority, number]);
        if (message.suspect) return this.#hand(taken, holder);
      }
    }
    return this.#hand(taken, holder);
  }

  /** @param {string} holder @param {number} priority @param {number} number */
  isHeld(holder, priority, number) {
    return this.lanes[priority].get(number)?.where === holder;
  }

  /** @param {Message} message @param {"release" | "fail" | "die"} how */
  giveBack(message, how) {
    const { solo } = message;
    Object.assign(message, {
      where: "queued",
      solo: false,
      suspect: how === "release" ? message.suspect : how === "die",
    });
    if (how === "release") message.handOuts -= 1;
    if (how === "fail" || (how === "die" && solo)) message.failures += 1;
  }

  /** @param {string} holder @param {"release" | "die"} how */
  giveAllBack(holder, how) {
    let count = 0;
    for (const message of this.#all()) {
      if (message.where !== holder) continue;
      this.giveBack(message, how);
      count += 1;
    }
    return count;
  }

  /** @param {string} holder @param {string} heir who holds nothing yet */
  bequeath(holder, heir) {
    for (const message of this.#all()) if (message.where === holder) message.where = heir;
  }

  purge() {
    let count = 0;
    for (const lane of this.lanes) {
      for (const [number, { where }] of [...lane]) {
        if (where !== "queued" && where !== "delayed") continue;
        lane.delete(number);
        count += 1;
      }
    }
    return count;
  }

  /** Places of queued ones, due ones too, in order. @param {number} now */
  queued(now) {
    return this.#places(({ where, due }) => where === "queued" || (where === "delayed" && due <= now));
  }

  inflight() {
    return this.#places(({ where }) => where !== "queued" && where !== "delayed");
  }

  /** @param {number} now */
  delayed(now) {
    return this.lanes
      .flatMap((lane, priority) => [...lane].map(([number, message]) => ({ priority, number, message })))
      .filter(({ message }) => message.where === "delayed" && message.due > now)
      .sort((a, b) => a.message.due - b.message.due || a.priority - b.priority || a.number - b.number)
      .map(({ priority, number }) => [priority, number]);
  }

  counts() {
    const all = this.#all();
    const waits = (/** @type {Message} */ { where }) => where === "queued" || where === "delayed";
    return {
      queued: this.lanes.map((lane) => [...lane.values()].filter(waits).length),
      inflight: all.filter((message) => !waits(message)).length,
      customIds: all.filter(({ custom }) => custom).length,
      nextDue: Math.min(...all.filter(({ where }) => where === "delayed").map(({ due }) => due)),
    };
  }

  holders() {
    return [
      ...new Set(
        this.inflight().map(([priority, number]) => /** @type {Message} */ (this.lanes[priority].get(number)).where),
      ),
    ].sort();
  }

  /** @param {[number, number][]} taken @param {string} holder */
  #hand(taken, holder) {
    for (const [priority, number] of taken) {
      const message = /** @type {Message} */ (this.lanes[priority].get(number));
      Object.assign(message, { where: holder, handOuts: message.handOuts + 1, solo: taken.length === 1 });
    }
    return taken;
  }

  /** @param {(message: Message) => boolean} is @returns {[number, number][]} */
  #places(is) {
    return HIGHEST_FIRST.flatMap((priority) =>
      this.#sorted(priority).flatMap(([number, message]) =>
        is(message) ? [/** @type {[number, number]} */ ([priority, number])] : [],
      ),
    );
  }

  /** @param {number} priority */
  #sorted(priority) {
    return [...this.lanes[priority]].sort(([a], [b]) => a - b);
  }

  #all() {
    return this.lanes.flatMap((lane) => [...lane.values()]);
  }
}
