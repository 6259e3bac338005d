/** `<mailbox-inspector name="…">`: what is in a mailbox, live. */

import { Chart } from "./chart.js";
import { Detail } from "./detail.js";
import { button, html, isolated, setAttributes, setChildren, setText } from "./dom.js";
import { MessageList } from "./list.js";
import { ConfirmDialog } from "./confirm-dialog.js";
import { Samples } from "./samples.js";
import { styleSheet } from "./style.js";
import { Tabs } from "./tabs.js";
import { Poller } from "./poller.js";
import { whereHeld } from "../api/mailbox.js";
import * as format from "./format.js";

/** Messages on a page of the list. */
const PAGE = 25;

/** Milliseconds after which the list is read again even if the counts are the same. */
const STALE = 5000;

/** Milliseconds between two announcements of the counts to screen readers. */
const CALM = 10_000;

/** How many dead letters are redriven or discarded at a time when all are. */
const BATCH = 100;

/** @import { Mailbox } from "../api/mailbox.js" */
/** @import { MailboxStats } from "../api/values.js" */
/** @import { Item } from "./facts.js" */
/** @import { Kind } from "./tabs.js" */

/** @type {Record<Kind, [one: string, none: string]>} */
const KINDS = {
  queued: ["Queued messages", "Nothing is queued."],
  inflight: ["Messages in flight", "Nothing is in flight."],
  dead: ["Dead letters", "There are no dead letters."],
};

// so that the module can be imported where there are no elements, as on a server
const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

/**
 * The element `<mailbox-inspector name="inbox">`: live counts of a mailbox, charts of its depth and throughput, its
 * messages by status, and its dead letters, with redrive, discard and purge.
 *
 * It never creates a mailbox and never claims a message. It looks only while it is visible, and releases everything
 * when it is removed from its document.
 */
export class MailboxInspector extends Base {
  static observedAttributes = ["name"];

  /** @type {Poller | undefined} */
  #poller;
  /** @type {Mailbox | undefined} */
  #mailbox;
  /** @type {MailboxStats | undefined} */
  #stats;
  #samples = new Samples();
  #offset = 0;
  /** What the list was read for, and when. */
  #listed = "";
  #listedAt = -Infinity;
  #announcedAt = -Infinity;
  #paused = false;
  /** Undefined until the browser has reported it. @type {boolean | undefined} */
  #inView;
  /** What the last look found, in a word. */
  #found = "";
  /** Whether something is being done to the mailbox. */
  #busy = false;
  /** @type {IntersectionObserver | undefined} */
  #intersections;

