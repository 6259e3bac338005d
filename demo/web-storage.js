/** What the page itself remembers across a reload. Where the browser keeps nothing, it lasts as long as the page. */

const PAUSED = "pymailbox-demo-paused-";
const MENDED = "pymailbox-demo-mended-";
const HANDLER = "pymailbox-demo-handler";
const PACE = "pymailbox-demo-pace";
const SERVER = "pymailbox-demo-server";
const TOUR = "pymailbox-demo-tour";
const INTERRUPTED = "pymailbox-demo-interrupted";

/** @param {string} mailbox the actor's */
export const isPaused = (mailbox) => attempt(() => localStorage.getItem(PAUSED + mailbox)) === "yes";

/** @param {string} mailbox @param {boolean} paused */
export function rememberPaused(mailbox, paused) {
  attempt(() => localStorage.setItem(PAUSED + mailbox, paused ? "yes" : "no"));
}

/** @param {string} mailbox the actor's */
export const isMended = (mailbox) => attempt(() => localStorage.getItem(MENDED + mailbox)) === "yes";

/** @param {string} mailbox @param {boolean} mended */
export function rememberMended(mailbox, mended) {
  attempt(() => localStorage.setItem(MENDED + mailbox, mended ? "yes" : "no"));
}

/** The handler as the visitor has left it; nothing if it is the original. */
export const editedHandler = () => attempt(() => localStorage.getItem(HANDLER)) ?? null;

/** @param {string | null} source null for the original */
export function rememberHandler(source) {
  attempt(() => (source === null ? localStorage.removeItem(HANDLER) : localStorage.setItem(HANDLER, source)));
}

/** Milliseconds, if the visitor has chosen how long work takes. */
export function chosenPace() {
  const pace = attempt(() => localStorage.getItem(PACE)) ?? null;
  return pace === null ? undefined : Number(pace);
}

/** @param {number} milliseconds */
export function rememberPace(milliseconds) {
  attempt(() => localStorage.setItem(PACE, String(milliseconds)));
}

/** The location of the server's mailbox, if the visitor has connected to it. */
export const connectedServer = () => attempt(() => localStorage.getItem(SERVER)) ?? null;

/** @param {string | null} location null after a goodbye */
export function rememberServer(location) {
  attempt(() => (location === null ? localStorage.removeItem(SERVER) : localStorage.setItem(SERVER, location)));
}

/** The step at which the tour goes on after a reload; told once. */
export function takeTourStep() {
  return attempt(() => {
    const step = sessionStorage.getItem(TOUR);
    sessionStorage.removeItem(TOUR);
    return step === null ? undefined : Number(step);
  });
}

/** @param {number} step */
export function rememberTourStep(step) {
  attempt(() => sessionStorage.setItem(TOUR, String(step)));
}

/** @param {string} file its name, which is being read while the page is left */
export function rememberInterrupted(file) {
  attempt(() => sessionStorage.setItem(INTERRUPTED, file));
}

/** The file that was being read when this tab's page was left before; told once. */
export function takeInterrupted() {
  return attempt(() => {
    const file = sessionStorage.getItem(INTERRUPTED);
    sessionStorage.removeItem(INTERRUPTED);
    return file;
  });
}

/**
 * @template T
 * @param {() => T} use of a storage, which throws where site data is blocked
 * @returns {T | undefined}
 */
export function attempt(use) {
  try {
    return use();
  } catch {
    return undefined;
  }
}
