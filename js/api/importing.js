/** From the lines of a file to a mailbox; see `lines.js`. */

import { LineError, readLine } from "./lines.js";
import { packKnown } from "../engine/remembered-ids.js";
import { packFrames } from "../model/frames.js";
import { packHeaders } from "../model/headers.js";
import { PAGE_BYTES, PAGE_MESSAGES } from "../model/limits.js";
import { bytesOfId } from "../model/uuids.js";

/** @typedef {import("../engine/types.js").Archive} Archive */
/** @typedef {import("./values.js").ImportOptions} ImportOptions */
/** @typedef {import("./values.js").ImportReport} ImportReport */
/** @typedef {import("./values.js").RefusedLine} RefusedLine */
/** @typedef {import("./lines.js").WholeMessage} WholeMessage */
/** @typedef {import("./lines.js").KnownId} KnownId */

const idBytes = (/** @type {string} */ id) => /** @type {Uint8Array<ArrayBuffer>} */ (bytesOfId(id));

/** Gathers messages and stores them by the hundred. */
export class Intake {
  #archive;
  #onRefused;
  #stored = 0;
  #alreadyThere = 0;
  /** @type {RefusedLine[]} */
  #refused = [];
  #isComplete = false;
  /** Messages that were met. @type {Map<string, number>} */
  #lines = new Map();
  /** Lines that are messages or known ids, and that are neither, though they should be. */
  #read = 0;
  #broken = 0;
  #hasEnded = false;
  /** @type {WholeMessage[]} */
  #messages = [];
  /** @type {KnownId[]} */
  #known = [];
  #size = 0;

  /** @param {Archive} archive @param {ImportOptions["onRefused"]} onRefused */
  constructor(archive, onRefused) {
    this.#archive = archive;
    this.#onRefused = onRefused;
  }

  /** @param {number} number @param {Uint8Array} bytes */
  async take(number, bytes) {
    try {
      if (this.#hasEnded) throw new LineError("it comes after the end line");
      const line = readLine(bytes);
      if (line.kind === "end") {
        this.#hasEnded = true;
        const { messages, knownIds } = line.end;
        this.#isComplete = messages + knownIds === this.#read + this.#broken;
        return;
      }
      if (line.kind === "message") this.#takeMessage(number, line.message);
      else this.#known.push(line.known);
      this.#read += 1;
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      if (!this.#hasEnded) this.#broken += 1;
      const refused = Object.freeze({ line: number, reason: error.message });
      this.#refused.push(refused);
      this.#onRefused?.(refused);
    }
    if (this.#messages.length + this.#known.length >= PAGE_MESSAGES || this.#size >= PAGE_BYTES) await this.store();
  }

  /** @param {number} number @param {WholeMessage} message */
  #takeMessage(number, message) {
    const first = this.#lines.get(message.id);
    if (first !== undefined) throw new LineError(`the id ${message.id} is already on line ${first}`);
    this.#lines.set(message.id, number);
    this.#messages.push(message);
    this.#size += message.sender.length + message.payload.length;
  }

  async store() {
    const [messages, known] = [this.#messages, this.#known];
    [this.#messages, this.#known, this.#size] = [[], [], 0];
    if (messages.length > 0) {
      const frames = packFrames(
        messages.map(({ id, headers, due, createdAt, ...message }) => ({
          ...message,
          id: idBytes(id),
          headers: packHeaders(headers),
          due: due ?? 0,
          until: 0,
          created: createdAt,
        })),
        0,
      );
      const details = messages.map(({ deliveryCount, failures, suspect, error, dead }) => [
        deliveryCount,
        failures,
        suspect,
        error,
        dead?.reason ?? null,
        dead?.diedAt ?? null,
      ]);
      for (const isNew of await this.#archive.adopt(frames, JSON.stringify(details))) {
        if (isNew === 1) this.#stored += 1;
        else this.#alreadyThere += 1;
      }
    }
    if (known.length > 0)
      await this.#archive.remember(packKnown(known.map(({ id, until }) => ({ id: idBytes(id), until }))));
  }

  /** @returns {ImportReport} */
  report() {
    return Object.freeze({
      stored: this.#stored,
      alreadyThere: this.#alreadyThere,
      refused: Object.freeze(this.#refused),
      complete: this.#isComplete,
    });
  }
}
