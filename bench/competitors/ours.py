"""pymailbox: in IndexedDB in a browser, in a SQLite file on CPython."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Sequence

from bench.queues import Durability
from pymailbox import Mailbox, MessageRecord, NewMessage, open_mailbox

if sys.platform == "emscripten":
    from bench.competitors.browser import delete_database

    LOCATION = "indexeddb://bench"
else:
    from bench.competitors.files import delete_folder, folder_of

    LOCATION = f"sqlite:///{folder_of('pymailbox')}/mailbox.db#bench"

SENDER = b"bench"

PACKAGE = "pymailbox"
"""What a user imports."""


class MailboxQueue:
    """A handle on the mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def store(self, payload: bytes) -> Awaitable[object]:
        return self._mailbox.enqueue(SENDER, payload)

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
        (message,) = await self._mailbox.dequeue(1, wait=float("inf"))
        return message

    def close(self) -> Awaitable[object]:
        return self._mailbox.close()


async def open(durability: Durability) -> MailboxQueue:  # noqa: A001 - the competitors' common interface
    return MailboxQueue(await open_mailbox(LOCATION, durability=durability))


async def destroy() -> None:
    if sys.platform == "emscripten":
        await delete_database("pymailbox")
    else:
        delete_folder("pymailbox")
