"""Bugs in get, promote, offsets, due times and the counts that go with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from pymailbox import DeadLetter, MailboxStats, MessageRecord
from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, SmallMailbox


@breaks("get.get_shows_a_message_wherever_it_is", "get.get_by_an_id_of_the_senders", found_by_programs=True)
class FindsNothing(SmallMailbox):
    def find(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        return None


@breaks("get.get_shows_a_message_wherever_it_is", "get.get_changes_nothing", found_by_programs=True)
class GetHandsOut(SmallMailbox):
    def find(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        if message_id in self.store and self.store[message_id].holder is None:
            self.claim(self.store[message_id])
        return super().find(message_id)


@breaks("get.get_shows_a_dead_letter", found_by_programs=True)
class FindsTheLivingAlone(SmallMailbox):
    def find(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        return None if message_id in self.dead else super().find(message_id)


@breaks("get.id_to_get_must_be_a_uuid")
class FindsByText(SmallMailbox):
    async def get(self, message_id: Any) -> MessageRecord | DeadLetter | None:
        return self.find(message_id)


@breaks("promote.promote_makes_all_due", "promote.promote_of_some", found_by_programs=True)
class PromotesNothing(SmallMailbox):
    def promote_now(self, entries: list[Entry]) -> int:
        return sum(not self.is_due(entry) for entry in entries)


@breaks("promote.promote_makes_all_due", found_by_programs=True)
class PromotesToTheEnd(SmallMailbox):
    def promote_now(self, entries: list[Entry]) -> int:
        for entry in entries:
            if not self.is_due(entry):
                self.store[entry.id] = self.store.pop(entry.id)
        return super().promote_now(entries)


@breaks("promote.promote_of_some", found_by_programs=True)
class PromotesEverything(SmallMailbox):
    def promote_now(self, entries: list[Entry]) -> int:
        return super().promote_now(list(self.store.values()) if entries else [])


@breaks("promote.promote_wakes_a_waiting_dequeue")
class PromotesForLater(SmallMailbox):
    """A promoted message becomes due when somebody looks at the counts."""

    def promote_now(self, entries: list[Entry]) -> int:
        self.promoted = [entry for entry in entries if not self.is_due(entry)]
        return len(self.promoted)

    async def status(self) -> MailboxStats:
        super().promote_now(getattr(self, "promoted", []))
        return await super().status()


@breaks("promote.promote_tells_no_observer")
class PromotionIsNews(SmallMailbox):
    def promote_now(self, entries: list[Entry]) -> int:
        promoted = super().promote_now(entries)
        self.observe(len(self.waiting()))
        return promoted


@breaks("promote.ids_to_promote_must_be_uuids")
class PromotesByAnything(SmallMailbox):
    async def promote(self, ids: Iterable[Any] | None = None) -> int:
        return self.promote_now(list(self.store.values()))


@breaks("peek.offset_passes_over", "peek.offset_must_be_a_count", found_by_programs=True)
class PeeksFromTheBeginning(SmallMailbox):
    async def peek(self, limit: Any = None, *, status: Any = None, offset: Any = 0) -> list[MessageRecord]:
        return await super().peek(limit, status=status)


@breaks("dead_letters.offset_passes_over_the_newest", found_by_programs=True)
class ListsLettersFromTheBeginning(SmallMailbox):
    async def dead_letters(self, limit: Any = None, *, offset: Any = 0) -> list[DeadLetter]:
        return await super().dead_letters(limit)


@breaks("peek.due_time_is_shown", "get.get_changes_nothing", found_by_programs=True)
class ShowsNoDueTimes(SmallMailbox):
    async def peek(self, limit: Any = None, *, status: Any = None, offset: Any = 0) -> list[MessageRecord]:
        shown = await super().peek(limit, status=status, offset=offset)
        return [replace(record, due_at=None) for record in shown]

    def find(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        found = super().find(message_id)
        return replace(found, due_at=None) if isinstance(found, MessageRecord) else found


@breaks("status.delayed_messages_are_counted", found_by_programs=True)
class CountsNoDelays(SmallMailbox):
    async def status(self) -> MailboxStats:
        return replace(await super().status(), delayed_messages=0)


@breaks("status.delayed_messages_are_counted")
class CountsDelaysForever(SmallMailbox):
    """As one that was once delayed."""

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        self.delayed = getattr(self, "delayed", 0) + (message.delay_ms > 0)
        return super().put(message)

    async def status(self) -> MailboxStats:
        return replace(await super().status(), delayed_messages=getattr(self, "delayed", 0))


@breaks("status.oldest_is_told", "status.delayed_message_can_be_the_oldest")
class TellsTheNewest(SmallMailbox):
    async def status(self) -> MailboxStats:
        stats = await super().status()
        ages = [entry.created_at for entry in self.store.values() if entry.holder is None]
        return replace(stats, oldest_queued_at=max(ages, default=None))


@breaks("status.delayed_message_can_be_the_oldest")
class TellsTheOldestThatIsDue(SmallMailbox):
    async def status(self) -> MailboxStats:
        ages = [entry.created_at for entry in self.queue()]
        return replace(await super().status(), oldest_queued_at=min(ages, default=None))


@breaks("status.ever_queued_only_grows", found_by_programs=True)
class CountsWhatIsThere(SmallMailbox):
    async def status(self) -> MailboxStats:
        return replace(await super().status(), ever_queued=len(self.store))


@breaks(
    "nack.nack_that_is_no_failure",
    "nack.nack_that_is_no_failure_gives_nothing_up",
    "nack.nack_that_is_no_failure_with_a_delay",
    "nack.failed_must_be_a_bool",
    found_by_programs=True,
)
class EveryNackIsAFailure(SmallMailbox):
    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        return await super().nack(message_id, delay=delay, error=error)


@breaks("nack.nack_that_is_no_failure_with_a_delay", found_by_programs=True)
class ComesAgainAtOnceWithoutAFailure(SmallMailbox):
    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        return await super().nack(message_id, delay=delay if failed else None, error=error, failed=failed)


# -- changes -----------------------------------------------------------------------------------------------------------


@breaks(
    "changes.changes_follow_every_verb",
    "changes.changes_follow_each_count",
    "changes.changes_show_a_death",
    "changes.changes_show_due_messages",
    "changes.changes_are_merged",
    "changes.changes_end_when_the_mailbox_is_closed",
    "changes.several_loops_see_the_same",
    found_by_programs=True,
)
class ShowsTheFirstStateOnly(SmallMailbox):
    async def look_for_changes(self) -> AsyncIterator[MailboxStats]:
        yield await self.status()
        await asyncio.Event().wait()


@breaks("changes.changes_follow_each_count", "changes.changes_show_due_messages")
class ShowsWhatIsQueuedAndInflight(SmallMailbox):
    async def look_for_changes(self) -> AsyncIterator[MailboxStats]:
        last = None
        async for stats in super().look_for_changes():
            if (shown := (stats.queued_messages, stats.inflight_messages, stats.queued_by_priority)) != last:
                last = shown
                yield stats


@breaks("changes.changes_begin_with_now")
class BeginsWithTheNextChange(SmallMailbox):
    async def look_for_changes(self) -> AsyncIterator[MailboxStats]:
        stats = super().look_for_changes()
        await anext(stats)
        async for one in stats:
            yield replace(one, queued_messages=one.queued_messages + 1)


@breaks("changes.changes_are_merged")
class ShowsEveryState(SmallMailbox):
    async def look_for_changes(self) -> AsyncIterator[MailboxStats]:
        while not self._is_closed:
            yield await self.status()
