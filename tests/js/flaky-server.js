// A server that loses requests and answers, for the pages of the recipes; it keeps what it got, by key.

/** @import { BrowserContext, Route } from "@playwright/test" */

/**
 * What happens to a request: it never arrives; it arrives, and its answer is lost; it arrives, and is never answered;
 * or it arrives and is answered.
 * @typedef {"unreachable" | "answer lost" | "hangs" | { status: number, headers?: Record<string, string>, body?: string }} Fate
 */

/** @type {Fate} */
const ACCEPTED = { status: 201 };

export class FlakyServer {
  /** Whether nothing arrives at all. */
  down = false;
  /** What was accepted: the bodies that came with each Idempotency-Key. @type {Map<string, Set<string>>} */
  accepted = new Map();
  /** The attempts so far, by body. @type {Map<string, number>} */
  #attempts = new Map();
  /** @type {Record<string, Fate[]>} */
  #fates;

  /** @param {Record<string, Fate[]>} fates by a text in the body, one for each attempt; later ones are accepted */
  constructor(fates) {
    this.#fates = fates;
  }

  /** Answers the requests of a context's pages for an address. @param {BrowserContext} context @param {string} glob */
  serve(context, glob) {
    return context.route(glob, (route) => this.#answer(route));
  }

  /** How many requests with that text there were, whatever happened to them. @param {string} text */
  attempts(text) {
    return [...this.#attempts].reduce((sum, [body, count]) => (body.includes(text) ? sum + count : sum), 0);
  }

  /** How often each text was accepted, by key. @param {string[]} texts */
  arrivals(texts) {
    const bodies = [...this.accepted.values()].flatMap((bodies) => [...bodies]);
    return texts.map((text) => bodies.filter((body) => body.includes(text)).length);
  }

  /** @param {Route} route */
  async #answer(route) {
    const body = route.request().postData() ?? "";
    const key = (await route.request().headerValue("Idempotency-Key")) ?? "none";
    const attempt = this.#attempts.get(body) ?? 0;
    this.#attempts.set(body, attempt + 1);
    const name = Object.keys(this.#fates).find((text) => body.includes(text));
    const fate = this.down ? "unreachable" : (this.#fates[name ?? ""]?.[attempt] ?? ACCEPTED);
    if (fate === "unreachable") return route.abort();
    if (typeof fate !== "object" || fate.status < 300)
      this.accepted.set(key, (this.accepted.get(key) ?? new Set()).add(body));
    if (fate === "answer lost") await route.abort();
    else if (fate !== "hangs") await route.fulfill(fate);
  }
}
