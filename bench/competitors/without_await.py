"""pymailbox.sync, called from the thread that measures: each call is over when it returns, with nothing to await."""

from __future__ import annotations

from collections.abc import Sequence

from bench.competitors.files import delete_folder, folder_of
from bench.competitors.ours import PACKAGE, SENDER
from bench.queues import Durability
from pymailbox import MessageRecord, NewMessage, sync

__all__ = ["PACKAGE", "destroy", "open"]

FOLDER = "pymailbox.sync"


class SyncQueue:
    """A handle on the mailbox."""

    def __init__(self, mailbox: sync.SyncMailbox) -> None:
        self._mailbox = mailbox

    async def store(self, payload: bytes) -> None:
        self._mailbox.enqueue(SENDER, payload)

    async def store_many(self, payloads: Sequence[bytes]) -> None:
        self._mailbox.enqueue_many([NewMessage(SENDER, payload) for payload in payloads])

    async def claim(self, limit: int) -> Sequence[MessageRecord]:
        return self._mailbox.dequeue(limit)

    async def ack(self, message: MessageRecord) -> None:
        self._mailbox.ack(message.id)

    async def ack_many(self, messages: Sequence[MessageRecord]) -> None:
        self._mailbox.ack_many([message.id for message in messages])

    async def count(self) -> int:
        return self._mailbox.status().queued_messages

    async def close(self) -> None:
        self._mailbox.close()


async def open(durability: Durability) -> SyncQueue:  # noqa: A001 - the competitors' common interface
    return SyncQueue(sync.open_mailbox(f"sqlite:///{folder_of(FOLDER)}/mailbox.db#bench", durability=durability))


async def destroy() -> None:
    delete_folder(FOLDER)
