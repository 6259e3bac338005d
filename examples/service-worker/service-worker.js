// Stores what arrives, whether or not a page is open. The browser ends it when it is idle, so each event opens the
// mailbox.

import { openMailbox } from "https://cdn.jsdelivr.net/npm/pymailbox@0.1.0/index.js";

const bytes = (text) => new TextEncoder().encode(text);

async function store(sender, payload, options) {
  const mailbox = await openMailbox("events");
  try {
    return await mailbox.enqueue(bytes(sender), payload, options);
  } finally {
    await mailbox.close();
  }
}

addEventListener("push", (event) => {
  event.waitUntil(store("push", event.data?.arrayBuffer() ?? new Uint8Array()));
});

// stands in for a push service: a POST to "events"
addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "POST" && new URL(request.url).pathname.endsWith("/events"))
    event.respondWith(accept(request));
});

async function accept(request) {
  const key = request.headers.get("Idempotency-Key");
  // repeated with the same key within a day, it is stored once, even if its message has been handled meanwhile
  const options = key ? { messageId: await idOf(key), dedupeFor: 24 * 3_600_000 } : {};
  const id = await store("post", await request.arrayBuffer(), options);
  return Response.json({ id }, { status: 202 });
}

// A UUID for any text: 16 bytes of its hash, marked as version 8 (RFC 9562), whose content is up to the application.
async function idOf(key) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes(key)), 0, 16);
  hash[6] = (hash[6] & 0x0f) | 0x80;
  hash[8] = (hash[8] & 0x3f) | 0x80;
  const digits = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// so that the page that registers it need not be reloaded
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
