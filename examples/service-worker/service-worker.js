// Stores what arrives, whether a page is open or not. It is ended when it has nothing to do, so each event opens the
// mailbox.

import { openMailbox } from "https://cdn.jsdelivr.net/npm/pymailbox@0.1.0/index.js";

async function store(sender, payload) {
  const mailbox = await openMailbox("events");
  try {
    return await mailbox.enqueue(new TextEncoder().encode(sender), payload);
  } finally {
    await mailbox.close();
  }
}

addEventListener("push", (event) => {
  event.waitUntil(store("push", event.data?.arrayBuffer() ?? new Uint8Array()));
});

// what a push service would bring, for a page that has none: a POST to "events"
addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "POST" && new URL(request.url).pathname.endsWith("/events"))
    event.respondWith(accept(request));
});

async function accept(request) {
  const id = await store("post", await request.arrayBuffer());
  return Response.json({ id }, { status: 202 });
}

// the page that registers it need not be reloaded first
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
