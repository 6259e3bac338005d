/** What the page says: numbers, progress and failures in words. */

import { visible } from "../js/inspector/escape.js";

/** @import { Arrived, Audit, Balance, Failure, Flood, Loading, PeerAccount, RelayStatus, ServerState } from "./types.js" */

const LANGUAGE = "en";
const SERVER_GONE = "Check your network, and whether the server still runs: from a checkout, “make demo” starts it.";
/** Characters. */
const EXCERPT = 160;
const wholeNumber = new Intl.NumberFormat(LANGUAGE);
const megabytes = new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** @param {number} count */
export const numberText = (count) => wholeNumber.format(count);

/** @param {number} count */
const lineCount = (count) => `${wholeNumber.format(count)} ${count === 1 ? "line" : "lines"}`;

/** @param {number} count */
const messages = (count) => `${wholeNumber.format(count)} ${count === 1 ? "message" : "messages"}`;

/** @param {Loading} loading */
export function loadingText({ step, loaded, total }) {
  switch (step) {
    case "download":
      return total === 0
        ? "Loading Python…"
        : `Loading Python: ${megabytes.format(loaded / 1e6)} of ${megabytes.format(total / 1e6)} MB`;
    case "start":
      return "Starting Python…";
    case "install":
      return "Installing pymailbox…";
    case "open":
      return "Opening the mailbox…";
  }
}

/** @param {string} file @param {number} lines */
export const readingText = (file, lines) => `Storing ${visible(file)}: ${lineCount(lines)} so far`;

/** @param {string} file @param {number} lines */
export const storedText = (file, lines) =>
  lines === 0
    ? `${visible(file)} is empty: there was nothing to store.`
    : `${lineCount(lines)} of ${visible(file)} stored.`;

/** @param {string} file */
export const interruptedText = (file) =>
  `The page was left while ${visible(file)} was being read. The lines stored so far are in the mailbox, the rest of it is not.`;

/** @param {Flood} flood */
export const floodText = ({ next, total }) =>
  `Storing a flood: ${wholeNumber.format(next)} of ${wholeNumber.format(total)} messages`;

/** @param {number} total */
export const floodedText = (total) => `The flood of ${wholeNumber.format(total)} messages is stored.`;

/** @param {Balance} balance */
export function balanceText({ stored, handled, queued, inflight, dead, missing }) {
  const waiting = queued + inflight;
  const parts = [`${wholeNumber.format(handled)} done`, `${wholeNumber.format(waiting)} waiting`, deadText(dead)];
  const sum = `Stored ${wholeNumber.format(stored)} = ${parts.join(" + ")}`;
  if (missing === 0) return `${sum}. Nothing is lost.`;
  if (missing > 0) return `${sum} + ${wholeNumber.format(missing)} gone: discarded or purged by hand, or lost.`;
  return `${sum}, which is ${wholeNumber.format(-missing)} more than were stored.`;
}

/** @param {number} dead */
const deadText = (dead) => `${wholeNumber.format(dead)} dead ${dead === 1 ? "letter" : "letters"}`;

/** @param {Audit} audit */
export function auditText({ handled, doubled, again }) {
  const twice = doubled === 0 ? "none of them twice" : `${wholeNumber.format(doubled)} of them twice`;
  const times = again === 1 ? "once" : `${wholeNumber.format(again)} times`;
  const handedOut =
    again === 0
      ? ""
      : ` Messages were handed out again ${times}: a handler had failed, or its worker had died before it was done.`;
  return `Checked one by one: ${wholeNumber.format(handled)} done, ${twice}.${handedOut}`;
}

/** @param {PeerAccount} account @param {number} onTheWay */
export function peerText({ sent, answered }, onTheWay) {
  if (sent === 0) return "nothing sent to it yet";
  return (
    `sent ${wholeNumber.format(sent)}, still in the outbox ${wholeNumber.format(onTheWay)}, answered ` +
    `${wholeNumber.format(answered)}`
  );
}

/** @param {import("./types.js").OtherPeer} peer @param {number} bytes of a message to it */
export const tooLongText = ({ number }, bytes) =>
  `What was for peer ${number} has ${wholeNumber.format(bytes)} bytes, more than a channel takes: it is deleted.`;

/** Why there is no server to connect to, and what to do. @param {Failure} failure */
export function noServer({ name, message }) {
  if (name === "NoServerSideError")
    return {
      title: "This page comes from a server of files only",
      text:
        "So there is nothing to connect to here. From a checkout, “make demo” serves the page with a server side. All " +
        "else on this page works without one.",
    };
  if (name === "OtherAddressError") return { title: "This address has no server side", text: message };
  if (name === "TypeError") return { title: "The server does not answer", text: SERVER_GONE };
  const isMissing = message.startsWith("There is no ");
  return {
    title: isMissing ? "There is no NATS server here" : "The NATS server does not start",
    text: lastLine(message),
  };
}

/** Of a text that may end with a program's log. @param {string} text */
const lastLine = (text) => text.trim().split("\n").at(-1) ?? "";

/** @param {RelayStatus[]} relays @param {boolean} offline @param {boolean} stopped */
export function relayText(relays, offline, stopped) {
  if (stopped) return "The relay has stopped";
  if (offline) return "The network is off";
  const cutOff = relays.filter(({ connected }) => !connected);
  if (cutOff.length === 0) return "Connected";
  // until the first attempt has come to something
  if (cutOff.every(({ last_error }) => last_error === null)) return "Looking for the server";
  const [since = ""] = cutOff.map(({ disconnected_since }) => disconnected_since ?? "").toSorted();
  return `Not connected since ${clock(since)}`;
}

