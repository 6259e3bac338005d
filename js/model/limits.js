/**
 * The limits on what callers pass and what is stored. `pymailbox/contract/limits.py` has the same; a test compares
 * them.
 */

/** Characters of a mailbox's name. */
export const LONGEST_NAME = 200;

/** Bytes of sender, payload and headers together. Every browser stores that much as one value. */
export const LARGEST_MESSAGE = 64 * 1024 * 1024;

/** Headers of a message. */
export const MOST_HEADERS = 64;

/** Bytes of UTF-8 of all names and texts of a message's headers. */
export const LARGEST_HEADERS = 8 * 1024;

/** The most bytes of payload that one `dequeue` hands out, unless it hands out a single message. */
export const LARGEST_BATCH = 64 * 1024 * 1024;

/** The largest whole number that is exact in every store. */
export const LARGEST_COUNT = Number.MAX_SAFE_INTEGER;

/** Milliseconds (in Python seconds): 100 years. A due time stays an exact integer in every store. */
export const LONGEST_DELAY = 100 * 365.25 * 86_400_000;

/** A larger `maxDeliveries` is stored as this, so that no value makes a state unreadable. */
export const MOST_DELIVERIES = 2 ** 31;

/** Milliseconds. A longer `lease` is stored as this. */
export const LONGEST_LEASE = 2 ** 40;

/** Hand-outs and failures of a message are counted up to here, so that a delivery state stays a safe integer. */
export const MOST_COUNTED = 2 ** 20 - 1;

/** The range of Python's dates: the years 1 to 9999, in milliseconds since 1970. */
export const EARLIEST = -62_135_596_800_000;
export const LATEST = 253_402_300_799_999;

/** Messages, and bytes of sender and payload, that an export reads and an import stores in one transaction. */
export const PAGE_MESSAGES = 500;
export const PAGE_BYTES = 4 * 1024 * 1024;
