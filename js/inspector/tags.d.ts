/** What `index.js` exports, and what its tag makes. */

import type { MailboxInspector } from "./element.js";

export { MailboxInspector } from "./element.js";

declare global {
  interface HTMLElementTagNameMap {
    "mailbox-inspector": MailboxInspector;
  }
}
