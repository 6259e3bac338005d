"""Bugs in nack."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, Holder, SmallMailbox


@breaks("nack.nacked_message_has_its_old_place", found_by_programs=True)
class NackToTheEnd(SmallMailbox):
    def fail(self, entry: Entry, holder: Holder, cause: str) -> None:
        self.store[entry.id] = self.store.pop(entry.id)
        super().fail(entry, holder, cause)


@breaks(
    "nack.nack_counts_as_a_delivery",
    "dead_letters.failed_deliveries_make_a_dead_letter",
    "dead_letters.max_deliveries_is_the_last_holders",
    found_by_programs=True,
)
class NackIsARelease(SmallMailbox):
    def fail(self, entry: Entry, holder: Holder, cause: str) -> None:
        self.give_back(entry)


@breaks(
    "nack.nack_of_what_is_not_held_is_false",
    "nack.nack_of_what_another_has_since_is_false",
    "dead_letters.dead_letter_of_what_is_not_held_is_false",
    "ack_and_send.what_is_not_held_is_not_sent_on",
    found_by_programs=True,
)
class DecidesOverWhatOthersHold(SmallMailbox):
    def held_as(self, message_id: UUID) -> Entry | None:
        return next((entry for entry in self.inflight() if entry.id == message_id), None)


@breaks("nack.second_nack_is_false", "nack.nack_against_ack", found_by_programs=True)
class NackInTwoTransactions(SmallMailbox):
    """Reads in one transaction, and puts what it read back in a second, acked or not."""

    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        entry = self.held_as(message_id)
        await self.turn()
        await self.turn()
        if entry is None:
            return False
        self.store[message_id] = entry
        self.fail(entry, self.holder, "")
        return True


@breaks("nack.nack_with_a_delay", found_by_programs=True)
class NackWithoutDelay(SmallMailbox):
    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        return await super().nack(message_id, error=error, failed=failed)


@breaks("nack.cancelled_nack_can_be_repeated")
class CancelledNackStrands(SmallMailbox):
    """Takes a message from what the handle holds, and queues it a moment later."""

    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        entry = self.held_as(message_id)
        if entry is not None:
            entry.holder = "on its way"
            await asyncio.sleep(0)
            entry.holder = self.holder
        return await super().nack(message_id, delay=delay, error=error, failed=failed)
