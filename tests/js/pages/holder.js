// A worker that takes one message of a mailbox, says so, and keeps it.

import { openMailbox } from "/pymailbox/index.js";

addEventListener("message", async ({ data }) => {
  const mailbox = await openMailbox(data);
  Object.assign(globalThis, { mailbox });
  await mailbox.dequeue({ limit: 1 });
  postMessage("taken");
});
