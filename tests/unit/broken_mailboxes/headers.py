"""Bugs in headers and JSON."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from pymailbox import DeadLetter, MessageRecord, NewMessage
from pymailbox.contract.archive import Archive, WholeMessage
from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, SmallArchive, SmallMailbox


@breaks(
    "headers.headers_come_with_the_message",
    "headers.headers_of_a_record_are_read_only",
    "headers.headers_are_copied_at_the_call",
    "headers.headers_in_a_batch",
    "headers.headers_stay_through_a_life",
    "headers.headers_beside_id_and_delay",
    "headers.headers_of_what_is_sent",
    "headers.largest_headers",
    "headers.json_there_and_back",
    "headers.json_in_a_batch",
    "transfer.headers_and_known_ids_travel",
    "asking.answer_is_the_reply",
    found_by_programs=True,
)
class DropsHeaders(SmallMailbox):
    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        return super().put(message._replace(headers=b""))


@breaks("headers.headers_stay_through_a_life", found_by_programs=True)
class RedrivesWithoutHeaders(SmallMailbox):
    def revive(self, entry: Entry) -> None:
        super().revive(replace(entry, headers=b""))


@breaks("headers.headers_stay_through_a_life", found_by_programs=True)
class BuriesWithoutHeaders(SmallMailbox):
    def bury(self, entry: Entry, reason: str) -> None:
        super().bury(entry, reason)
        self.dead[entry.id] = self.dead[entry.id]._replace(entry=replace(entry, headers=b""))


@breaks("headers.headers_are_copied_at_the_call")
class ReadsHeadersLater(SmallMailbox):
    def enqueue(self, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        async def later() -> UUID:
            return await super(ReadsHeadersLater, self).enqueue(*arguments, **keywords)

        return later()


@breaks("headers.headers_of_a_record_are_read_only")
class HandsOutItsOwnHeaders(SmallMailbox):
    async def take(self, *arguments: Any) -> list[MessageRecord]:
        return [replace(record, headers=dict(record.headers)) for record in await super().take(*arguments)]


@breaks("headers.headers_in_a_batch", found_by_programs=True)
class OneSetOfHeadersForABatch(SmallMailbox):
    def enqueue_many(self, messages: Iterable[NewMessage]) -> Coroutine[Any, Any, list[UUID]]:
        batch = list(messages)
        first = next((message.headers for message in batch if message.headers), None)
        return super().enqueue_many([replace(message, headers=first) for message in batch])


@breaks("headers.largest_headers", "headers.bad_headers_are_refused")
class CutsLongHeaders(SmallMailbox):
    """Stores a part of what it is given, whatever that is."""

    def enqueue(self, *arguments: Any, headers: Any = None, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        texts = {str(name)[:200]: str(text)[:200] for name, text in list(dict(headers or {}).items())[:20]}
        return super().enqueue(*arguments, headers=texts, **keywords)


@breaks("headers.json_there_and_back", "headers.what_is_no_json")
class WritesReprs(SmallMailbox):
    def enqueue_json(self, value: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        return self.enqueue(keywords.get("sender", b""), repr(value).encode("utf-8", "replace"))


@breaks("headers.json_takes_what_enqueue_takes")
class ForgetsTheIdsOfJson(SmallMailbox):
    def enqueue_json(self, value: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        return super().enqueue_json(value, **keywords | {"dedupe_for": None})


@breaks("headers.json_in_a_batch")
class CountsBytesOfText(SmallMailbox):
    """A payload ends where its first bracket closes."""

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        return super().put(message._replace(payload=message.payload.split(b"]")[0]))


@breaks("transfer.headers_and_known_ids_travel")
class ExportsLettersWithoutHeaders(SmallMailbox):
    def _archive(self) -> Archive:
        class Bare(SmallArchive):
            def dead(self) -> list[WholeMessage]:
                return [replace(message, headers=b"") for message in super().dead()]

        return Bare(self)


@breaks("get.get_shows_a_dead_letter")
class FindsDeadLettersWithoutTheirError(SmallMailbox):
    def find(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        found = super().find(message_id)
        return replace(found, error=None) if isinstance(found, DeadLetter) else found


@breaks("headers.headers_come_with_the_message")
class SortsHeadersIntoLowerCase(SmallMailbox):
    async def take(self, *arguments: Any) -> list[MessageRecord]:
        return [
            replace(record, headers={name.strip().lower(): text for name, text in record.headers.items()})
            for record in await super().take(*arguments)
        ]
