"""Bugs in dequeue(ack=...)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from pymailbox import MessageRecord
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import SmallMailbox


@breaks(
    "dequeue_ack.acks_come_before_the_claim",
    "dequeue_ack.acks_count_though_nothing_comes",
    "dequeue_ack.acks_do_not_wait_for_messages",
    "dequeue_ack.acks_and_claim_are_seen_together",
    "consuming.ack_with_a_dequeue_is_the_last_word",
    "asking.no_answer_in_time",
    found_by_programs=True,
)
class AcksNothingAlong(SmallMailbox):
    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        return await super().take(limit)


@breaks("dequeue_ack.acks_count_though_nothing_comes", "dequeue_ack.acks_do_not_wait_for_messages")
class AcksOnlyWithMessages(SmallMailbox):
    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        there = any(entry.id not in ack for entry in self.queue())
        return await super().take(limit, ack if there else ())


@breaks("dequeue_ack.acks_come_before_the_claim", found_by_programs=True)
class AcksAfterTheClaim(SmallMailbox):
    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        records = await super().take(limit)
        self.forget(ack)
        return records


@breaks("dequeue_ack.acks_come_before_the_claim", found_by_programs=True)
class AcksItsOwnFirst(SmallMailbox):
    """Checks who holds a message."""

    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        return await super().take(limit, [message_id for message_id in ack if self.held_as(message_id)])


@breaks("dequeue_ack.acks_do_not_wait_for_messages")
class AcksWhenTheWaitIsOver(SmallMailbox):
    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        ids = list(ack)
        records = await super().dequeue(limit, wait=wait)
        self.forget(ids)
        return records


@breaks("dequeue_ack.acks_and_claim_are_seen_together")
class AcksInATransactionBefore(SmallMailbox):
    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        await self.remove(list(ack))
        await self.turn()
        return await super().take(limit)


@breaks(
    "dequeue_ack.cancelled_call_has_acked_all_or_nothing",
    "dequeue_ack.ids_that_raise_half_way",
    "arguments.ids_to_ack_first_must_be_uuids",
    found_by_programs=True,
)
class AcksOneAfterTheOther(SmallMailbox):
    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        for message_id in ack:
            await self.ack(message_id)
        return await super().dequeue(limit, wait=wait)


@breaks("dequeue_ack.cancelled_call_has_acked_all_or_nothing")
class StrandsWhatComesWithAcks(SmallMailbox):
    """If it has also acknowledged, what a cancelled call has claimed stays with the handle."""

    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        taking = asyncio.ensure_future(super().take(limit, ack))
        return await (asyncio.shield(taking) if ack else taking)
