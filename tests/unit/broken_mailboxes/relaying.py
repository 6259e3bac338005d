"""Bugs that show themselves when messages are relayed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any
from uuid import UUID

from pymailbox import Mailbox, MailboxStats, MessageRecord
from pymailbox.contract.arguments import Options, PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.broken_mailboxes.steps import Sends
from tests.unit.example_mailboxes import Database, Entry, Holder, Neighbours, SmallMailbox


@breaks("relaying.each_message_arrives_as_it_was")
class SendsOnWithoutHeaders(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        return await super().send_on(message_id, [(to, one._replace(headers=b"")) for to, one in sends])


@breaks("relaying.order_is_kept")
class SendsBackwards(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        return await super().send_on(message_id, sends[::-1])


@breaks("relaying.id_that_comes_again_is_a_new_message", "relaying.end_of_a_relay_leaves_what_has_an_id_again")
class KnowsIdsOnly(SmallMailbox):
    """A late acknowledgement hits whatever has the id by now."""

    async def _ack_late(self, records: list[MessageRecord]) -> None:
        await self.remove([record.id for record in records])


@breaks("relaying.relays_both_ways_at_once", "relaying.sources_of_one_name_have_their_own_cursors")
class OneCursorForAll(SmallMailbox):
    class neighbours(Neighbours):  # noqa: N801
        async def open(self, name: str, *, relaxed: bool = False, lease: float | None = None) -> Mailbox:
            return await super().open("relay:" if name.startswith("relay:") else name)

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self._nearby = self.neighbours(database)


@breaks(
    "relaying.hop_before_a_death_is_not_repeated",
    "relaying.acknowledgements_that_are_lost_double_nothing",
    "relaying.hop_whose_outcome_is_unknown",
)
class CursorsAreForgotten(SmallMailbox):
    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        return super().put(message._replace(payload=message.payload[:8]) if self.name.startswith("relay:") else message)


@breaks("relaying.one_relay_works_at_a_time")
class EverybodyGetsTheCursor(SmallMailbox):
    def queue(self) -> list[Entry]:
        return list(self.store.values()) if self.name.startswith("relay:") else super().queue()


@breaks("relaying.another_relay_takes_over_after_a_death")
class TheDeadKeepTheirCursor(SmallMailbox):
    def is_gone(self, holder: Holder) -> bool:
        return not self.name.startswith("relay:") and super().is_gone(holder)


@breaks("relaying.what_a_dead_relay_had_comes_first")
class DeathsAreReleases(SmallMailbox):
    """Nobody sees that a cursor's holder has died."""

    def orphan(self, entry: Entry, holder: Holder) -> None:
        self.give_back(entry)


@breaks("relaying.nothing_is_claimed_while_nothing_can_be_sent", "relaying.status_survives_as_data")
class CountsOneMore(SmallMailbox):
    async def status(self) -> MailboxStats:
        stats = await super().status()
        return replace(stats, inflight_messages=stats.inflight_messages + 1)


@breaks("relaying.source_that_cannot_be_reached")
class TakesOneHop(SmallMailbox):
    """The next ones are lost, though they seem to have been made."""

    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        self.database.counters["hops"] += len(sends) > 1
        return self.database.counters["hops"] > 1 or await super().send_on(message_id, sends)


@breaks("relaying.full_target_is_waited_for")
class KeepsWhatIsReleased(SmallMailbox):
    async def _release(self, ids: list[UUID]) -> None:
        self.enter()


@breaks("relaying.message_that_is_refused_becomes_a_dead_letter")
class BuriesWithoutAReason(SmallMailbox):
    def bury(self, entry: Entry, reason: str) -> None:
        super().bury(entry, "")


@breaks("relaying.closed_mailbox_is_named")
class ClosedIsOpen(SmallMailbox):
    async def status(self) -> MailboxStats:
        was_closed, self._is_closed = self._is_closed, False
        try:
            return await super().status()
        finally:
            self._is_closed = was_closed


@breaks("relaying.bad_arguments_are_refused")
class EachHandleIsAMailbox(SmallMailbox):
    @property
    def _place(self) -> Hashable:
        return self


@breaks("relaying.target_that_cannot_take_each_once")
class StoresTheFirstOfABatch(SmallMailbox):
    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        stored: Any = await super().store_all(messages[:1])
        return [*stored, *(message.message_id for message in messages[1:])]
