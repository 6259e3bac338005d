/** What `index.js` exports, and the element of its tag. */

import type { MailboxInspector } from "./element.js";

export { MailboxInspector } from "./element.js";

declare global {
  interface HTMLElementTagNameMap {
    "mailbox-inspector": MailboxInspector;
  }
}
