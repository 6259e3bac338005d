/** From a mailbox to the lines of a file; see `lines.js`. */

import { endLine, headLine, knownIdLine, messageLine } from "./lines.js";
import { unpackKnown } from "../engine/remembered-ids.js";
import { unpackBatch } from "../model/frames.js";
import { unpackHeaders } from "../model/headers.js";
import { HIGHEST_FIRST } from "../model/lane.js";
import { textOfId } from "../model/uuids.js";
import { DEAD } from "../storage/rows.js";

/** @typedef {import("../engine/types.js").Archive} Archive */
/** @typedef {import("./lines.js").WholeMessage} WholeMessage */

/**
 * The dead letters come first, so that one that is redriven meanwhile is met again among the living; and once more at
 * the end, for those that have become dead letters meanwhile.
 */
const SECTIONS = [DEAD, ...HIGHEST_FIRST, DEAD];

/** Some lines at a time. @param {Archive} archive @returns {AsyncGenerator<string, void, undefined>} */
export async function* linesOf(archive) {
  yield headLine();
  /** @type {Set<string>} */
  const seen = new Set();
  let deadLetters = 0;
  for (const section of SECTIONS) {
    /** @type {number | undefined} */
    let until;
    for (let from = 0; until === undefined || from < until; ) {
      const [batch, details, next, end] = await archive.readSection(section, from, until);
      [from, until] = [next, end];
      let lines = "";
      for (const message of wholeMessagesIn(batch, details)) {
        if (seen.has(message.id)) continue;
        seen.add(message.id);
        if (message.dead !== null) deadLetters += 1;
        lines += messageLine(message);
      }
      if (lines !== "") yield lines;
    }
  }
  let knownIds = 0;
  for (let last; ; ) {
    const known = unpackKnown(await archive.readRemembered(last));
    if (known.length === 0) break;
    yield known.map(({ id, until }) => knownIdLine({ id: textOfId(id), until })).join("");
    knownIds += known.length;
    last = known[known.length - 1].id;
  }
  yield endLine({ messages: seen.size, deadLetters, knownIds });
}

/**
 * The messages of a page.
 * @param {Uint8Array} batch @param {string} details see `Page` in `engine/types.d.ts` @returns {WholeMessage[]}
 */
function wholeMessagesIn(batch, details) {
  /** @type {[number | null, number, boolean, string | null, string?, number?][]} */
  const told = JSON.parse(details);
  return unpackBatch(batch).map(({ id, headers, ...message }, i) => {
    const [due, failures, suspect, error, reason, diedAt] = told[i];
    const dead = reason === undefined || diedAt === undefined ? null : { reason, diedAt };
    return { ...message, id: textOfId(id), headers: unpackHeaders(headers), due, failures, suspect, error, dead };
  });
}
