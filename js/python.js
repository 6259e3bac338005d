/** What Python uses of the engine, to build its own API on it. @internal */

import { Dispatcher } from "./api/dispatcher.js";
import * as directory from "./engine/directory.js";
import { Engine, ownEngine } from "./engine/engine.js";
import { MailboxHandle } from "./engine/mailbox-handle.js";

/** One engine, as Python uses it. */
class PythonEngine {
  #engine;

  /** @param {Engine} engine */
  constructor(engine) {
    this.#engine = engine;
  }

  /** @param {ConstructorParameters<typeof Dispatcher>} given */
  newDispatcher(...given) {
    return new Dispatcher(...given);
  }

  /**
   * Opens a mailbox for a caller who may stop waiting: `abandon` then lets the handle go once it is open.
   * @param {string} mailbox @param {import("./engine/types.js").Durability} durability
   * @param {number} maxDeliveries 0 for any number @param {number} lease milliseconds
   * @returns {{handle: Promise<MailboxHandle>, abandon: () => void}}
   */
  beginToOpen(mailbox, durability, maxDeliveries, lease) {
    const handle = MailboxHandle.open(this.#engine, mailbox, durability, maxDeliveries, lease);
    return {
      handle,
      abandon: () =>
        void handle.then(
          (opened) => opened.abandon(),
          () => {},
        ),
    };
  }

  listMailboxes = () => directory.listMailboxes(this.#engine);

  /** @param {string} mailbox @param {[Uint8Array<ArrayBuffer>?, boolean?]} unless */
  deleteMailbox = (mailbox, ...unless) => directory.deleteMailbox(this.#engine, mailbox, ...unless);
}

/** The engine of this page or worker, which its JavaScript uses too. */
export const ownEngineForPython = () => new PythonEngine(ownEngine());

/** A separate engine, like another tab's. @param {Partial<import("./engine/settings.js").Settings>} settings */
export const newEngineForPython = (settings) => new PythonEngine(new Engine(settings));
