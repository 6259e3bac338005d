/**
 * Defines `<mailbox-inspector name="inbox">`, which shows what is in a mailbox.
 *
 * Not a part of the engine: whoever wants it imports it beside `../index.js`, with which it shares the engine.
 */

import { MailboxInspector } from "./element.js";

export { MailboxInspector };

if (globalThis.customElements?.get("mailbox-inspector") === undefined) {
  globalThis.customElements?.define("mailbox-inspector", MailboxInspector);
}
