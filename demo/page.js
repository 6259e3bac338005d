/** The parts of the page, and its voice. */

/** @import { Failure } from "./types.js" */

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`The page has no ${type.name} with the id ${id}`);
  return found;
}

export const page = {
  loading: element("loading", HTMLElement),
  loadingText: element("loading-text", HTMLElement),
  loadingProgress: element("loading-progress", HTMLProgressElement),
  problem: element("problem", HTMLElement),
  problemTitle: element("problem-title", HTMLElement),
  problemText: element("problem-text", HTMLElement),
  problemDetail: element("problem-detail", HTMLElement),
  problemAction: element("problem-action", HTMLButtonElement),
  queued: element("queued", HTMLElement),
  inflight: element("inflight", HTMLElement),
  done: element("done", HTMLElement),
  dead: element("dead", HTMLElement),
  shareDone: element("share-done", HTMLElement),
  shareDead: element("share-dead", HTMLElement),
  shareWaiting: element("share-waiting", HTMLElement),
  balance: element("balance", HTMLElement),
  audit: element("audit", HTMLElement),
  actorState: element("actor-state", HTMLElement),
  pause: element("pause", HTMLButtonElement),
  kill: element("kill", HTMLButtonElement),
  composer: element("composer", HTMLFormElement),
  controls: element("controls", HTMLFieldSetElement),
  to: element("to", HTMLSelectElement),
  message: element("message", HTMLInputElement),
  high: element("high", HTMLInputElement),
  file: element("file", HTMLInputElement),
  flood: element("flood", HTMLButtonElement),
  crash: element("crash", HTMLButtonElement),
  hang: element("hang", HTMLButtonElement),
  poison: element("poison", HTMLButtonElement),
  mended: element("mended", HTMLInputElement),
  reading: element("reading", HTMLElement),
  readingText: element("reading-text", HTMLElement),
  readingProgress: element("reading-progress", HTMLProgressElement),
  notice: element("notice", HTMLElement),
  logEmpty: element("log-empty", HTMLElement),
  log: element("log", HTMLElement),
  me: element("me", HTMLElement),
  otherText: element("other-text", HTMLElement),
  others: element("others", HTMLElement),
  inspectorPlace: element("inspector-place", HTMLElement),
  startOver: element("start-over", HTMLButtonElement),
};

/** @param {string} text */
export function say(text) {
  page.notice.classList.remove("bad");
  page.notice.textContent = text;
}

/** @param {string} text */
export function complain(text) {
  page.notice.classList.add("bad");
  page.notice.textContent = text;
}

/**
 * How far something has got that takes its time.
 * @param {string} text @param {number} value @param {number} most
 */
export function showProgress(text, value, most) {
  page.readingText.textContent = text;
  page.readingProgress.max = most || 1;
  page.readingProgress.value = value;
  page.reading.hidden = false;
}

export function hideProgress() {
  page.reading.hidden = true;
}

/**
 * @param {{title: string, text: string}} words
 * @param {Failure} failure
 * @param {string} action
 * @param {() => void} perform
 */
export function showProblem({ title, text }, { name, message }, action, perform) {
  page.problemTitle.textContent = title;
  page.problemText.textContent = text;
  page.problemDetail.textContent = message ? `${name}: ${message}` : name;
  page.problemAction.textContent = action;
  page.problemAction.onclick = perform;
  page.problem.hidden = false;
}

export function hideProblem() {
  page.problem.hidden = true;
}

/** Text for what was thrown. @param {unknown} error @returns {Failure} */
export function failureOf(error) {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  return { name: error.name, message: error.message };
}
