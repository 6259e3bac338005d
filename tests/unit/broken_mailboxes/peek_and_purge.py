"""Bugs in peek and purge."""

from __future__ import annotations

from typing import Any

from pymailbox import MessageRecord
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import SmallMailbox, record_of


@breaks(
    "peek.peek_changes_nothing",
    "peek.peek_shows_records_as_they_are",
    "release.release_takes_the_hand_out_back",
    found_by_programs=True,
)
class PeekCountsAsDelivery(SmallMailbox):
    async def peek(self, limit: Any = None, *, status: Any = None, offset: Any = 0) -> list[MessageRecord]:
        for entry in self.queue():
            entry.delivery_count += 1
        return await super().peek(limit, status=status, offset=offset)


@breaks("peek.peek_order", "peek.peek_of_an_empty_mailbox")
class PeekShowsTheStore(SmallMailbox):
    """Everything in the order of the store, and an error if there is nothing."""

    async def peek(self, limit: Any = None, *, status: Any = None, offset: Any = 0) -> list[MessageRecord]:
        shown = [record_of(entry) for entry in list(self.store.values())[: limit or self.options.batch_size]]
        if not shown:
            raise LookupError("nothing to see")
        return shown


@breaks("purge.purge_leaves_what_is_inflight", "message_ids.id_is_free_after_a_purge", found_by_programs=True)
class PurgesEverything(SmallMailbox):
    async def purge(self) -> int:
        number = await super().purge()
        self.store.clear()
        return number


@breaks("purge.purge_deletes_what_is_queued", "purge.purged_mailbox_goes_on", "message_ids.id_is_free_after_a_purge")
class PurgesByHiding(SmallMailbox):
    """Purged messages are marked, not deleted, and counted for ever."""

    async def purge(self) -> int:
        self.enter()
        queue = self.queue()
        for entry in queue:
            entry.holder = "purged"
        return len(queue)
