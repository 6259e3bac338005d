"""Bugs in release."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from pymailbox import MessageRecord
from pymailbox.contract.arguments import Options
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, Entry, SmallMailbox, Store, record_of


@breaks(
    "release.close_gives_back_what_is_held",
    "release.release_takes_the_hand_out_back",
    "release.release_leaves_others_alone",
    "release.close_during_a_dequeue_strands_nothing",
    "message_ids.released_message_keeps_its_id",
    found_by_programs=True,
)
class NothingEverGoesBack(SmallMailbox):
    """An inflight message stays inflight for good."""

    def held(self) -> list[Entry]:
        return []


@breaks(
    "release.release_takes_the_hand_out_back", "release.cancelled_dequeue_hands_nothing_out", found_by_programs=True
)
class ReleaseIsADelivery(SmallMailbox):
    def give_back(self, entry: Entry) -> None:
        entry.holder = None


@breaks("release.close_gives_back_what_is_held", found_by_programs=True)
class ReleaseToTheEnd(SmallMailbox):
    def give_back(self, entry: Entry) -> None:
        super().give_back(entry)
        self.store[entry.id] = self.store.pop(entry.id)


@breaks("release.release_leaves_others_alone", "closing.closing_one_handle_leaves_the_others")
class ReleasesEverybodys(SmallMailbox):
    def held(self) -> list[Entry]:
        return self.inflight()

    def claim(self, entry: Entry) -> None:
        super().claim(entry)
        entry.delivery_count = 1

    async def ack(self, message_id: UUID) -> bool:
        held = {entry.id for entry in self.inflight()}
        return await super().ack(message_id) and message_id in held


@breaks("release.release_never_brings_back_an_acked_message", found_by_programs=True)
class ReleasesFromMemory(SmallMailbox):
    """A handle puts back what it remembers holding, even if others have acked it."""

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.remembered: Store = {}

    def claim(self, entry: Entry) -> None:
        super().claim(entry)
        self.remembered[entry.id] = entry

    async def ack(self, message_id: UUID) -> bool:
        self.remembered.pop(message_id, None)
        return await super().ack(message_id)

    def held(self) -> list[Entry]:
        self.store |= self.remembered
        return list(self.remembered.values())


@breaks(
    "release.cancelled_dequeue_hands_nothing_out", "release.cancelled_dequeue_beside_others", found_by_programs=True
)
class CancelledDequeueStrands(SmallMailbox):
    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        with self.call():
            await self.turn()
            self.forget(ack)
            batch = self.batch(self.queue(), limit or self.options.batch_size)
            for entry in batch:
                self.claim(entry)
            await self.turn()
            return [record_of(entry) for entry in batch]


@breaks("release.release_keeps_earlier_deliveries", found_by_programs=True)
class ReleaseStartsAfresh(SmallMailbox):
    """What was given back counts as never handed out, whatever happened before."""

    def give_back(self, entry: Entry) -> None:
        super().give_back(entry)
        entry.delivery_count = 0


@breaks("release.cancelled_loop_of_dequeues_strands_nothing")
class ForgetsWhatItClaimed(SmallMailbox):
    """Suspends after claiming, and does not expect to be cancelled there."""

    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        with self.call():
            self.forget(ack)
            batch = self.batch(self.queue(), limit or self.options.batch_size)
            for entry in batch:
                self.claim(entry)
            await self.turn()
            return [record_of(entry) for entry in batch]
