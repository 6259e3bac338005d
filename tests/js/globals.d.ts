/** What the tests' pages put there. */

import "../../js/inspector/tags.js";

type MessageRecord = import("../../js/api/values.js").MessageRecord;

/** As far as a page needs it to name a script, where there is such a thing. */
interface TrustedScripts {
  createScriptURL(url: string): string;
}

declare global {
  var trustedTypes: { createPolicy(name: string, rules: TrustedScripts): TrustedScripts } | undefined;
  var pymailbox: typeof import("../../js/index.js");
  /** Of the tests of `consume`. */
  var consuming: typeof import("./pages/consuming.js").consuming;
  /** Of the pages of unreadable.spec.js. */
  var here: {
    textOf(record: { payload: Uint8Array }): string | undefined;
    payloadOf(text: string, size?: number): Uint8Array<ArrayBuffer>;
    eventually(holds: () => Promise<boolean>): Promise<void>;
    mailbox: import("../../js/api/mailbox.js").Mailbox;
    patient: import("../../js/api/mailbox.js").Mailbox;
    messages: AsyncIterableIterator<MessageRecord>;
    next: Promise<IteratorResult<MessageRecord>>;
    held: MessageRecord[];
    worker: Worker;
  };
}
