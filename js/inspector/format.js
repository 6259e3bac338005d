/** Numbers, times and errors in words. */

const NUMBERS = new Intl.NumberFormat("en");

const TENTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const MOMENTS = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

/** Up to which span of time each unit is used, and its length, in milliseconds. @type {[number, number, string][]} */
const SPANS = [
  [60_000, 1000, "s"],
  [3_600_000, 60_000, "min"],
  [172_800_000, 3_600_000, "h"],
  [Infinity, 86_400_000, "d"],
];

/** What to do next about an error, by its class. @type {Record<string, string>} */
const ADVICE = {
  StorageFullError: "Free some space for this site, or purge or discard what is not needed, and try again.",
  StorageUnavailableError:
    "If this site's data was cleared, look again. Otherwise allow the site to store data, or leave private browsing, " +
    "and reload the page.",
  StorageCorruptError: "What cannot be read will not repair itself. Deleting the mailbox makes its name usable again.",
  ConnectionLostError:
    "This is retried automatically. If it persists, close other tabs of this site and reload the page.",
  MailboxClosedError: "Look again, and the mailbox is opened once more.",
  TypeError: "Correct the name of this inspector's mailbox.",
  RangeError: "Correct the name of this inspector's mailbox.",
};

/** @param {number} value */
export const number = (value) => NUMBERS.format(value);

/** @param {number} value @param {string} noun */
export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

/** A number per second. @param {number} value */
export const rate = (value) =>
  value >= 9.95 || Number.isInteger(value) ? number(Math.round(value)) : value.toFixed(1);

/** A date and time in full. @param {Date} moment */
export const moment = (moment) => (Number.isNaN(moment.getTime()) ? "unknown" : MOMENTS.format(moment));

/**
 * How long ago something was; a time in the future, from a wrong clock, counts as now.
 * @param {Date} then @param {number} now milliseconds since 1970
 */
export const age = (then, now) => span(Math.max(0, now - then.getTime()), Math.floor);

/**
 * How long it is until a moment; "" if that has passed.
 * @param {Date} moment @param {number} now milliseconds since 1970
 */
export function until(moment, now) {
  const ahead = moment.getTime() - now;
  return ahead > 0 ? `in ${span(Math.max(1000, ahead), Math.round)}` : "";
}

/** A span of time in one unit. @param {number} milliseconds @param {(value: number) => number} rounded */
function span(milliseconds, rounded) {
  const fitting = SPANS.find(([end, length]) => rounded(milliseconds / length) * length < end);
  const [, length, unit] = fitting ?? SPANS[SPANS.length - 1];
  return `${number(rounded(milliseconds / length))} ${unit}`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 999_950 ? `${TENTHS.format(bytes / 1000)} kB` : `${TENTHS.format(bytes / 1_000_000)} MB`;
}

/** @param {unknown} error @returns {{what: string, next: string}} what went wrong, and what to do about it */
export function explained(error) {
  if (!(error instanceof Error)) return { what: String(error), next: "Look again." };
  return { what: error.message, next: ADVICE[error.name] ?? "Look again; if it persists, reload the page." };
}
