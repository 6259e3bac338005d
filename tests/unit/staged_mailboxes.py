"""A mailbox in memory that is slow or fails as a test wants, and records its calls.

``pymailbox.testing.FaultyMailbox`` fails as real storages do; this one raises anything, anywhere, and holds calls up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self
from uuid import UUID

from pymailbox import MailboxStats, MemoryMailbox, MessageRecord
from pymailbox.backends.base import AckFirst, EmbeddedMailbox, Enqueued
from pymailbox.contract.arguments import Options, PreparedMessage


class StagedMailbox(MemoryMailbox):
    """Suspends in every verb, as a real storage does."""

    def __init__(self, name: str | None = None, **options: Any) -> None:
        super().__init__(name, Options(**options))
        self.faults: dict[str, list[BaseException]] = {}
        """By verb, what its next calls raise."""
        self.events: list[str] = []
        """Each verb's beginning and end."""
        self.held_up: dict[str, asyncio.Event] = {}
        """By verb, what its calls wait for before they do anything."""
        self.claims_held_up: asyncio.Event | None = None
        """What claims that have claimed something wait for before they return it."""
        self.life_over_callbacks: list[Callable[[], None]] = []

    async def __aenter__(self) -> Self:
        return self

    def fail_next(self, verb: str, *errors: BaseException) -> None:
        self.faults.setdefault(verb, []).extend(errors)

    def leave_page(self) -> None:
        """Gives back what this handle holds, like a page that is left."""
        with self._memory.lock:
            self._namespace.store(self.name).release_all(self._holder)
        for callback in self.life_over_callbacks:
            callback()

    def _on_life_over(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.life_over_callbacks.append(callback)
        return lambda: self.life_over_callbacks.remove(callback)

    async def _play(self, verb: str, call: Awaitable[Any], *more_verbs: str) -> Any:
        verbs = (verb, *more_verbs)
        self.events += [f"{one} begins" for one in verbs]
        try:
            for one in verbs:
                if one in self.held_up:
                    await self.held_up[one].wait()
            await asyncio.sleep(0)
            for one in verbs:
                if self.faults.get(one):
                    raise self.faults[one].pop(0)
            return await call
        finally:
            self.events += [f"{one} ends" for one in verbs]
            if asyncio.iscoroutine(call):
                call.close()

    async def _claim(self, limit: int, wait: float, ack: AckFirst | None = None) -> list[MessageRecord]:
        # one call that acknowledges and claims has the events and the faults of both
        verbs = ("claim",) if ack is None else ("ack", "claim")
        records: list[MessageRecord] = await self._play(verbs[0], super()._claim(limit, wait, ack), *verbs[1:])
        if self.claims_held_up is not None:
            try:
                await self.claims_held_up.wait()
            except asyncio.CancelledError:
                await super()._release([record.id for record in records])
                raise
        return records

    async def _enqueue(self, messages: list[PreparedMessage], sent_on: UUID | None = None) -> Enqueued:
        if "enqueue" in self.held_up:
            enqueued: Enqueued = await self._play("enqueue", super()._enqueue(messages, sent_on))
            return enqueued
        if self.faults.get("enqueue"):
            raise self.faults["enqueue"].pop(0)
        return await super()._enqueue(messages, sent_on)

    async def _release(self, ids: list[UUID]) -> None:
        await self._play("release", super()._release(ids))

    async def _ack(self, ids: list[UUID]) -> int:
        count: int = await self._play("ack", super()._ack(ids))
        return count

    async def _ack_held(self, ids: list[UUID]) -> int:
        count: int = await self._play("ack", super()._ack_held(ids))
        return count

    async def _ack_and_send(
        self, message_id: UUID, sends: list[tuple[EmbeddedMailbox, PreparedMessage]]
    ) -> list[int | None] | None:
        depths: list[int | None] | None = await self._play("ack_and_send", super()._ack_and_send(message_id, sends))
        return depths

    async def _nack(self, message_id: UUID, delay_ms: int, error: str | None, failed: bool) -> bool | str:
        nacked: bool | str = await self._play("nack", super()._nack(message_id, delay_ms, error, failed))
        return nacked

    async def _bury(self, message_id: UUID, reason: str) -> bool:
        buried: bool = await self._play("bury", super()._bury(message_id, reason))
        return buried

    async def _count(self) -> MailboxStats:
        stats: MailboxStats = await self._play("count", super()._count())
        return stats