/** @param {RelayStatus[]} relays @param {string | null} stopped why one of them has ended */
export function lastErrorText(relays, stopped) {
  if (stopped !== null) return stopped;
  const last = relays.toSorted((a, b) => ((a.last_error_at ?? "") < (b.last_error_at ?? "") ? 1 : -1))[0];
  if (!last?.last_error) return "";
  const over = last.connected ? ", over" : "";
  return `Last error, at ${clock(last.last_error_at ?? "")}${over}: ${excerpt(last.last_error)}`;
}

/** @param {string} moment in ISO format */
const clock = (moment) => new Date(moment).toLocaleTimeString("en-GB");

/** @param {ServerState} side */
export function serverText({ runs, problem }) {
  if (problem !== null) return lastLine(problem);
  return runs ? "JetStream, and a Python actor" : "Killed: what you send waits";
}

/** @param {Arrived} arrived */
export function arrivedText({ arrived, twice, dead, toCome, missing, isComplete }) {
  if (arrived + missing + dead === 0) return "";
  const parts = [twice === 0 ? "none of them twice" : `${wholeNumber.format(twice)} of them twice`];
  if (missing > 0) parts.push(`${wholeNumber.format(missing)} missing`);
  else if (isComplete && dead === 0) parts.push("none missing");
  const rest = toCome === 0 ? "" : ` ${wholeNumber.format(toCome)} to come.`;
  const given = dead === 0 ? "" : ` In the outbox: ${deadText(dead)}.`;
  return `Checked by number: ${wholeNumber.format(arrived)} arrived, ${parts.join(", ")}.${rest}${given}`;
}

/** The beginning of a long text. @param {string} text @param {number} [length] */
export const excerpt = (text, length = EXCERPT) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** @param {Failure} failure */
export const unshownText = ({ message }) =>
  `The handler can't be shown. ${SERVER_GONE} Then load the page again. (${message})`;

/** @param {string[]} loading the names of actors that take a handler later @param {number} loaded how many have it */
export function appliedText(loading, loaded) {
  if (loading.length === 0) return "Applied: the next messages are handled by it.";
  const later = `${loading.join(" and ")} ${loading.length === 1 ? "takes" : "take"} it once Python is loaded.`;
  return loaded === 0 ? later : `Applied; ${later}`;
}

/** @param {number} milliseconds */
export const paceText = (milliseconds) =>
  milliseconds === 0 ? "no time at all" : `${wholeNumber.format(milliseconds)} ms a message`;

/** @param {number} count @param {string} names of what a killed worker had in hand */
export const heldText = (count, names) =>
  count === 0
    ? "The killed worker had no message in hand."
    : `The killed worker had ${messages(count)} in hand: ${names}. ${count === 1 ? "It will" : "They will"} be handled again.`;

/** @param {number} back of it @param {number} count @param {string} names */
export function comesBackText(back, count, names) {
  if (count === 1) return `The message that the killed worker had in hand is done now: ${names}.`;
  const which = back < count ? `${wholeNumber.format(back)} of the` : "All";
  return `${which} ${messages(count)} that the killed worker had in hand ${back === 1 ? "is" : "are"} done now: ${names}.`;
}

/** What a visitor can do about a failure. @type {Record<string, {title: string, text: string}>} */
const FAILURES = {
  StorageUnavailableError: {
    title: "There is nowhere to keep messages",
    text:
      "This browser gives the page no storage, perhaps because this is a private window, or site data is blocked: " +
      "allow it for this address, or use an ordinary window, and load the page again.",
  },
  StorageFullError: {
    title: "The storage is full",
    text: "Let the actor work, start over, or free some space on this device, and try again.",
  },
  StorageCorruptError: {
    title: "The stored messages can't be read",
    text:
      "Something else has written into this page's storage. Clear the data of this site in the browser's " +
      "settings and load the page again.",
  },
  ConnectionLostError: {
    title: "The connection to the storage was lost",
    text: "What was stored is still there. Load the page again.",
  },
};

/** @param {Failure} failure */
export const loadingFailure = ({ name }) =>
  FAILURES[name] ?? {
    title: "Python could not be loaded",
    text: `A file could not be loaded from this page's server. ${SERVER_GONE} Your messages wait meanwhile.`,
  };

/** @param {Failure} failure */
export const openingFailure = ({ name }) =>
  FAILURES[name] ?? {
    title: "The mailbox could not be opened",
    text: "What is stored is still there. Load the page again.",
  };

/** @param {Failure} failure */
export const workingFailure = ({ name }) =>
  FAILURES[name] ?? { title: "The actor stopped", text: "What it had in hand is back in the mailbox." };

/** @param {Failure} failure */
export const sendingFailure = ({ name, message }) =>
  name in FAILURES ? `${FAILURES[name].title}, and your message is not stored. ${FAILURES[name].text}` : message;

/** @param {number} stored @param {number} total @param {Failure} failure */
export function floodFailure(stored, total, { name, message }) {
  const { title, text } = FAILURES[name] ?? { title: "The flood has failed", text: message };
  return `${title}: ${numberText(stored)} of the flood's ${numberText(total)} messages are stored, the rest is not. ${text}`;
}

/** @param {string} file @param {number} lines that are stored @param {Failure} failure */
export function readingFailure(file, lines, { name, message }) {
  const shown = visible(file);
  const { title, text } = FAILURES[name] ?? { title: `${shown} could not be read`, text: message };
  return lines === 0
    ? `${title}, and nothing of ${shown} is stored. ${text}`
    : `${title}: the first ${lineCount(lines)} of ${shown} are stored, the rest is not. ${text}`;
}
