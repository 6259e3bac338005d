"""pymailbox.sync, for a thread without an event loop."""

from __future__ import annotations

from bench.competitors.files import delete_folder, folder_of
from bench.competitors.ours import PACKAGE, SENDER
from bench.queues import Durability
from pymailbox import sync

__all__ = ["PACKAGE", "destroy", "open"]

FOLDER = "pymailbox.sync"


class SyncQueue:
    """A handle on the mailbox."""

    def __init__(self, mailbox: sync.SyncMailbox) -> None:
        self._mailbox = mailbox

    def live(self, payload: bytes) -> None:
        self._mailbox.enqueue(SENDER, payload)
        (message,) = self._mailbox.dequeue(1)
        self._mailbox.ack(message.id)

    async def close(self) -> None:
        self._mailbox.close()


async def open(durability: Durability) -> SyncQueue:  # noqa: A001 - the competitors' common interface
    return SyncQueue(sync.open_mailbox(f"sqlite:///{folder_of(FOLDER)}/mailbox.db#bench", durability=durability))


async def destroy() -> None:
    delete_folder(FOLDER)
