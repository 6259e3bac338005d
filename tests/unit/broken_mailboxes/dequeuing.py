"""Bugs in dequeue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from pymailbox import MessageRecord
from pymailbox.contract.arguments import Options
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, Entry, SmallMailbox, by_priority, record_of


@breaks(
    "dequeue.overlapping_dequeues_are_disjoint",
    "dequeue.overlapping_dequeues_of_two_handles_are_disjoint",
    "dequeue.overlapping_limits_take_a_prefix",
    "concurrency.enqueue_against_dequeue_loses_nothing",
    "concurrency.each_message_is_processed_once",
    "waiting.one_message_ends_one_wait",
    "release.cancelled_dequeue_beside_others",
    found_by_programs=True,
)
class DequeueInTwoTransactions(SmallMailbox):
    """Reads in one transaction, marks in a second."""

    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        with self.call():
            await self.turn()
            self.forget(ack)
            batch = self.batch(self.queue(), limit or self.options.batch_size)
            await self.turn()
            for entry in batch:
                self.claim(entry)
            return [record_of(entry) for entry in batch]


@breaks("ack.ack_against_dequeue_is_final", found_by_programs=True)
class DequeuePutsStaleCopies(SmallMailbox):
    """Marks by putting whole records back, acked or not."""

    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        records = await super().take(limit, ack)
        stale = {record.id: self.store.get(record.id) for record in records}
        await self.turn()
        await self.turn()
        self.store.update({message_id: entry for message_id, entry in stale.items() if entry is not None})
        return records


@breaks(
    "dequeue.inflight_messages_stay_with_their_holder",
    "opening.second_handle_takes_nothing",
    "message_ids.id_is_kept_and_stored_once",
    found_by_programs=True,
)
class MarksForItselfOnly(SmallMailbox):
    """Each handle keeps its own list of what is inflight."""

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.seen: set[UUID] = set()

    def queue(self) -> list[Entry]:
        return by_priority(entry for entry in self.store.values() if entry.id not in self.seen)

    def claim(self, entry: Entry) -> None:
        super().claim(entry)
        self.seen.add(entry.id)


@breaks("dequeue.limit_is_the_most_that_comes", "dequeue.limit_cuts_across_priorities", "peek.peek_order")
class IgnoresLimits(SmallMailbox):
    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        return await super().take(ack=ack)

    async def peek(self, limit: Any = None, *, status: Any = None, offset: Any = 0) -> list[MessageRecord]:
        return await super().peek(status=status, offset=offset)


@breaks("dequeue.batch_size_is_32_unless_told", "peek.peek_without_limit_shows_a_batch")
class IgnoresBatchSize(SmallMailbox):
    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options._replace(batch_size=1000))


@breaks("dequeue.batch_holds_64_mib_at_most", "dequeue.message_of_64_mib_comes_alone")
class BatchesOfAnySize(SmallMailbox):
    def batch(self, queue: list[Entry], size: int) -> list[Entry]:
        return queue[:size]


@breaks("dequeue.batch_holds_64_mib_at_most")
class FillsUpWithSmallMessages(SmallMailbox):
    """Passes over a message that does not fit."""

    def batch(self, queue: list[Entry], size: int) -> list[Entry]:
        batch = super().batch(queue, size)
        return batch + [entry for entry in queue[len(batch) : size] if not entry.payload]


@breaks(
    "dequeue.empty_mailbox_gives_nothing",
    "waiting.wait_ends_with_nothing",
    "opening.acked_messages_stay_away_after_reopening",
)
class NothingIsAnError(SmallMailbox):
    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        records = await super().dequeue(limit, wait=wait, ack=ack)
        if not records:
            raise TimeoutError
        return records
