"""huey's SQLite storage, as `SqliteHuey` uses it: `enqueue` and `dequeue`.

It deletes what it hands out: a task is lost with its worker, and nothing is acknowledged, so it does less work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huey.storage import SqliteStorage

from bench.competitors.saving import Folder, Saving
from bench.queues import Durability

PACKAGE = "huey"
"""What a user imports."""

_folder = Folder("huey")


class TaskQueue:
    """One connection."""

    def __init__(self, storage: Any, durability: Durability) -> None:
        self._storage = storage
        self._saving = Saving(storage.conn, durability, _folder)

    async def store(self, payload: bytes) -> None:
        self._saving.storing()
        self._storage.enqueue(payload)

    async def store_many(self, payloads: Sequence[bytes]) -> None:
        self._saving.storing()
        for payload in payloads:
            self._storage.enqueue(payload)

    async def claim(self, limit: int) -> list[bytes]:
        self._saving.moving()
        claimed: list[bytes] = []
        while len(claimed) < limit and (data := self._storage.dequeue()) is not None:
            claimed.append(data)
        return claimed

    async def ack(self, message: bytes) -> None:
        pass

    async def ack_many(self, messages: Sequence[bytes]) -> None:
        pass

    async def count(self) -> int:
        return int(self._storage.queue_size())

    async def close(self) -> None:
        self._storage.close()


async def open(durability: Durability) -> TaskQueue:  # noqa: A001 - the competitors' common interface
    await _folder.open()
    return TaskQueue(SqliteStorage("bench", str(_folder.path / "huey.db")), durability)


async def destroy() -> None:
    await _folder.delete()
