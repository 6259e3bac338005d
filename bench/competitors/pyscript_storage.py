"""A queue on `pyscript.storage`, a dictionary in IndexedDB: a key for each message, `sync()` after each durable step.

The module is PyScript's own, on the package that it uses. Everything is also in memory, where no other tab sees it, so
a claim is a note in memory. `sync` returns before the last transaction has committed; here that is awaited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import bench_durability
from pyscript.storage import storage

from bench.competitors.browser import delete_database
from bench.queues import Durability

PACKAGE = "pyscript"
"""What a user imports."""

NAME = "bench"


class Claimed(NamedTuple):
    """A message that was handed out."""

    key: str
    payload: bytearray


class StorageQueue:
    """The one queue of this page."""

    def __init__(self, entries: Any, durability: Durability) -> None:
        self._entries = entries
        self._durability = durability
        self._next = 0
        self._claimed: set[str] = set()

    async def store(self, payload: bytes) -> None:
        await self.store_many([payload])

    async def store_many(self, payloads: Sequence[bytes]) -> None:
        bench_durability.start(self._durability)
        for payload in payloads:
            self._entries[f"{self._next:012}"] = bytearray(payload)
            self._next += 1
        await self._sync()

    async def claim(self, limit: int) -> list[Claimed]:
        claimed: list[Claimed] = []
        # a dictionary keeps its order, and a new page gets the keys sorted
        for key, payload in self._entries.items():
            if len(claimed) == limit:
                break
            if key not in self._claimed:
                self._claimed.add(key)
                claimed.append(Claimed(key, payload))
        return claimed

    async def ack(self, message: Claimed) -> None:
        await self.ack_many([message])

    async def ack_many(self, messages: Sequence[Claimed]) -> None:
        bench_durability.start("relaxed")
        for key, _ in messages:
            del self._entries[key]
            self._claimed.discard(key)
        await self._sync()

    async def count(self) -> int:
        return len(self._entries) - len(self._claimed)

    async def close(self) -> None:
        await self._entries._store.close()

    async def _sync(self) -> None:
        try:
            await self._entries.sync()
            await bench_durability.settled()
        finally:
            bench_durability.stop()


async def open(durability: Durability) -> StorageQueue:  # noqa: A001 - the competitors' common interface
    return StorageQueue(await storage(NAME), durability)


async def destroy() -> None:
    await delete_database(f"IDBMap/@pyscript/{NAME}")
