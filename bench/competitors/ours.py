"""pymailbox: in IndexedDB in a browser, in a SQLite file on CPython, and other ways to use it."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.queues import Durability, Handle
from pymailbox import Mailbox, MessagePriority, MessageRecord, NewMessage, delete_mailbox, open_mailbox

if sys.platform == "emscripten":
    from bench.competitors.browser import delete_database, stored_bytes

    LOCATION = "indexeddb://bench"
else:
    from bench.competitors.files import delete_folder, folder_of

    _FILE = folder_of("pymailbox") / "mailbox.db"
    LOCATION = f"sqlite:///{_FILE}#bench"

IN_MEMORY = "memory://bench"

HEADER: Final = {"content-type": "application/json"}

SENDER = b"bench"

PACKAGE = "pymailbox"
"""What a user imports."""


class MailboxQueue:
    """A handle on the mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def store(self, payload: bytes) -> Awaitable[object]:
        return self._mailbox.enqueue(SENDER, payload)

    def store_urgent(self, payload: bytes) -> Awaitable[object]:
        return self._mailbox.enqueue(SENDER, payload, MessagePriority.HIGH)

    def store_many(self, payloads: Sequence[bytes]) -> Awaitable[object]:
        return self._mailbox.enqueue_many([NewMessage(SENDER, payload) for payload in payloads])

    def claim(self, limit: int) -> Awaitable[Sequence[MessageRecord]]:
        return self._mailbox.dequeue(limit)

    def ack(self, message: MessageRecord) -> Awaitable[object]:
        return self._mailbox.ack(message.id)

    def ack_many(self, messages: Sequence[MessageRecord]) -> Awaitable[object]:
        return self._mailbox.ack_many([message.id for message in messages])

    def ack_and_claim(self, message: MessageRecord) -> Awaitable[Sequence[MessageRecord]]:
        return self._mailbox.dequeue(1, ack=[message.id])

    async def count(self) -> int:
        return (await self._mailbox.status()).queued_messages

    async def crash(self) -> None:
        self._mailbox._die()  # a later close has nothing to do

    def recover(self) -> Awaitable[int]:
        return self._mailbox.recover()

    async def wait(self) -> MessageRecord:
        """The next message, as soon as there is one."""
        (message,) = await self._mailbox.dequeue(1, wait=math.inf)
        return message

    async def consume(self, handle: Handle) -> None:
        await self._mailbox.consume(handle)

    async def stored_bytes(self) -> int:
        await self._mailbox.close()  # this moves all of SQLite's log into the file
        if sys.platform == "emscripten":
            return await stored_bytes("pymailbox")
        else:  # noqa: RET505 - it tells mypy where it is
            return _FILE.stat().st_size

    def close(self) -> Awaitable[object]:
        return self._mailbox.close()


class WithTwoCalls(MailboxQueue):
    """With a handwritten loop: one call claims a batch, and one call acknowledges each message."""

    async def consume(self, handle: Handle) -> None:
        while True:
            for message in await self._mailbox.dequeue(wait=math.inf):
                await handle(message)
                await self._mailbox.ack(message.id)


class WithOneCall(MailboxQueue):
    """With a handwritten loop made for speed: one call claims a batch and acknowledges the previous one."""

    async def consume(self, handle: Handle) -> None:
        messages: list[MessageRecord] = []
        while True:
            messages = await self._mailbox.dequeue(wait=math.inf, ack=[message.id for message in messages])
            for message in messages:
                await handle(message)


class WithHeaders(MailboxQueue):
    """With messages that have a header."""

    def store(self, payload: bytes) -> Awaitable[object]:
        return self._mailbox.enqueue(SENDER, payload, headers=HEADER)

    def store_many(self, payloads: Sequence[bytes]) -> Awaitable[object]:
        return self._mailbox.enqueue_many([NewMessage(SENDER, payload, headers=HEADER) for payload in payloads])


@dataclass(frozen=True)
class Ours:
    """Another way to use it."""

    queue: type[MailboxQueue] = MailboxQueue
    location: str = LOCATION
    PACKAGE: str = PACKAGE

    async def open(self, durability: Durability) -> MailboxQueue:
        return self.queue(await open_mailbox(self.location, durability=durability))

    async def destroy(self) -> None:
        if self.location == IN_MEMORY:
            await delete_mailbox(self.location)
        elif sys.platform == "emscripten":
            await delete_database("pymailbox")
        else:
            delete_folder("pymailbox")


TWO_CALLS = Ours(WithTwoCalls)
ONE_CALL = Ours(WithOneCall)
HEADERS = Ours(WithHeaders)
ON_MEMORY = Ours(location=IN_MEMORY)
TWO_CALLS_ON_MEMORY = Ours(WithTwoCalls, IN_MEMORY)
ONE_CALL_ON_MEMORY = Ours(WithOneCall, IN_MEMORY)
HEADERS_ON_MEMORY = Ours(WithHeaders, IN_MEMORY)

_usual: Final = Ours()
open = _usual.open  # noqa: A001 - the competitors' common interface
destroy = _usual.destroy
