/** Globals of the tests' pages. */

import "../../js/inspector/tags.js";

type MessageRecord = import("../../js/api/values.js").MessageRecord;

/** As much as a page needs to name a script, in browsers that have it. */
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
