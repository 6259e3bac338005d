"""Bugs in order and priority."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pymailbox import MessagePriority
from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, SmallMailbox, by_priority

NORMAL = MessagePriority.NORMAL
HIGH = MessagePriority.HIGH


@breaks(
    "enqueue.fifo_within_a_millisecond",
    "enqueue.gathered_calls_keep_their_order",
    "enqueue.two_handles_share_one_order",
    "enqueue_many.batch_is_stored_in_order",
    "enqueue_many.batches_do_not_mix",
    found_by_programs=True,
)
class OrderedByClock(SmallMailbox):
    """Oldest first by milliseconds, ties by random id."""

    def queue(self) -> list[Entry]:
        return by_priority(sorted(super().queue(), key=lambda entry: (_milliseconds(entry.created_at), entry.id)))


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@breaks(
    "dequeue.high_before_normal",
    "dequeue.later_high_message_overtakes",
    "dequeue.limit_cuts_across_priorities",
    "enqueue_many.batch_keeps_sender_and_priority",
    "opening.messages_survive_reopening",
    "peek.peek_order",
    "release.close_gives_back_what_is_held",
    found_by_programs=True,
)
class OrderedByAge(SmallMailbox):
    """Strictly oldest first, whatever the priority."""

    def queue(self) -> list[Entry]:
        return [entry for entry in self.store.values() if entry.holder is None]


@breaks("dequeue.limit_cuts_across_priorities")
class OnePriorityInABatch(SmallMailbox):
    """``NORMAL`` messages wait until a batch has no ``HIGH`` ones."""

    def batch(self, queue: list[Entry], size: int) -> list[Entry]:
        return [entry for entry in super().batch(queue, size) if entry.priority is queue[0].priority]


@breaks("enqueue.priority_is_normal_unless_told", "status.counts_follow_every_verb")
class HighByDefault(SmallMailbox):
    def enqueue(
        self, sender: Any, payload: Any, priority: MessagePriority = HIGH, **keywords: Any
    ) -> Coroutine[Any, Any, UUID]:
        return super().enqueue(sender, payload, priority, **keywords)


@breaks(
    "enqueue.gathered_calls_keep_their_order",
    "observer.observer_of_gathered_enqueues",
    "closing.close_lets_calls_under_way_finish",
    "concurrency.mailboxes_work_side_by_side",
    found_by_programs=True,
)
class LastCallFirst(SmallMailbox):
    """Calls that wait together are served from the end, and observers are called once for all of them."""

    pending: ClassVar[list[tuple[LastCallFirst, list[PreparedMessage], asyncio.Future[list[UUID]]]]] = []

    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        self.enter()
        done: asyncio.Future[list[UUID]] = asyncio.get_running_loop().create_future()
        self.pending.append((self, messages, done))
        await self.turn()
        while self.pending:
            mailbox, stored, future = self.pending.pop()
            future.set_result([mailbox.put(message)[0] for message in stored])
            if not self.pending:
                mailbox.observe(len(mailbox.queue()))
        return await done
