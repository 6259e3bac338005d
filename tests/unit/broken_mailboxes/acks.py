"""Bugs in ack."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, SmallMailbox


@breaks(
    "ack.ack_is_true_once",
    "ack.ack_of_an_unknown_id_is_false",
    "names.mailboxes_are_apart",
    "ack.ack_against_ack_is_true_once",
    found_by_programs=True,
)
class AlwaysTrue(SmallMailbox):
    async def ack(self, message_id: UUID) -> bool:
        await super().ack(message_id)
        return True


@breaks("ack.acked_messages_stay_away", "opening.acked_messages_stay_away_after_reopening")
class ForgetsOnlyTheLastAck(SmallMailbox):
    """A watermark without a list of what was acked beyond it: earlier ids come back when a later one is acked."""

    acked: Entry | None = None

    async def remove(self, ids: list[UUID]) -> int:
        back, self.acked = self.acked, self.store.get(ids[0])
        removed = await super().remove(ids)
        if back is not None and removed:
            back.holder = None
            self.store[back.id] = back
        return removed


@breaks("ack.ack_of_an_id_next_to_a_real_one_is_false")
class ComparesHalfOfTheId(SmallMailbox):
    async def remove(self, ids: list[UUID]) -> int:
        halves = {message_id.bytes[:8]: message_id for message_id in self.store}
        return await super().remove([halves.get(message_id.bytes[:8], message_id) for message_id in ids])


@breaks(
    "ack.ack_of_a_queued_message_removes_it",
    "ack.ack_against_dequeue_is_final",
    "message_ids.id_is_free_after_its_ack",
    found_by_programs=True,
)
class AcksWhatIsInflightOnly(SmallMailbox):
    async def remove(self, ids: list[UUID]) -> int:
        inflight = {entry.id for entry in self.inflight()}
        return await super().remove([message_id for message_id in ids if message_id in inflight])


@breaks("ack.ack_by_another_handle_counts", "release.release_never_brings_back_an_acked_message")
class AcksItsOwnOnly(SmallMailbox):
    async def remove(self, ids: list[UUID]) -> int:
        others = {entry.id for entry in self.inflight() if entry.holder is not self}
        return await super().remove([message_id for message_id in ids if message_id not in others])


@breaks("ack.ack_against_ack_is_true_once", found_by_programs=True)
class AckInTwoTransactions(SmallMailbox):
    async def remove(self, ids: list[UUID]) -> int:
        await self.turn()
        there = [message_id for message_id in ids if message_id in self.store]
        await super().remove(ids)
        return len(there)


@breaks("ack.cancelled_ack_can_be_repeated")
class CancelledAckPoisonsTheHandle(SmallMailbox):
    is_poisoned = False

    async def remove(self, ids: list[UUID]) -> int:
        try:
            return 0 if self.is_poisoned else await super().remove(ids)
        except asyncio.CancelledError:
            self.is_poisoned = True
            raise


@breaks("ack.ack_many_counts_what_it_removed", "ack.ack_many_of_nothing", found_by_programs=True)
class CountsIds(SmallMailbox):
    """Returns how many ids it was given, and takes none as all."""

    async def ack_many(self, ids: Iterable[UUID]) -> int:
        given = list(ids) or list(self.store)
        await super().ack_many(given)
        return len(given)


@breaks("ack.ack_many_is_seen_whole_or_not_at_all", "ack.ids_that_raise_half_way", "arguments.ids_to_ack_must_be_uuids")
class AcksOneByOne(SmallMailbox):
    async def ack_many(self, ids: Iterable[UUID]) -> int:
        return sum([await self.ack(message_id) for message_id in ids])
