"""The worker: the actor of ../actor. Page and worker share only the mailboxes, so no special headers are needed."""

import asyncio

import counter

running = asyncio.ensure_future(counter.run(print))
