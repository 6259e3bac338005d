"""Bugs in what is stored."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Iterable
from datetime import datetime
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

from pymailbox import NewMessage
from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, SmallMailbox


@breaks("enqueue.buffer_changed_while_the_call_waits", "enqueue_many.batch_buffers_changed_while_the_call_waits")
class CopiesWhenItRuns(SmallMailbox):
    """The usual ``async def``: arguments are read when the event loop gets there."""

    def enqueue(self, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        async def later() -> UUID:
            return await super(CopiesWhenItRuns, self).enqueue(*arguments, **keywords)

        return later()

    def enqueue_many(self, messages: Iterable[NewMessage]) -> Coroutine[Any, Any, list[UUID]]:
        async def later() -> list[UUID]:
            return await super(CopiesWhenItRuns, self).enqueue_many(messages)

        return later()


@breaks("enqueue.buffer_changed_after_the_call")
class KeepsTheBuffer(SmallMailbox):
    """Stores what it was given, without a copy."""

    def enqueue(self, sender: Any, payload: Any, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        async def alias() -> UUID:
            message_id = await super(KeepsTheBuffer, self).enqueue(sender, payload, *arguments, **keywords)
            self.store[message_id].sender, self.store[message_id].payload = sender, payload
            return message_id

        return alias()


@breaks("enqueue.message_comes_back_as_it_was_sent", "enqueue.empty_sender_and_payload", "enqueue.bytes_like_values")
class ReadsText(SmallMailbox):
    """Hands bytes out as text."""

    def claim(self, entry: Entry) -> None:
        super().claim(entry)
        entry.payload = entry.payload.decode("latin-1")  # type: ignore[assignment]


@breaks("enqueue.every_byte_value_and_many_sizes", "dequeue.message_of_64_mib_comes_alone", found_by_programs=True)
class CutsAt64KiB(SmallMailbox):
    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        return super().put(message._replace(payload=message.payload[: 64 * 1024]))


@breaks("enqueue.empty_sender_and_payload", "dequeue.batch_holds_64_mib_at_most", found_by_programs=True)
class NothingIsNoMessage(SmallMailbox):
    """Truthiness instead of a test for ``None``."""

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        return super().put(message) if message.payload else (self.make_id(), False)


@breaks("enqueue.bytes_like_values", "enqueue.buffer_changed_after_the_call")
class TakesBytesOnly(SmallMailbox):
    def enqueue(self, sender: Any, payload: Any, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        if isinstance(sender, memoryview) or isinstance(payload, memoryview):
            raise TypeError("no memoryview, please")
        return super().enqueue(sender, payload, *arguments, **keywords)


@breaks("enqueue.created_at_is_aware_and_utc")
class NaiveTime(SmallMailbox):
    def claim(self, entry: Entry) -> None:
        super().claim(entry)
        entry.created_at = entry.created_at.replace(tzinfo=None)


@breaks("peek.peek_shows_records_as_they_are")
class TimeOfTheHandOut(SmallMailbox):
    """``created_at`` is when somebody asked for the message."""

    def claim(self, entry: Entry) -> None:
        super().claim(entry)
        entry.created_at = datetime.now(entry.created_at.tzinfo)


@breaks(
    "enqueue.ids_are_distinct",
    "message_ids.ids_like_those_to_come",
    "message_ids.ids_like_those_to_come_in_one_batch",
    found_by_programs=True,
)
class CountsItsIds(SmallMailbox):
    """Each mailbox makes the same consecutive ids, without checking what is there."""

    newest: ClassVar[dict[str, int]] = {}

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        if message.message_id is not None:
            return super().put(message)
        made = UUID(int=self.newest.get(self.name, 1 << 100) + 1)
        self.newest[self.name] = made.int
        self.store.pop(made, None)
        return super().put(message._replace(message_id=made))


@breaks("opening.ids_are_not_used_again_after_reopening")
class NumbersTheBacklog(SmallMailbox):
    """An id is a mailbox and a place, and an emptied mailbox begins again at the first place."""

    def make_id(self) -> UUID:
        base = uuid.uuid5(uuid.NAMESPACE_URL, self.name).int >> 32 << 32
        return next(made for number in count() if (made := UUID(int=base + number)) not in self.store)


@breaks(
    "enqueue.committed_before_it_returns",
    "status.counts_follow_every_verb",
    "observer.observer_is_called_before_enqueue_returns",
    "observer.three_enqueues_make_three_calls",
    "observer.observer_is_told_what_is_queued",
)
class ReturnsBeforeItCommits(SmallMailbox):
    """The promise is resolved when the request succeeds, and the commit comes later."""

    later: ClassVar[set[asyncio.Task[Any]]] = set()

    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        self.enter()
        known = [m._replace(message_id=self.make_id() if m.message_id is None else m.message_id) for m in messages]
        commit = asyncio.ensure_future(self._commit(known))
        self.later.add(commit)
        commit.add_done_callback(self.later.discard)
        return [message.message_id for message in known if message.message_id is not None]

    async def _commit(self, messages: list[PreparedMessage]) -> None:
        await asyncio.sleep(0.01)
        if not self._is_closed:
            await super().store_all(messages)


@breaks("enqueue.refused_enqueue_harms_no_later_one", "observer.other_verbs_are_no_calls")
class GivesUpAfterAnError(SmallMailbox):
    """One rejected write makes every later one a silent no-op that still calls the observer."""

    has_failed = False

    def enqueue(self, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        try:
            return super().enqueue(*arguments, **keywords)
        except TypeError:
            self.has_failed = True
            self.observe(0)
            raise

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        return (self.make_id(), True) if self.has_failed else super().put(message)