  #title = html("h2");
  #state = html("span", { class: "state" });
  #pause = button("Pause", () => this.#setPaused(!this.#paused), { "aria-pressed": "false" });
  #purge = button("Purge…", () => void this.#askToPurge(), { class: "danger", disabled: true });
  #problem = html("div", { class: "problem", role: "alert", hidden: true });
  #absent = html("p", { class: "absent", hidden: true });
  #outcome = html("p", { class: "outcome", role: "status" });
  #announcement = html("p", { class: "unseen", role: "status" });
  #depth = new Chart("Depth", ["queued", "in flight"], format.number);
  #throughput = new Chart("Throughput per second", ["in", "out"], format.rate);
  #tabs = new Tabs(() => this.#turnTo(0));
  #empty = html("p", { class: "empty" });
  #list = new MessageList((item, byKeyboard) => this.#open(item, byKeyboard));
  #detail = new Detail({
    redrive: (item) => void this.#settle(item, "redrive"),
    discard: (item) => void this.#settle(item, "discard"),
    close: () => this.#closeDetail(),
  });
  #range = html("span", { class: "range" });
  #pager = {
    first: button("«", () => this.#turnTo(0), { "aria-label": "First page" }),
    previous: button("‹", () => this.#turnTo(this.#offset - PAGE), { "aria-label": "Previous page" }),
    next: button("›", () => this.#turnTo(this.#offset + PAGE), { "aria-label": "Next page" }),
    last: button("»", () => this.#turnTo(Infinity), { "aria-label": "Last page" }),
  };
  #turns = html("nav", { class: "turns", "aria-label": "Pages" }, ...Object.values(this.#pager));
  #redriveAll = button("Redrive all", () => void this.#settleAll("redrive"));
  #discardAll = button("Discard all…", () => void this.#askToDiscardAll(), { class: "danger" });
  #letters = html("div", { class: "buttons", hidden: true }, this.#redriveAll, this.#discardAll);
  #split = html(
    "div",
    { class: "split" },
    html("div", { class: "list" }, this.#empty, this.#list.element),
    this.#detail.element,
  );
  #panel = html("div", { role: "tabpanel", id: "panel", tabindex: 0 });
  #body = html("div", { class: "body", hidden: true });
  #confirm = new ConfirmDialog();
  #region = html("section", { class: "inspector" });

  constructor() {
    super();
    const bar = html(
      "header",
      { class: "bar" },
      this.#title,
      this.#state,
      html("div", { class: "buttons" }, this.#pause, this.#purge),
    );
    this.#panel.append(html("div", { class: "bar" }, this.#range, this.#turns, this.#letters), this.#split);
    this.#body.append(
      html("div", { class: "charts" }, this.#depth.element, this.#throughput.element),
      this.#tabs.element,
      this.#panel,
    );
    this.#region.append(
      bar,
      this.#problem,
      this.#absent,
      this.#outcome,
      this.#announcement,
      this.#body,
      this.#confirm.element,
    );
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [styleSheet()];
    root.append(this.#region);
  }

  /** The mailbox's name, as for `openMailbox`; the attribute `name`. @returns {string} */
  get name() {
    return this.getAttribute("name") ?? "";
  }

  set name(name) {
    this.setAttribute("name", name);
  }

  /** @internal */
  connectedCallback() {
    // a property that was set before the element was defined
    if (Object.hasOwn(this, "name")) {
      const { name } = this;
      Reflect.deleteProperty(this, "name");
      this.name = name;
    }
    document.addEventListener("visibilitychange", this.#wake);
    this.#intersections = new IntersectionObserver((entries) => {
      this.#inView = entries[entries.length - 1].isIntersecting;
      this.#wake();
    });
    this.#intersections.observe(this);
    this.#begin();
  }

  /** @internal */
  disconnectedCallback() {
    document.removeEventListener("visibilitychange", this.#wake);
    this.#intersections?.disconnect();
    this.#inView = undefined;
    this.#end();
  }

  /** @internal @param {string} _ @param {string | null} before @param {string | null} now */
  attributeChangedCallback(_, before, now) {
    if (before === now || !this.isConnected) return;
    this.#end();
    this.#begin();
  }

  // -- looking --------------------------------------------------------------------------------------------------------

  #begin() {
    const { name } = this;
    setText(this.#title, name || "Mailbox");
    setAttributes(this.#region, { "aria-label": name === "" ? "Mailbox inspector" : `Mailbox ${name}` });
    if (name === "") {
      this.#tellAbsent(
        'This inspector has no mailbox to look at: give it the name of one, as in <mailbox-inspector name="inbox">.',
      );
      return;
    }
    this.#poller = new Poller(name, {
      seen: (mailbox, stats) => this.#seen(mailbox, stats),
      absent: () =>
        this.#tellAbsent("There is no mailbox with this name here yet. It will appear as soon as somebody opens it."),
      failed: (error) => this.#fail(error),
    });
    this.#tell("Opening");
    this.#wake();
  }

  #end() {
    this.#poller?.end();
    this.#poller = undefined;
    this.#forget();
    this.#samples.clear();
    this.#offset = 0;
    this.#confirm.dismiss();
    setText(this.#outcome, "");
    setText(this.#announcement, "");
    this.#announcedAt = -Infinity;
    this.#problem.hidden = true;
    this.#absent.hidden = true;
  }

  /** There is nothing to show. */
  #forget() {
    this.#mailbox = undefined;
    this.#busy = false;
    this.#stats = undefined;
    this.#listed = "";
    this.#closeDetail();
    this.#body.hidden = true;
    this.#enable();
  }

  /** Whether it looks at the mailbox again and again. */
  get #isLooking() {
    return this.#inView === true && !this.#paused && document.visibilityState === "visible";
  }

  #wake = () => {
    this.#poller?.wake(this.#isLooking);
    // an inspector that looks again says so after its first look
    if (!this.#isLooking) this.#tell(this.#found);
  };

  /** @param {boolean} paused */
  #setPaused(paused) {
    this.#paused = paused;
    setAttributes(this.#pause, { "aria-pressed": String(paused) });
    this.#wake();
  }

  /** @param {Mailbox} mailbox @param {MailboxStats} stats */
  async #seen(mailbox, stats) {
    // a newly opened one: what was being done to the old one no longer concerns it
    if (mailbox !== this.#mailbox) this.#busy = false;
    this.#mailbox = mailbox;
    this.#stats = stats;
    this.#absent.hidden = true;
    this.#problem.hidden = true;
    this.#body.hidden = false;
    this.#tell("Live");
    const { queuedMessages, queuedByPriority, inflightMessages, deadLetters } = stats;
    this.#tabs.count(
      "queued",
      queuedMessages,
      queuedByPriority.high > 0 ? `${format.number(queuedByPriority.high)} high` : "",
    );
    this.#tabs.count("inflight", inflightMessages);
    this.#tabs.count("dead", deadLetters);
    const now = performance.now();
    this.#samples.add(now, stats);
    this.#depth.draw(this.#samples.depth(), now);
    this.#throughput.draw(this.#samples.throughput(), now);
    this.#announce(stats);
    this.#enable();
    await this.#read(mailbox, stats);
  }

  /** Reads the page of the list again if it may have changed. @param {Mailbox} mailbox @param {MailboxStats} stats */
  async #read(mailbox, stats) {
    const { chosen } = this.#tabs;
    const total = totalOf(stats, chosen);
    const offset = Math.min(this.#offset, Math.max(0, Math.ceil(total / PAGE) - 1) * PAGE);
    const wanted = JSON.stringify([chosen, offset, stats]);
    if (wanted === this.#listed && performance.now() - this.#listedAt < STALE) {
      this.#list.tick();
      return;
    }
    const asked = this.#offset;
    /** @type {Item[]} */
    const items = [];
    // a call shows fewer than asked for if they are large
    for (let count = Math.min(PAGE, total - offset); items.length < count; ) {
      const more = await itemsOf(mailbox, chosen, offset + items.length, count - items.length);
      if (more.length === 0) break;
      items.push(...more);
    }
    // the visitor has chosen something else meanwhile, or the element is gone
    if (this.#mailbox !== mailbox || this.#tabs.chosen !== chosen || this.#offset !== asked) return;
    this.#offset = offset;
    this.#listed = wanted;
    this.#listedAt = performance.now();
    this.#showPage(items, total);
  }

  /** @param {Item[]} items @param {number} total how many there are on all pages */
  #showPage(items, total) {
    const { chosen } = this.#tabs;
    const [title, none] = KINDS[chosen];
    const range =
      total === 0
        ? ""
        : `${format.number(this.#offset + 1)}–${format.number(this.#offset + items.length)} of ${format.number(total)}`;
    setText(this.#range, range);
    this.#list.show(
      items,
      `${title}${range && `, ${range}`}. Up and down arrows move among them, Enter shows one.`,
      chosen,
    );
    this.#list.element.hidden = items.length === 0;
    setText(this.#empty, items.length === 0 ? none : "");
    setAttributes(this.#panel, { "aria-labelledby": this.#tabs.chosenId });
    const { first, previous, next, last } = this.#pager;
    this.#turns.hidden = total <= PAGE;
    first.disabled = previous.disabled = this.#offset === 0;
    next.disabled = last.disabled = this.#offset + PAGE >= total;
    const open = this.#detail.item;
    if (open === undefined) return;
    const found = items.find(({ record }) => record.id === open.record.id);
    if (found === undefined) this.#detail.leftList();
    else this.#detail.show(found);
  }

  /** @param {number} offset */
  #turnTo(offset) {
    const total = this.#stats === undefined ? 0 : totalOf(this.#stats, this.#tabs.chosen);
    this.#offset = Math.max(0, Math.min(offset, (Math.ceil(total / PAGE) - 1) * PAGE));
    this.#closeDetail();
    this.#enable();
    this.#poller?.now();
  }

  // -- one message ----------------------------------------------------------------------------------------------------

  /** @param {Item} item @param {boolean} byKeyboard */
  #open(item, byKeyboard) {
    this.#list.select(item.record.id);
    this.#detail.show(item);
    this.#split.classList.add("with-detail");
    // on a small screen it is below the list
    this.#detail.element.scrollIntoView({ block: "nearest" });
    if (byKeyboard) this.#detail.focus();
  }

  #closeDetail() {
    const { item } = this.#detail;
    const hadFocus = this.#detail.element.matches(":focus-within");
    this.#detail.hide();
    this.#split.classList.remove("with-detail");
    this.#list.select("");
    if (hadFocus && item !== undefined && !this.#list.focus(item.record.id)) this.#panel.focus();
  }

  // -- doing ----------------------------------------------------------------------------------------------------------

  /**
   * Redrives or discards a dead letter, and shows the next one.
   * @param {Item} item @param {"redrive" | "discard"} verb
   */
  async #settle(item, verb) {
    if (this.#busy) return;
    const { id } = item.record;
    const index = this.#list.indexOf(id);
    await this.#do(async (mailbox) => {
      const done = await mailbox[verb](id);
      return done ? `${PAST[verb]} 1 dead letter.` : "It was no longer there.";
    });
    if (this.#detail.item?.record.id !== id) return;
    const next = this.#list.indexOf(id) === -1 && index !== -1 ? this.#list.near(index) : undefined;
    if (next === undefined) this.#closeDetail();
    else this.#open(next, this.#detail.element.matches(":focus-within"));
  }

  /** Redrives or discards all dead letters, oldest first. @param {"redrive" | "discard"} verb */
  async #settleAll(verb) {
    this.#closeDetail();
    await this.#do(async (mailbox) => {
      const { deadLetters: all } = await mailbox.status();
      let done = 0;
      // letters that die meanwhile are left alone
      for (let left = all; left > 0 && mailbox === this.#mailbox; ) {
        const { deadLetters } = await mailbox.status();
        const limit = Math.min(BATCH, left);
        const letters = await mailbox.deadLetters({ limit, offset: Math.max(0, deadLetters - limit) });
        if (letters.length === 0) break;
        // fewer than asked for if they are large
        left -= letters.length;
        const outcomes = await Promise.all(letters.reverse().map(({ record }) => mailbox[verb](record.id)));
        done += outcomes.filter((outcome) => outcome).length;
        setText(this.#outcome, `${PAST[verb]} ${format.number(done)} of ${format.count(all, "dead letter")}…`);
      }
      return `${PAST[verb]} ${format.count(done, "dead letter")}.`;
    });
  }

  async #askToDiscardAll() {
    const dead = this.#stats?.deadLetters ?? 0;
    const letters = format.count(dead, "dead letter");
    const text = [
      `${letters} of the mailbox “`,
      isolated(this.name),
      `” ${dead === 1 ? "is" : "are"} deleted for good. This cannot be undone.`,
    ];
    if (await this.#confirm.ask("Discard all dead letters?", text, "Discard all")) await this.#settleAll("discard");
  }

  async #askToPurge() {
    const queued = format.count(this.#stats?.queuedMessages ?? 0, "queued message");
    const text = [
      "Everything queued in the mailbox “",
      isolated(this.name),
      `” is deleted for good, ${queued} just now, delayed ones included. `,
      "Messages in flight stay, and so do the dead letters. This cannot be undone.",
    ];
    if (!(await this.#confirm.ask("Purge this mailbox?", text, "Delete all queued messages"))) return;
    await this.#do(async (mailbox) => `Deleted ${format.count(await mailbox.purge(), "queued message")}.`);
  }

  /**
   * Does something to the mailbox, reports the result, and looks again.
   * @param {(mailbox: Mailbox) => Promise<string>} act
   */
  async #do(act) {
    const mailbox = this.#mailbox;
    if (mailbox === undefined || this.#busy) return;
    this.#busy = true;
    this.#enable();
    try {
      const outcome = await act(mailbox);
      if (mailbox !== this.#mailbox) return;
      setText(this.#outcome, outcome);
      const stats = await mailbox.status();
      this.#listed = "";
      await this.#seen(mailbox, stats);
    } catch (error) {
      if (mailbox === this.#mailbox) this.#fail(error);
    } finally {
      if (mailbox === this.#mailbox) {
        this.#busy = false;
        this.#enable();
      }
    }
  }

  #enable() {
    const ready = this.#mailbox !== undefined && !this.#busy;
    this.#purge.disabled = !ready || !this.#stats?.queuedMessages;
    this.#redriveAll.disabled = this.#discardAll.disabled = !ready || !this.#stats?.deadLetters;
    this.#letters.hidden = this.#tabs.chosen !== "dead";
  }

  // -- telling --------------------------------------------------------------------------------------------------------

  /**
   * Says what the last look found, or that looking is paused.
   * @param {string} found
   */
  #tell(found) {
    this.#found = found;
    const rests = this.#inView !== undefined && !this.#isLooking;
    const wouldGoOn = this.#poller !== undefined && found !== "Stopped";
    setText(this.#state, rests && wouldGoOn ? "Paused" : found);
  }

  /** @param {string} text */
  #tellAbsent(text) {
    this.#forget();
    this.#problem.hidden = true;
    this.#absent.hidden = false;
    setText(this.#absent, text);
    this.#tell("Not there");
  }

  /** @param {unknown} error */
  #fail(error) {
    const { what, next } = format.explained(error);
    const again = button("Look again", () => this.#poller?.now());
    setChildren(this.#problem, html("p", {}, html("b", {}, what)), html("p", {}, next), again);
    this.#problem.hidden = false;
    this.#tell("Stopped");
  }

  /** Tells screen readers the counts, not too often. @param {MailboxStats} stats */
  #announce({ queuedMessages, inflightMessages, deadLetters }) {
    if (performance.now() - this.#announcedAt < CALM) return;
    this.#announcedAt = performance.now();
    setText(
      this.#announcement,
      `Queued ${format.number(queuedMessages)}, in flight ${format.number(inflightMessages)}, dead letters ` +
        `${format.number(deadLetters)}`,
    );
  }
}

const PAST = { redrive: "Redriven:", discard: "Discarded:" };

/** @param {MailboxStats} stats @param {Kind} kind */
const totalOf = (stats, kind) =>
  ({ queued: stats.queuedMessages, inflight: stats.inflightMessages, dead: stats.deadLetters })[kind];

/**
 * Some messages.
 * @param {Mailbox} mailbox @param {Kind} kind @param {number} offset @param {number} limit @returns {Promise<Item[]>}
 */
async function itemsOf(mailbox, kind, offset, limit) {
  if (kind === "dead") {
    return (await mailbox.deadLetters({ limit, offset })).map((letter) => ({ record: letter.record, letter }));
  }
  const records = await mailbox.peek({ limit, offset, status: kind });
  if (kind === "queued") return records.map((record) => ({ record }));
  const holders = await whereHeld(
    mailbox,
    records.map(({ id }) => id),
  );
  return records.map((record, i) => ({ record, held: holders[i] ?? "none" }));
}
