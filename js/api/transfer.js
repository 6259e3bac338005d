/** Mailboxes as files: `exportMailbox` and `importMailbox`, in the format of Python's `export` and `import_`. */

import { archiveOf } from "./mailbox.js";
import { checkOptions, checkSignal, described } from "./validate.js";
import { linesOf } from "./exporting.js";
import { Intake } from "./importing.js";
import { LineError, checkHead } from "./lines.js";
import { isBlank, linesIn, piecesOf } from "./pieces.js";

/** @typedef {import("./mailbox.js").Mailbox} Mailbox */
/** @typedef {import("./values.js").ImportSource} ImportSource */
/** @typedef {import("./values.js").ImportOptions} ImportOptions */
/** @typedef {import("./values.js").ImportReport} ImportReport */
/** @typedef {import("./values.js").OwnBytes} OwnBytes */

/** Some editors put it in front. */
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

const encoder = new TextEncoder();

/**
 * Everything that is in a mailbox, as a stream of lines of JSON in ASCII: queued, delayed and inflight messages, dead
 * letters, and the ids that stay known for a while. Python's `import_` reads it, as `importMailbox` does.
 *
 * It changes nothing and takes nothing from anybody. Others may use the mailbox meanwhile: each message appears as it
 * was when its page was read, and a message that is there from the beginning to the end appears exactly once. Only a
 * message that became a dead letter and was redriven while this ran may be missing. It reads a few MiB at a time, as
 * the stream is read, and remembers only ids. A file without an end line was cut off.
 *
 *     const blob = await new Response(exportMailbox(mailbox)).blob(); // for a download
 *     await exportMailbox(mailbox).pipeTo(await fileHandle.createWritable());
 * @param {Mailbox} mailbox an open one; the stream fails as its verbs do
 * @returns {ReadableStream<OwnBytes>}
 */
export function exportMailbox(mailbox) {
  const pieces = linesOf(archiveOf(mailbox));
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

/**
 * Stores the messages of an export behind those that are in a mailbox, in their order; of Python's `export`, too.
 *
 * They keep ids, bytes, headers, priorities, times, delivery counts and due times, and dead letters are dead letters
 * again. What was inflight is queued. A broken line is refused, with its number, and the others are stored. A message
 * whose id is already in the mailbox is not stored again, so an import that was cut off, or failed, can be repeated. A
 * few hundred messages are stored in each transaction.
 * @param {Mailbox} mailbox an open one
 * @param {ImportSource} source the file: a `Blob` or `File`, a `Response`, a stream, bytes, a text, or an iterable of
 * pieces of any size
 * @param {ImportOptions} [options] `onRefused`, called with each refused line as it is met; `signal`
 * @returns {Promise<ImportReport>} what was stored and what was not
 * @throws {TypeError} `source` gives something other than bytes or text
 * @throws {RangeError} `source` is not an export, or one of a newer version; nothing was stored
 * @throws {import("../model/errors.js").StorageFullError} there is no room for more; some messages may be stored
 */
export async function importMailbox(mailbox, source, options) {
  const given = checkOptions(options, "options", ["onRefused", "signal"]);
  const { onRefused } = given;
  const signal = checkSignal(given.signal);
  if (onRefused !== undefined && typeof onRefused !== "function")
    throw new TypeError(`onRefused must be a function, not ${described(onRefused)}`);
  const intake = new Intake(archiveOf(mailbox), /** @type {ImportOptions["onRefused"]} */ (onRefused));
  let number = 0;
  for await (const line of linesIn(piecesOf(source, signal))) {
    signal?.throwIfAborted();
    number += 1;
    if (number === 1) checkFirst(line);
    else if (!isBlank(line)) await intake.take(number, line);
  }
  signal?.throwIfAborted();
  if (number === 0) throw new RangeError("source is empty; an export has at least a head line");
  await intake.store();
  return intake.report();
}

/** @param {Uint8Array} line @throws {RangeError} it is no head */
function checkFirst(line) {
  try {
    checkHead(BYTE_ORDER_MARK.every((byte, i) => line[i] === byte) ? line.subarray(BYTE_ORDER_MARK.length) : line);
  } catch (error) {
    throw error instanceof LineError ? new RangeError(`line 1 of source: ${error.message}`) : error;
  }
}
