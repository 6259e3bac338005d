"""Bugs in what happens to a dead holder's messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from pymailbox import MessageRecord
from pymailbox.contract.arguments import Options
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, Entry, Holder, SmallMailbox


@breaks(
    "recover.messages_of_a_dead_holder_come_back",
    "recover.death_counts_as_a_delivery",
    "recover.recover_says_how_many",
    "recover.recovery_when_a_handle_is_opened",
    "recover.recovery_by_a_dequeue",
    "recover.recovery_while_waiting",
    "recover.handles_race_to_recover",
    "recover.many_messages_come_back_in_order",
    "recover.handle_of_a_closed_loop_is_gone",
    "recover.handle_of_a_closed_loop_has_released",
    "recover.collected_handle_has_released",
    "recover.collected_handle_blames_no_batch",
    "ack_and_send.step_before_a_death_is_done",
    found_by_programs=True,
)
class StrandsForGood(SmallMailbox):
    """Nothing ever moves an inflight message back."""

    def is_gone(self, holder: Holder) -> bool:
        return False


@breaks(
    "recover.recovery_when_a_handle_is_opened",
    "recover.recovery_by_a_dequeue",
    "recover.recovery_while_waiting",
)
class RecoversWhenAsked(SmallMailbox):
    def recover_now(self) -> int:
        return 0

    async def recover(self) -> int:
        with self.call():
            return super().recover_now()


@breaks("recover.recovery_while_the_queue_is_long")
class RecoversWhenItFindsTooLittle(SmallMailbox):
    finds_enough = False

    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        self.finds_enough = len(self.queue()) >= (limit or self.options.batch_size)
        return await super().take(limit, ack)

    def recover_now(self) -> int:
        return 0 if self.finds_enough else super().recover_now()


@breaks("recover.handle_of_a_closed_loop_is_gone", "recover.handle_of_a_closed_loop_has_released")
class HearsOfCollectedHandlesOnly(SmallMailbox):
    def is_gone(self, holder: Holder) -> bool:
        return holder.abandoned


@breaks(
    "recover.messages_of_a_dead_holder_come_back", "recover.many_messages_come_back_in_order", found_by_programs=True
)
class RecoversToTheEnd(SmallMailbox):
    def orphan(self, entry: Entry, holder: Holder) -> None:
        self.store[entry.id] = self.store.pop(entry.id)
        super().orphan(entry, holder)


@breaks(
    "recover.recovered_message_comes_in_a_batch_of_its_own",
    "recover.recovery_while_waiting",
    "recover.death_is_a_failed_delivery_of_one_alone",
    found_by_programs=True,
)
class SuspectsNobody(SmallMailbox):
    def orphan(self, entry: Entry, holder: Holder) -> None:
        super().orphan(entry, holder)
        entry.suspect = False


@breaks(
    "recover.death_counts_as_a_delivery",
    "recover.recovered_message_comes_in_a_batch_of_its_own",
    "recover.max_deliveries_of_the_dead_holder_decides",
    "recover.deaths_and_nacks_add_up",
    found_by_programs=True,
)
class DeathIsARelease(SmallMailbox):
    def orphan(self, entry: Entry, holder: Holder) -> None:
        self.give_back(entry)


@breaks(
    "recover.handle_of_a_closed_loop_has_released",
    "recover.collected_handle_has_released",
    "recover.collected_handle_blames_no_batch",
    found_by_programs=True,
)
class EveryEndIsADeath(SmallMailbox):
    """Being collected, or the end of the event loop, counts as the end of the process."""

    def recover_now(self) -> int:
        for entry in self.inflight():
            if isinstance(entry.holder, Holder) and self.is_gone(entry.holder):
                entry.holder.died = True
        return super().recover_now()


@breaks("recover.neighbours_are_not_blamed", "recover.rest_of_a_batch_is_not_blamed", found_by_programs=True)
class BlamesEverybody(SmallMailbox):
    def orphan(self, entry: Entry, holder: Holder) -> None:
        entry.alone = True
        super().orphan(entry, holder)


@breaks("recover.rest_of_a_batch_is_not_blamed", found_by_programs=True)
class BlamesTheLastOne(SmallMailbox):
    """A message counts as alone if its holder has no other when it dies."""

    def orphan(self, entry: Entry, holder: Holder) -> None:
        entry.alone = not any(other.holder is holder for other in self.store.values() if other is not entry)
        super().orphan(entry, holder)


@breaks("recover.message_alone_for_its_size_is_blamed")
class AloneByLimitOnly(SmallMailbox):
    """Decides before the batch is cut to its size in bytes."""

    async def take(self, limit: int | None = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        expected = len(self.queue()[: limit or self.options.batch_size])
        records = await super().take(limit, ack)
        for record in records:
            self.store[record.id].alone = expected == 1
        return records


@breaks("recover.nacked_message_is_no_suspect_any_more", found_by_programs=True)
class SuspectForGood(SmallMailbox):
    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        entry = self.store.get(message_id)
        suspect = entry is not None and entry.suspect
        nacked = await super().nack(message_id, delay=delay, error=error, failed=failed)
        if nacked and entry is not None:
            entry.suspect = suspect
        return nacked


@breaks("recover.released_suspect_is_a_suspect_still", found_by_programs=True)
class ReleaseClearsOfSuspicion(SmallMailbox):
    def give_back(self, entry: Entry) -> None:
        super().give_back(entry)
        entry.suspect = False


@breaks("recover.recover_says_how_many")
class CountsHoldersNotMessages(SmallMailbox):
    async def recover(self) -> int:
        return int(await super().recover() > 0)


@breaks("recover.live_holder_loses_nothing")
class LeaseDecides(SmallMailbox):
    """A holder that shows no sign of life for its lease is gone, even if it lives and works."""

    born: ClassVar[dict[Holder, tuple[float, float]]] = {}

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.born[self.holder] = (time.monotonic(), options.lease)

    def is_gone(self, holder: Holder) -> bool:
        born, lease = self.born.get(holder, (0.0, 1e9))
        return super().is_gone(holder) or time.monotonic() > born + lease


@breaks("recover.handles_race_to_recover")
class RecoverInTwoTransactions(SmallMailbox):
    """Finds the orphans in one, and brings them back in a second."""

    def recover_now(self) -> int:
        return 0

    async def recover(self) -> int:
        with self.call():
            found = [e for e in self.store.values() if isinstance(e.holder, Holder) and self.is_gone(e.holder)]
            await self.turn()
            for entry in found:
                entry.holder = None
            return len(found)


@breaks("recover.acks_around_a_death", found_by_programs=True)
class RecoversFromMemory(SmallMailbox):
    """What was handed out to a dead holder comes back, acked or not."""

    handed_out: ClassVar[dict[Holder, list[Entry]]] = {}

    def claim(self, entry: Entry) -> None:
        super().claim(entry)
        self.handed_out.setdefault(self.holder, []).append(entry)

    def recover_now(self) -> int:
        for holder in [holder for holder in self.handed_out if self.is_gone(holder)]:
            mine = [entry for entry in self.handed_out[holder] if entry.holder is holder]
            if all(self.database.store(self.name).get(entry.id, entry) is entry for entry in mine):
                self.store.update({entry.id: entry for entry in mine})
                del self.handed_out[holder]
        return super().recover_now()


@breaks("recover.new_handle_is_another_holder")
class TakesOverFromTheDead(SmallMailbox):
    """A newly opened handle continues as the one that died."""

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        for entry in self.inflight():
            if isinstance(entry.holder, Holder) and entry.holder.gone:
                entry.holder = self.holder

    def recover_now(self) -> int:
        return 0


@breaks("recover.id_is_known_after_a_death")
class ForgetsTheIdsOfTheDead(SmallMailbox):
    def knows(self, message_id: UUID) -> bool:
        entry = self.store.get(message_id)
        return super().knows(message_id) and not (
            entry is not None and isinstance(entry.holder, Holder) and entry.holder.gone
        )


@breaks("recover.deaths_in_other_mailboxes_do_not_matter", "recover.live_holder_loses_nothing", found_by_programs=True)
class OneDeathIsEverybodys(SmallMailbox):
    """When any handle of the database dies, everything inflight is orphaned."""

    holders: ClassVar[list[Holder]] = []

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.holders.append(self.holder)

    def is_gone(self, holder: Holder) -> bool:
        return any(one.gone for one in self.holders)


@breaks("release.cancelled_wait_strands_nothing")
class CancelledWaitStrands(SmallMailbox):
    """A wait claims in a separate call, whose result is dropped when nobody waits for it any more."""

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        self.forget(ack)
        while True:
            records = await asyncio.shield(asyncio.ensure_future(self.take_slowly(limit)))
            if records or not wait:
                return records
            await self.turn()

    async def take_slowly(self, limit: int | None) -> list[MessageRecord]:
        """So that a wait that is cancelled soon after messages have come is certain to drop them."""
        records = await self.take(limit)
        for _ in records * 20:
            await self.turn()
        return records
