"""persist-queue's SQLiteAckQueue, as its README shows it: `put`, `get(raw=True)`, `ack(id=…)`, `clear_acked_data`.

It has no batches: each call is a commit, and each one that stores or acknowledges is a separate durable step. What that
means in Pyodide is in `saving.py`; `persist_queue_batched.py` saves once for each batch. An acknowledged message stays
until `clear_acked_data`, called once for several of them. A claim lasts until anybody opens the file again:
`auto_resume` then takes it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from persistqueue import SQLiteAckQueue

from bench.competitors.saving import Folder, Saving
from bench.queues import Durability

CLEAR_AFTER = 100
"""Acknowledged messages are deleted after this many acknowledgements."""

PACKAGE = "persistqueue"
"""What a user imports."""

_folder = Folder("persist-queue")


class AckQueue:
    """One connection."""

    def __init__(self, queue: Any, durability: Durability, *, batched: bool) -> None:
        self._queue = queue
        self._batched = batched
        self._saving = Saving(queue._putter, durability, _folder)
        self._acked = 0

    async def store(self, payload: bytes) -> None:
        await self.store_many([payload])

    async def store_many(self, payloads: Sequence[bytes]) -> None:
        self._saving.storing()
        for payload in payloads:
            self._queue.put(payload)
            if not self._batched:
                await self._saving.stored()
        if self._batched:
            await self._saving.stored()

    async def claim(self, limit: int) -> list[dict[str, Any]]:
        self._saving.moving()
        count = min(limit, self._queue.size)
        return [self._queue.get(block=False, raw=True) for _ in range(count)]

    async def ack(self, message: dict[str, Any]) -> None:
        await self.ack_many([message])

    async def ack_many(self, messages: Sequence[dict[str, Any]]) -> None:
        self._saving.moving()
        for message in messages:
            self._queue.ack(id=message["pqid"])
            if not self._batched:
                await self._saving.acknowledged()
        self._acked += len(messages)
        if self._acked >= CLEAR_AFTER:
            self._queue.clear_acked_data(max_delete=self._acked, keep_latest=0)
            self._acked = 0
        if self._batched:
            await self._saving.acknowledged()

    async def count(self) -> int:
        # `size` is this object's own count, wrong once another one has changed the file; `_count` asks the database
        return int(self._queue._count())

    async def close(self) -> None:
        self._queue.close()


async def open(durability: Durability, *, batched: bool = False) -> AckQueue:  # noqa: A001 - the common interface
    await _folder.open()
    return AckQueue(SQLiteAckQueue(str(_folder.path)), durability, batched=batched)


async def destroy() -> None:
    await _folder.delete()
