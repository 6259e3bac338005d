/**
 * Reply mailboxes: what they are called, and how others see whether their asker is there; as in Python.
 *
 * A reply mailbox has a *marker*: a message whose id is in the mailbox's name, and which its asker holds as long as it
 * lives. No marker: there is no such mailbox any more. A marker that nobody holds: the asker died, or its page is
 * frozen. A mailbox may be so new that its marker is not there yet; the id therefore begins with the time.
 */

import { randomId } from "../../model/ids.js";
import { textOfId } from "../../model/uuids.js";
import { checkHeaders, checkMessage } from "../validate.js";

/** The header with the name of the mailbox that an answer goes to. */
export const REPLY_TO = "reply-to";

/** The header that a question and its answer share. */
export const CORRELATION_ID = "correlation-id";

const PREFIX = "pymailbox-replies-";
const NAME = new RegExp(`^${PREFIX}([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$`);

/** Milliseconds for which a reply mailbox may be without a marker that is held. */
const NEW = 60_000;

/** A UUIDv7 (RFC 9562), which begins with the time. */
export function newMarker() {
  const id = randomId();
  const now = Date.now();
  for (let at = 0; at < 6; at++) id[at] = Math.floor(now / 256 ** (5 - at));
  id[6] = 0x70 | (id[6] & 0x0f);
  return textOfId(id);
}

/** The name of the reply mailbox with this marker. @param {string} marker */
export const nameOf = (marker) => PREFIX + marker;

/** The marker of a reply mailbox; undefined if the name is not that of a reply mailbox. @param {string} name */
export const markerOf = (name) => NAME.exec(name)?.[1];

/** Whether this is a reply mailbox, and not a new one. @param {string} name */
export function mayBeLeftOver(name) {
  const marker = markerOf(name);
  return marker !== undefined && Date.now() - Number.parseInt(marker.replace("-", "").slice(0, 12), 16) > NEW;
}

/**
 * A question or an answer, checked, its bytes and headers copied now.
 * @param {unknown} payload @param {Record<string, unknown>} options which are checked
 * @param {string[]} own names of headers that it gets by itself @param {string} why none may be given
 * @param {[string, string][]} [more] headers that it gets now
 * @returns {import("../values.js").NewMessage & {headers: [string, string][]}}
 */
export function checkLetter(payload, { sender = new Uint8Array(), priority, messageId, headers }, own, why, more = []) {
  const texts = headers === undefined ? [] : checkHeaders(headers, "");
  const taken = texts.find(([name]) => own.includes(name));
  if (taken !== undefined) throw new RangeError(`headers must not have ${JSON.stringify(taken[0])}, ${why}`);
  const all = [...texts, ...more];
  const checked = checkMessage(sender, payload, { priority, messageId, headers: all });
  return {
    sender: checked.sender,
    payload: checked.payload,
    priority: /** @type {import("../values.js").MessagePriority | undefined} */ (priority),
    messageId: checked.id && textOfId(checked.id),
    headers: all,
  };
}
