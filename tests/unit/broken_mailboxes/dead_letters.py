"""Bugs in dead letters."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pymailbox import DeadLetter, MailboxStats
from pymailbox.contract.arguments import Options
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, Entry, Holder, Letter, SmallMailbox


@breaks("dead_letters.no_dead_letters_in_a_new_mailbox", "dead_letters.dead_letters_survive_reopening")
class NoLettersIsAnError(SmallMailbox):
    async def dead_letters(self, limit: Any = None, *, offset: Any = 0) -> list[DeadLetter]:
        letters = await super().dead_letters(limit, offset=offset)
        if not letters:
            raise LookupError
        return letters


@breaks("dead_letters.dead_letter_says_what_and_why")
class CutsReasons(SmallMailbox):
    def bury(self, entry: Entry, reason: str) -> None:
        super().bury(entry, reason.encode("ascii", "replace").decode()[:1000])


@breaks("dead_letters.dead_letter_says_what_and_why", found_by_programs=True)
class LettersWereNeverHandedOut(SmallMailbox):
    """The record of a dead letter says that it is queued, without a delivery."""

    def bury(self, entry: Entry, reason: str) -> None:
        super().bury(entry, reason)
        entry.delivery_count = 0


@breaks(
    "dead_letters.dead_letters_are_not_handed_out",
    "dead_letters.ack_of_a_dead_letter_is_false",
    "dead_letters.redrive_puts_it_at_the_end_as_new",
    found_by_programs=True,
)
class LettersStayInflight(SmallMailbox):
    """A dead letter is a message that the mailbox itself holds."""

    def bury(self, entry: Entry, reason: str) -> None:
        super().bury(entry, reason)
        entry.holder = "dead"
        self.store[entry.id] = entry


@breaks("dead_letters.newest_dead_letter_comes_first", found_by_programs=True)
class OldestLetterFirst(SmallMailbox):
    async def dead_letters(self, limit: Any = None, *, offset: Any = 0) -> list[DeadLetter]:
        letters = await super().dead_letters(1_000_000)
        return letters[::-1][: limit or self.options.batch_size]


@breaks("dead_letters.newest_dead_letter_comes_first")
class ShowsAllLetters(SmallMailbox):
    async def dead_letters(self, limit: Any = None, *, offset: Any = 0) -> list[DeadLetter]:
        await super().dead_letters(limit, offset=offset)
        return await super().dead_letters(1_000_000)


@breaks(
    "dead_letters.failed_deliveries_make_a_dead_letter",
    "dead_letters.redriven_message_has_no_past",
    "recover.death_is_a_failed_delivery_of_one_alone",
    found_by_programs=True,
)
class NeverGivesUp(SmallMailbox):
    def fail(self, entry: Entry, holder: Holder, cause: str) -> None:
        super().fail(entry, Holder(holder.loop, None), cause)


@breaks(
    "dead_letters.max_deliveries_is_the_last_holders",
    "recover.max_deliveries_of_the_dead_holder_decides",
    found_by_programs=True,
)
class StrictestLimitForAll(SmallMailbox):
    """The lowest ``max_deliveries`` of all handles that are open."""

    def fail(self, entry: Entry, holder: Holder, cause: str) -> None:
        limits = [h.options.max_deliveries for h in self.database.handles if h.name == self.name]
        lowest = min((limit for limit in limits if limit is not None), default=holder.max_deliveries)
        super().fail(entry, Holder(holder.loop, lowest), cause)


@breaks(
    "dead_letters.last_error_is_kept",
    "dead_letters.failed_deliveries_make_a_dead_letter",
    "recover.deaths_and_nacks_add_up",
    found_by_programs=True,
)
class ForgetsErrors(SmallMailbox):
    def bury(self, entry: Entry, reason: str) -> None:
        entry.error = None
        super().bury(entry, reason)


@breaks("dead_letters.release_is_no_failed_delivery", found_by_programs=True)
class ReleaseIsAFailure(SmallMailbox):
    def give_back(self, entry: Entry) -> None:
        super().give_back(entry)
        self.fail(entry, self.holder, "")


@breaks("dead_letters.redrive_puts_it_at_the_end_as_new", found_by_programs=True)
class RedriveToTheFront(SmallMailbox):
    def revive(self, entry: Entry) -> None:
        rest = dict(self.store)
        self.store.clear()
        super().revive(entry)
        self.store.update(rest)


@breaks(
    "dead_letters.redriven_message_has_no_past",
    "dead_letters.redrive_puts_it_at_the_end_as_new",
    found_by_programs=True,
)
class RedriveKeepsThePast(SmallMailbox):
    def revive(self, entry: Entry) -> None:
        entry.holder = None
        self.store[entry.id] = entry


@breaks("dead_letters.redrive_and_discard_are_true_once", found_by_programs=True)
class LettersAreCopied(SmallMailbox):
    """A redriven message stays among the dead letters."""

    async def redrive(self, message_id: UUID) -> bool:
        letter = self.dead.get(message_id)
        redriven = await super().redrive(message_id)
        if letter is not None:
            self.dead[message_id] = letter
        return redriven


@breaks("dead_letters.only_dead_letters_are_redriven_or_discarded", found_by_programs=True)
class DiscardsAnything(SmallMailbox):
    async def discard(self, message_id: UUID) -> bool:
        return await super().discard(message_id) or await self.ack(message_id)


@breaks("dead_letters.ack_of_a_dead_letter_is_false", found_by_programs=True)
class AcksLetters(SmallMailbox):
    async def remove(self, ids: list[UUID]) -> int:
        return await super().remove(ids) + sum(self.dead.pop(message_id, None) is not None for message_id in ids)


@breaks("dead_letters.id_of_a_dead_letter_is_known", found_by_programs=True)
class KnowsLivingIdsOnly(SmallMailbox):
    def knows(self, message_id: UUID) -> bool:
        return message_id in self.store


@breaks(
    "dead_letters.redriven_message_keeps_its_id",
    "dead_letters.redrive_puts_it_at_the_end_as_new",
    found_by_programs=True,
)
class RedriveUnderANewId(SmallMailbox):
    def revive(self, entry: Entry) -> None:
        entry.id = self.make_id()
        super().revive(entry)


@breaks("dead_letters.dead_letters_survive_reopening", found_by_programs=True)
class LettersOfTheHandle(SmallMailbox):
    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.dead: dict[UUID, Letter] = {}


@breaks("dead_letters.dead_letter_against_ack")
class DeadLetterInTwoTransactions(SmallMailbox):
    """Checks whether it holds the message, and moves it a moment later."""

    async def dead_letter(self, message_id: UUID, reason: str) -> bool:
        entry = self.held_as(message_id)
        await self.turn()
        await self.turn()
        if entry is not None:
            self.store[message_id] = entry
        return await super().dead_letter(message_id, reason)


@breaks("dead_letters.stats_with_dead_letters_cross_as_json", found_by_programs=True)
class CountsNoLetters(SmallMailbox):
    async def status(self) -> MailboxStats:
        stats = await super().status()
        return MailboxStats(stats.queued_messages, stats.inflight_messages, stats.queued_by_priority)
