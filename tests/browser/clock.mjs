// A clock that can be put forward, in a page or in a worker, in any browser: for what runs there that time has passed, as
// on a machine that slept. Playwright's clock does not reach workers.

/** Milliseconds by which this clock is ahead of the real one. */
let ahead = 0;

/** @type {Map<number, { due: number, call: () => void, real: number }>} by the number that `setTimeout` gave */
const timers = new Map();
let lastTimer = 0;

const start = globalThis.setTimeout;
const end = globalThis.clearTimeout;
const RealDate = Date;
const sinceStart = performance.now.bind(performance);

const now = () => sinceStart() + ahead;

class ClockDate extends RealDate {
  /** @param {any[]} given */
  constructor(...given) {
    // @ts-expect-error: these are what a Date takes, one to seven
    super(...(given.length > 0 ? given : [ClockDate.now()]));
  }

  /** @override */
  static now() {
    return RealDate.now() + ahead;
  }
}

/** @param {number} number */
function arm(number) {
  const timer = timers.get(number);
  if (timer) {
    timer.real = Number(start(timer.call, Math.max(0, timer.due - now())));
  }
}

/** @param {(...given: any[]) => void} callback @param {number} milliseconds @param {any[]} given */
function setTimer(callback, milliseconds = 0, ...given) {
  const number = ++lastTimer;
  const call = () => {
    timers.delete(number);
    callback(...given);
  };
  timers.set(number, { due: now() + milliseconds, call, real: 0 });
  arm(number);
  return number;
}

/** @param {number | undefined} number */
function clearTimer(number) {
  const timer = timers.get(Number(number));
  timers.delete(Number(number));
  end(timer ? timer.real : number);
}

/**
 * Puts the clock forward. Timers that are due by then go off at once, in their order.
 * @param {number} milliseconds
 */
function putForward(milliseconds) {
  ahead += milliseconds;
  for (const [number, { real }] of [...timers].sort(([, one], [, other]) => one.due - other.due)) {
    end(real);
    arm(number);
  }
}

/**
 * From now on there is `putForward`, and whoever asks for the time, or sets a timer, gets this clock's.
 * @param {number} milliseconds  by which it begins ahead
 */
export function useClock(milliseconds) {
  ahead = milliseconds;
  performance.now = now;
  Object.assign(globalThis, { Date: ClockDate, setTimeout: setTimer, clearTimeout: clearTimer, putForward });
}
