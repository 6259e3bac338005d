/** What each page or worker has exactly one of: connection, group commit, notifier, waiters and open handles. */

import { Changes } from "../coordination/changes.js";
import { Liveness } from "../coordination/liveness.js";
import { Locks } from "../coordination/locks.js";
import { Notifier } from "../coordination/notifier.js";
import { UnloadNotes } from "../coordination/unload-notes.js";
import { Waiters } from "../coordination/waiters.js";
import { Connection } from "../storage/database.js";
import { lastCommitOf } from "../storage/stored-state.js";
import { GroupCommit } from "./group-commit.js";
import { PageLifecycle } from "./page-lifecycle.js";
import { Recoveries } from "./recovery.js";
import { defaultSettings } from "./settings.js";

/** @typedef {import("./settings.js").Settings} Settings */

export class Engine {
  /** @type {Set<import("./mailbox-handle.js").MailboxHandle>} */
  handles = new Set();
  waiters = new Waiters();
  notes = new UnloadNotes();

  /** @param {Partial<Settings>} [given] */
  constructor(given = {}) {
    const settings = { ...defaultSettings(), ...given };
    this.settings = settings;
    this.connection = new Connection(settings);
    this.locks = new Locks(settings.locks);
    this.liveness = new Liveness(this.locks);
    this.notifier = new Notifier(settings.openChannel, settings.events);
    this.changes = new Changes(
      this.notifier,
      (mailbox) => this.groupCommit.readAtOnce((tx) => lastCommitOf(mailbox, (name) => tx.store(name))),
      settings.slowPoll,
    );
    this.groupCommit = new GroupCommit(
      this,
      ({ notifications, changedMailboxes, deletedMailbox }) => {
        this.changes.committed(changedMailboxes);
        if (deletedMailbox !== undefined) this.changes.committed([deletedMailbox]);
        for (const [mailbox, { depth, excluded, count }] of notifications) {
          if (depth !== undefined || count > 0) this.notifier.publish({ mailbox, depth, count }, excluded);
        }
      },
      (tx) => {
        for (const mailbox of tx.notifications.keys()) this.waiters.serve(mailbox, tx);
      },
    );
    // callers that wait find out why
    this.connection.onLost = () => {
      this.waiters.wakeAll();
      this.changes.missed();
    };
    this.notifier.onMissed = () => {
      this.waiters.wakeOneEach();
      this.changes.missed();
    };
    this.notifier.onAnnouncement = (announcement) => this.changes.receive(announcement);
    this.notifier.onLeaving = () => this.changes.hurry();
    this.notifier.listen(({ mailbox, count = 1 }) => this.waiters.wake(mailbox, count));
    this.recoveries = new Recoveries(this);
    this.lifecycle = new PageLifecycle(this);
  }
}

/** @type {Engine | undefined} */
let own;

/** The engine of this page or worker; made on first use, since a program may import this library and never use it. */
export const ownEngine = () => (own ??= new Engine());
