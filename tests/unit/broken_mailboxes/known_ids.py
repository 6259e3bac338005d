"""Bugs in ids that stay known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from pymailbox.contract.archive import Archive, Remembered
from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import SmallArchive, SmallMailbox


@breaks(
    "dedupe.id_stays_known_after_the_ack",
    "dedupe.id_stays_known_whatever_happens",
    "dedupe.known_ids_in_a_batch",
    "dedupe.known_ids_of_sends",
    "dedupe.repeat_tells_no_observer",
    "dedupe.many_ids_run_out",
    "transfer.headers_and_known_ids_travel",
    found_by_programs=True,
)
class ForgetsIds(SmallMailbox):
    def remembers(self, message_id: UUID) -> bool:
        return False


@breaks("dedupe.id_stays_known_after_the_ack", found_by_programs=True)
class ForgetsIdsWithTheAck(SmallMailbox):
    def forget(self, ids: Iterable[UUID]) -> int:
        ids = list(ids)
        for message_id in ids:
            self.memory.pop(message_id, None)
        return super().forget(ids)


@breaks("dedupe.id_stays_known_whatever_happens")
class ForgetsIdsWithAPurge(SmallMailbox):
    async def purge(self) -> int:
        self.memory.clear()
        return await super().purge()


@breaks("dedupe.id_is_free_when_the_time_is_over")
class NeverForgetsIds(SmallMailbox):
    def remembers(self, message_id: UUID) -> bool:
        return message_id in self.memory


@breaks("dedupe.id_is_free_when_the_time_is_over")
class ExtendsWithEachRepeat(SmallMailbox):
    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        message_id, stored = super().put(message)
        if message.dedupe_ms:
            self.memory[message_id] = self.due_after(message.dedupe_ms)
        return message_id, stored


@breaks("dedupe.message_outlives_the_time")
class LooksAtItsMemoryAlone(SmallMailbox):
    def knows(self, message_id: UUID) -> bool:
        return message_id not in self.memory and super().knows(message_id)


@breaks("dedupe.ids_without_the_option_are_free_at_once", found_by_programs=True)
class RemembersEveryId(SmallMailbox):
    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        return super().put(message._replace(dedupe_ms=message.dedupe_ms or 600_000))


@breaks("dedupe.ids_without_the_option_are_free_at_once")
class OneMemoryForAllMailboxes(SmallMailbox):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.memory = self.database.memories.setdefault("", {})


@breaks("dedupe.message_with_a_known_id_may_go_on_under_it", "consuming.sent_on_after_an_ack_by_hand")
class LosesWhatIsSentOnUnderAKnownId(SmallMailbox):
    def put_sent(self, message: PreparedMessage, sent_on: UUID | None) -> bool:
        return super().put_sent(message, None)


@breaks("dedupe.message_with_a_known_id_may_go_on_under_it")
class RemembersWhatWasSentOnForItsOwnTime(SmallMailbox):
    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        message_id, stored = super().put(message)
        if stored and message.dedupe_ms:
            self.memory[message_id] = self.due_after(message.dedupe_ms)
        return message_id, stored


@breaks("dedupe.many_ids_run_out")
class RemembersAHundred(SmallMailbox):
    def remembers(self, message_id: UUID) -> bool:
        return message_id in list(self.memory)[:100] and super().remembers(message_id)


@breaks("dedupe.bad_dedupe_for_is_refused")
class TakesAnyTime(SmallMailbox):
    def enqueue(self, *arguments: Any, dedupe_for: Any = None, **keywords: Any) -> Any:
        return super().enqueue(*arguments, **keywords)


@breaks("transfer.headers_and_known_ids_travel")
class ExportsNoIds(SmallMailbox):
    def _archive(self) -> Archive:
        class WithoutIds(SmallArchive):
            async def remembered(self, after: UUID | None) -> list[Remembered]:
                return []

        return WithoutIds(self)
