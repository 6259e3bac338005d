"""Ways from a place of a client's own to the servers: by a relay, and what either side does alone.

Messages are stored at the source and claimed at the target. On CPython a source is in memory, so that one process can
be a hundred clients; in a page it is in IndexedDB. Each client has a connection of its own.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.competitors.nats_direct import delete_streams
from bench.competitors.ours import PACKAGE, SENDER, MailboxQueue
from bench.competitors.servers import PLACE
from bench.queues import Durability
from pymailbox import Mailbox, MessageRecord, NewMessage, open_mailbox, relay

if sys.platform == "emscripten":
    from bench.competitors.browser import delete_database

    SOURCE = "indexeddb://outbox"
else:
    SOURCE = "memory://"

STREAM: Final = "bench-relays"
BATCH: Final = 100
"""Messages in a hop; the default of `relay`."""

LOOK_SECONDS: Final = 0.01


class Way(MailboxQueue, ABC):
    """A source and a target."""

    def __init__(self, source: Mailbox, target: Mailbox, name: str, number: int) -> None:
        super().__init__(source)
        self._source = source
        self._target = target
        self.target = name
        """The name of the mailbox at the servers."""
        self._number = number
        self._receiver: Mailbox | None = None

    @abstractmethod
    async def begin(self) -> None:
        """Begins to move messages; returns once it can."""

    @abstractmethod
    async def progress(self) -> tuple[int, float]:
        """How many messages have been moved, and when the last ones were, in seconds since 1970."""

    @abstractmethod
    async def end(self) -> None:
        """Moves no more."""

    async def claim(self, limit: int) -> Sequence[MessageRecord]:
        return await (await self._at_target()).dequeue(limit, wait=math.inf)

    async def ack_many(self, messages: Sequence[MessageRecord]) -> None:
        await (await self._at_target()).ack_many([message.id for message in messages])

    async def _at_target(self) -> Mailbox:
        if self._receiver is None:  # as another machine would see it
            self._receiver = await open_mailbox(_location(self.target), connect=_client(f"receiver {self._number}"))
        return self._receiver

    async def close(self) -> None:
        await self.end()
        for mailbox in (self._source, self._target, self._receiver):
            if mailbox is not None:
                await mailbox.close()


class Relayed(Way):
    """A relay between them."""

    async def begin(self) -> None:
        self._relay = relay(self._source, self._target, batch=BATCH, name=f"client {self._number}")
        self._task = asyncio.create_task(self._relay)
        while not (await self._relay.status()).active:
            if self._task.done():
                await self._task
            await asyncio.sleep(LOOK_SECONDS)

    async def progress(self) -> tuple[int, float]:
        status = await self._relay.status()
        return status.sent, status.last_success_at.timestamp() if status.last_success_at else 0.0

    async def end(self) -> None:
        self._relay.stop()
        await self._task


class Alone(Way):
    """One side of it."""

    _moved = 0
    _moved_at = 0.0

    async def begin(self) -> None:
        self._task = asyncio.create_task(self._move())

    @abstractmethod
    async def _move(self) -> None:
        """Does its part of moving, for ever."""

    def _note(self, count: int) -> None:
        self._moved += count
        self._moved_at = time.time()

    async def progress(self) -> tuple[int, float]:
        if self._task.done():
            await self._task
        return self._moved, self._moved_at

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


class SourceAlone(Alone):
    """Messages are claimed and acknowledged at the source, and go nowhere."""

    async def _move(self) -> None:
        messages: list[MessageRecord] = []
        while True:
            messages = await self._source.dequeue(BATCH, wait=math.inf, ack=[message.id for message in messages])
            self._note(len(messages))


class TargetAlone(Alone):
    """Messages are stored at the target, and come from nowhere."""

    async def begin(self) -> None:
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        await super().begin()

    def store_many(self, payloads: Sequence[bytes]) -> Awaitable[object]:
        for payload in payloads:
            self._waiting.put_nowait(payload)
        return asyncio.sleep(0)

    async def _move(self) -> None:
        while True:
            payloads = [await self._waiting.get()]
            while len(payloads) < BATCH and not self._waiting.empty():
                payloads.append(self._waiting.get_nowait())
            await self._target.enqueue_many([NewMessage(SENDER, payload) for payload in payloads])
            self._note(len(payloads))


@dataclass
class Ways:
    """Clients that all do the same."""

    way: type[Way]
    mailbox_each: bool = False
    """Whether each has a mailbox of its own at the servers; all are in one stream."""
    PACKAGE: str = PACKAGE
    _opened: int = 0

    async def open(self, durability: Durability) -> Way:
        self._opened += 1
        source = await open_mailbox(SOURCE, durability=durability)
        name = f"bench-{self._opened}" if self.mailbox_each else "bench"
        connect = _client(f"client {self._opened}")
        target = await open_mailbox(_location(name), durability=durability, connect=connect)
        way = self.way(source, target, name, self._opened)
        await way.begin()
        return way

    async def destroy(self) -> None:
        self._opened = 0
        await delete_streams([STREAM])
        if sys.platform == "emscripten":
            await delete_database("pymailbox")


def _location(mailbox: str) -> str:
    return PLACE.location(mailbox, STREAM)


def _client(name: str) -> dict[str, Any]:
    """Options that give it a connection of its own."""
    return {"name": name}


RELAY: Final = Ways(Relayed)
MAILBOX_EACH: Final = Ways(Relayed, mailbox_each=True)
SOURCE_ALONE: Final = Ways(SourceAlone)
TARGET_ALONE: Final = Ways(TargetAlone)
