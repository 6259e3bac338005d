/** A peer's part of the page, made from a template: its elements, and its voice. */

import { element } from "./page.js";

export class PeerView {
  root;
  #problemWords = "";

  /** @param {HTMLElement} place where it is put */
  constructor(place) {
    const copy = /** @type {DocumentFragment} */ (element("peer", HTMLTemplateElement).content.cloneNode(true));
    this.root = /** @type {HTMLElement} */ (copy.firstElementChild);
    const part = this.#part;
    this.title = part("title", HTMLElement);
    this.state = part("state", HTMLElement);
    this.pause = part("pause", HTMLButtonElement);
    this.kill = part("kill", HTMLButtonElement);
    this.loading = part("loading", HTMLElement);
    this.loadingText = part("loading-text", HTMLElement);
    this.loadingProgress = part("loading-progress", HTMLProgressElement);
    this.problem = part("problem", HTMLElement);
    this.problemTitle = part("problem-title", HTMLElement);
    this.problemText = part("problem-text", HTMLElement);
    this.problemDetail = part("problem-detail", HTMLElement);
    this.problemAction = part("problem-action", HTMLButtonElement);
    this.counters = part("counters", HTMLElement);
    this.queued = part("queued", HTMLElement);
    this.inflight = part("inflight", HTMLElement);
    this.done = part("done", HTMLElement);
    this.dead = part("dead", HTMLElement);
    this.ledger = part("ledger", HTMLElement);
    this.shareDone = part("share-done", HTMLElement);
    this.shareDead = part("share-dead", HTMLElement);
    this.shareWaiting = part("share-waiting", HTMLElement);
    this.balance = part("balance", HTMLElement);
    this.audit = part("audit", HTMLElement);
    this.returned = part("returned", HTMLElement);
    this.composer = part("composer", HTMLFormElement);
    this.controls = part("controls", HTMLFieldSetElement);
    this.to = part("to", HTMLSelectElement);
    this.message = part("message", HTMLInputElement);
    this.high = part("high", HTMLInputElement);
    this.file = part("file", HTMLInputElement);
    this.flood = part("flood", HTMLButtonElement);
    this.crash = part("crash", HTMLButtonElement);
    this.hang = part("hang", HTMLButtonElement);
    this.poison = part("poison", HTMLButtonElement);
    this.mended = part("mended", HTMLInputElement);
    this.redrive = part("redrive", HTMLButtonElement);
    this.reading = part("reading", HTMLElement);
    this.readingText = part("reading-text", HTMLElement);
    this.readingProgress = part("reading-progress", HTMLProgressElement);
    this.notice = part("notice", HTMLElement);
    this.logPanel = part("log-panel", HTMLElement);
    this.logEmpty = part("log-empty", HTMLElement);
    this.log = part("log", HTMLElement);
    this.others = part("others", HTMLElement);
    place.append(copy);
  }

  /** @param {string} title the peer's name */
  name(title) {
    this.title.textContent = title;
    this.root.setAttribute("aria-label", title);
    this.log.setAttribute("aria-label", `Handled by ${title}, and answers to it`);
  }

  /** @param {string} text */
  say(text) {
    this.notice.classList.remove("bad");
    this.notice.textContent = text;
  }

  /** @param {string} text */
  complain(text) {
    this.notice.classList.add("bad");
    this.notice.textContent = text;
  }

  /**
   * How far something has got that takes its time.
   * @param {string} text @param {number} value @param {number} most
   */
  showProgress(text, value, most) {
    this.readingText.textContent = text;
    this.readingProgress.max = most || 1;
    this.readingProgress.value = value;
    this.reading.hidden = false;
  }

  hideProgress() {
    this.reading.hidden = true;
  }

  /**
   * @param {{title: string, text: string}} words
   * @param {import("./types.js").Failure} failure
   * @param {string} action
   * @param {() => void} perform
   */
  showProblem({ title, text }, { name, message }, action, perform) {
    this.problemAction.onclick = perform;
    const detail = message ? `${name}: ${message}` : name;
    const words = JSON.stringify([title, text, detail, action]);
    // an alert that has not changed is not announced once more
    if (!this.problem.hidden && words === this.#problemWords) return;
    this.#problemWords = words;
    this.problemTitle.textContent = title;
    this.problemText.textContent = text;
    this.problemDetail.textContent = detail;
    this.problemAction.textContent = action;
    this.problem.hidden = false;
  }

  hideProblem() {
    this.problem.hidden = true;
  }

  /**
   * @template {HTMLElement} T
   * @param {string} name
   * @param {new () => T} type
   * @returns {T}
   */
  #part = (name, type) => {
    const found = this.root.querySelector(`[data-part="${name}"]`);
    if (!(found instanceof type)) throw new Error(`A peer has no ${type.name} that is its ${name}`);
    return found;
  };
}
