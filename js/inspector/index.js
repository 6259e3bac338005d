/**
 * Defines `<mailbox-inspector name="inbox">`, which shows what is in a mailbox.
 *
 * Not part of the engine: whoever wants it imports it beside `../index.js`, whose engine it shares.
 */

import { MailboxInspector } from "./element.js";

export { MailboxInspector };

if (globalThis.customElements?.get("mailbox-inspector") === undefined) {
  globalThis.customElements?.define("mailbox-inspector", MailboxInspector);
}
