"""nats-py used directly, as its documentation shows it: a work queue, `publish` with its acknowledgement, a pull
consumer's `fetch`, `ack_sync`. Several messages are published, or acknowledged, at once. In a page, where nats-py has
no transport of its own, it has ours: the page's WebSocket.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy

from bench.competitors.servers import PLACE
from bench.queues import Durability

if sys.platform == "emscripten":
    from pymailbox.backends.jetstream.websocket import PageClient as NewClient
else:
    NewClient = Client

PACKAGE = "nats"
"""What a user imports."""

STREAM = "bench-direct"
SUBJECT = "bench-direct.in"
CONSUMER = "workers"
SECONDS = 30.0


class PullQueue:
    """A connection, and a pull consumer that all of them share."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._context = client.jetstream(timeout=SECONDS)

    async def begin(self) -> None:
        await self._context.add_stream(
            name=STREAM, subjects=[SUBJECT], retention=RetentionPolicy.WORK_QUEUE, num_replicas=PLACE.replicas
        )
        self._consumer = await self._context.pull_subscribe(SUBJECT, durable=CONSUMER, stream=STREAM)

    async def store(self, payload: bytes) -> None:
        await self._context.publish(SUBJECT, payload)

    async def store_many(self, payloads: Sequence[bytes]) -> None:
        await asyncio.gather(*(self.store(payload) for payload in payloads))

    async def claim(self, limit: int) -> list[Msg]:
        claimed: list[Msg] = []
        while len(claimed) < limit:  # of three servers, the consumer's may be behind
            claimed += await self._consumer.fetch(limit - len(claimed), timeout=SECONDS)
        return claimed

    async def ack(self, message: Msg) -> None:
        await message.ack_sync(timeout=SECONDS)

    async def ack_many(self, messages: Sequence[Msg]) -> None:
        await asyncio.gather(*(self.ack(message) for message in messages))

    async def wait(self) -> Msg:
        """The next message, as soon as there is one."""
        (message,) = await self.claim(1)
        return message

    async def count(self) -> int:
        return (await self._consumer.consumer_info()).num_pending or 0

    async def close(self) -> None:
        await self._client.close()


async def _connect() -> Client:
    client = NewClient()
    await client.connect(PLACE.urls)
    return client


async def delete_streams(names: Iterable[str]) -> None:
    """Deletes streams, with all that is in them."""
    async with await _connect() as client:
        for name in names:
            await client.jetstream(timeout=SECONDS).delete_stream(name)


async def open(durability: Durability) -> PullQueue:  # noqa: A001 - the competitors' common interface
    """Durability is the server's."""
    queue = PullQueue(await _connect())
    await queue.begin()
    return queue


async def destroy() -> None:
    await delete_streams([STREAM])
