/** Payloads of any size that say which message they belong to. */

/** @param {string} label @param {number} [bytes] at least */
export const payloadOf = (label, bytes = 0) => new TextEncoder().encode(label.padEnd(bytes, "."));

/** @param {Uint8Array} payload */
export const labelOf = (payload) => new TextDecoder().decode(payload).replace(/\.*$/, "");
