"""Bugs in delays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

from pymailbox import MailboxStats, MessageRecord
from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, SmallMailbox, by_priority, stats_of


@breaks(
    "delay.delayed_message_is_not_handed_out_before",
    "delay.delay_may_be_a_timedelta",
    "delay.batch_with_delays",
    "delay.delay_survives_reopening",
    "delay.id_of_a_delayed_message_is_known",
    "ack_and_send.sent_message_may_have_a_delay",
    found_by_programs=True,
)
class IgnoresDelays(SmallMailbox):
    def due_after(self, delay_ms: int) -> float:
        return 0.0


@breaks("delay.no_delay_is_no_delay", "delay.batch_with_delays", found_by_programs=True)
class DelaysEverything(SmallMailbox):
    """No delay is a delay of 0, and that takes a moment."""

    def due_after(self, delay_ms: int) -> float:
        return time.time() + delay_ms / 1000 + 0.05


@breaks(
    "delay.delayed_message_counts_as_queued",
    "delay.observer_counts_delayed_messages",
    "delay.peek_shows_delayed_messages_last",
    "delay.purge_deletes_delayed_messages",
    found_by_programs=True,
)
class DelayedIsNotQueued(SmallMailbox):
    """Messages that are not due yet do not exist yet."""

    def waiting(self) -> list[Entry]:
        return self.queue()

    async def status(self) -> MailboxStats:
        self.enter()
        return stats_of({entry.id: entry for entry in self.store.values() if self.is_due(entry)}, self.dead)


@breaks("delay.peek_shows_delayed_messages_last", found_by_programs=True)
class PeekShowsPriorities(SmallMailbox):
    """Delayed messages among the others."""

    def waiting(self) -> list[Entry]:
        return by_priority(entry for entry in self.store.values() if entry.holder is None)


@breaks("delay.due_message_has_its_old_place", found_by_programs=True)
class DueGoesToTheEnd(SmallMailbox):
    def queue(self) -> list[Entry]:
        return by_priority(sorted(super().queue(), key=lambda entry: entry.due or entry.created_at.timestamp()))


@breaks("delay.ack_of_a_delayed_message_removes_it", found_by_programs=True)
class CannotAckWhatIsDelayed(SmallMailbox):
    async def remove(self, ids: list[UUID]) -> int:
        delayed = {entry.id for entry in self.store.values() if not self.is_due(entry)}
        return await super().remove([message_id for message_id in ids if message_id not in delayed])


@breaks("delay.id_of_a_delayed_message_is_known", found_by_programs=True)
class KnowsDueIdsOnly(SmallMailbox):
    def knows(self, message_id: UUID) -> bool:
        return super().knows(message_id) and (message_id in self.dead or self.is_due(self.store[message_id]))


@breaks("delay.delay_survives_reopening", found_by_programs=True)
class DelaysInItsHandle(SmallMailbox):
    """Only a timer of the handle."""

    async def close(self) -> None:
        await super().close()
        for entry in list(self.store.values()):
            if not self.is_due(entry):
                del self.store[entry.id]


@breaks(
    "delay.wait_wakes_for_a_due_message",
    "delay.due_message_ends_one_wait",
    "waiting.each_due_message_ends_a_wait",
    "waiting.wait_is_ended_by_what_comes_back",
    "waiting.wait_is_ended_by_a_redrive",
    "waiting.wait_is_ended_by_a_loop_that_is_left",
    "recover.recovery_while_waiting",
)
class WakesForEnqueuesOnly(SmallMailbox):
    """Waits only for the next enqueue."""

    enqueued: ClassVar[int] = 0

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        WakesForEnqueuesOnly.enqueued += 1
        return super().put(message)

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        self.forget(ack)
        deadline = time.monotonic() + (wait or 0)
        while True:
            enqueued = self.enqueued
            records = await self.take(limit)
            if records or time.monotonic() >= deadline:
                return records
            while self.enqueued == enqueued:
                if time.monotonic() >= deadline:
                    return []
                await asyncio.sleep(0.01)
                self.enter()
