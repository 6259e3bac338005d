"""Bugs in waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar
from uuid import UUID

from pymailbox import Mailbox, MessageRecord
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import SmallMailbox, record_of


@breaks("waiting.wait_is_ended_by_an_enqueue", "waiting.wait_ends_when_the_handle_is_closed")
class NeverWaits(SmallMailbox):
    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        return await super().dequeue(limit, ack=ack)


@breaks("waiting.wait_does_not_hold_back_messages", "waiting.messages_come_one_by_one_until_closed")
class WaitsToTheEnd(SmallMailbox):
    """Looks only when the time is over."""

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        await asyncio.sleep(min(wait or 0, 10))
        return await super().dequeue(limit, ack=ack)


@breaks(
    "waiting.cancelled_wait_takes_nothing",
    "waiting.wait_is_cancelled_as_a_message_comes",
    "waiting.waiting_handle_is_closed_as_a_message_comes",
    "release.cancelled_dequeue_hands_nothing_out",
    "relaying.stop_leaves_nothing_inflight",
)
class WaitsInTheBackground(SmallMailbox):
    """A cancelled call goes on without its caller."""

    going_on: ClassVar[set[asyncio.Task[Any]]] = set()

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        task = asyncio.ensure_future(super().dequeue(limit, wait=wait, ack=ack))
        self.going_on.add(task)
        task.add_done_callback(self.going_on.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)


@breaks(
    "waiting.many_wait_and_each_message_comes_once",
    "waiting.one_wait_is_cancelled_and_others_go_on",
    "waiting.each_due_message_ends_a_wait",
)
class OneWaitAtATime(SmallMailbox):
    """A new wait ends the previous one, and a cancelled one ends them all."""

    waits = 0

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        self.forget(ack)
        self.waits += 1
        mine = self.waits
        deadline = time.monotonic() + (wait or 0)
        while not (records := await self.take(limit)):
            if self.waits != mine or time.monotonic() >= deadline:
                return []
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.waits += 1
                raise
        return records


@breaks("waiting.two_loops_share_the_messages")
class EveryLoopSeesEverything(SmallMailbox):
    """``messages()`` shows what is there, and claims nothing."""

    async def messages(self) -> AsyncIterator[MessageRecord]:
        seen: set[UUID] = set()
        while not self._is_closed:
            for entry in list(self.store.values()):
                if entry.id not in seen:
                    seen.add(entry.id)
                    yield record_of(entry)
            await asyncio.sleep(0.001)


@breaks(
    "release.messages_gives_back_what_it_did_not_yield",
    "waiting.wait_is_ended_by_a_loop_that_is_left",
    found_by_programs=True,
)
class LoopKeepsItsBatch(SmallMailbox):
    """What a loop had claimed and not yielded stays inflight when it is left."""

    def messages(self) -> AsyncIterator[MessageRecord]:
        return Mailbox.messages(self)


@breaks("release.close_inside_messages_gives_everything_back")
class LoopOutlivesItsHandle(SmallMailbox):
    """After ``close`` a loop still yields the rest of its batch."""

    async def messages(self) -> AsyncIterator[MessageRecord]:
        while not self._is_closed:
            for record in await self.dequeue(wait=1e9):
                yield record


@breaks("concurrency.verbs_let_other_tasks_run", "concurrency.timeout_ends_a_loop_of_verbs")
class NeverSuspends(SmallMailbox):
    async def turn(self) -> None:
        pass
