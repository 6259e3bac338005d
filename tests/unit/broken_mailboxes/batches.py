"""Bugs in batches of messages."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any
from uuid import UUID

from pymailbox import NewMessage
from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import SmallMailbox


@breaks(
    "enqueue_many.batch_is_seen_whole_or_not_at_all",
    "enqueue_many.batches_do_not_mix",
    "enqueue_many.iterable_that_raises_half_way",
    "enqueue_many.bad_message_in_the_middle",
    "arguments.messages_must_be_new_messages",
    "observer.batch_is_one_call",
    "observer.partly_deduplicated_batch_is_one_call",
    found_by_programs=True,
)
class BatchMessageByMessage(SmallMailbox):
    """A loop over ``enqueue``."""

    async def enqueue_many(self, messages: Iterable[NewMessage]) -> list[UUID]:
        return [
            await self.enqueue(m.sender, m.payload, m.priority, message_id=m.message_id, delay=m.delay)
            for m in messages
        ]


@breaks("enqueue_many.any_iterable", "enqueue_many.empty_batch")
class TakesListsOnly(SmallMailbox):
    def enqueue_many(self, messages: Any) -> Coroutine[Any, Any, list[UUID]]:
        return super().enqueue_many(messages[:])


@breaks("enqueue_many.empty_batch", "observer.batch_is_one_call")
class TellsOfEmptyBatches(SmallMailbox):
    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        if not messages:
            self.observe(len(self.queue()))
            raise ValueError("messages must not be empty")
        return await super().store_all(messages)


@breaks("enqueue_many.hundred_thousand_messages_in_one_call")
class StopsAt65536(SmallMailbox):
    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        return await super().store_all(messages[: 2**16])
