"""litequeue, as its README shows it: `put`, `pop`, `done`, `prune`.

It has no batches: each call is a commit, and each `put` and `done` is a durable step. A finished message stays until
`prune`, called once for several of them. Its column takes bytes, not only the `str` that its types ask for, which saves
it a conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litequeue import LiteQueue

from bench.competitors.saving import Folder, Saving
from bench.queues import Durability

PRUNE_AFTER = 100
"""Finished messages are deleted when there are this many."""

PACKAGE = "litequeue"
"""What a user imports."""

_folder = Folder("litequeue")


class DoneQueue:
    """One connection."""

    def __init__(self, queue: Any, durability: Durability) -> None:
        self._queue = queue
        self._saving = Saving(queue.conn, durability, _folder)
        self._done = 0

    async def store(self, payload: bytes) -> None:
        await self.store_many([payload])

    async def store_many(self, payloads: Sequence[bytes]) -> None:
        self._saving.storing()
        for payload in payloads:
            self._queue.put(payload)
            await self._saving.stored()

    async def claim(self, limit: int) -> list[Any]:
        self._saving.moving()
        claimed: list[Any] = []
        while len(claimed) < limit and (message := self._queue.pop()) is not None:
            claimed.append(message)
        return claimed

    async def ack(self, message: Any) -> None:
        await self.ack_many([message])

    async def ack_many(self, messages: Sequence[Any]) -> None:
        self._saving.moving()
        for message in messages:
            self._queue.done(message.message_id)
            await self._saving.acknowledged()
        self._done += len(messages)
        if self._done >= PRUNE_AFTER:
            self._queue.prune()
            self._done = 0

    async def count(self) -> int:
        return int(self._queue.qsize())

    async def close(self) -> None:
        self._queue.close()


async def open(durability: Durability) -> DoneQueue:  # noqa: A001 - the competitors' common interface
    await _folder.open()
    return DoneQueue(LiteQueue(_folder.path / "queue.db"), durability)


async def destroy() -> None:
    await _folder.delete()
