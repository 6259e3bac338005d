"""A mailbox as its verbs show it: for backends that have no archive of their own.

What no verb returns or accepts is lost here: counts of failures, ids that stay known, and on the way in
``created_at``, delivery counts and dead letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from .archive import Adopted, Archive, Death, Page, Section, WholeMessage
from .capabilities import Capability
from .headers import unpack_headers
from .moments import milliseconds, now_in_ms
from .values import DeadLetter, MessagePriority, MessageRecord, MessageStatus, NewMessage

if TYPE_CHECKING:
    from .mailbox import Mailbox

_MORE = 1000
"""Messages that may have arrived between counting and looking."""


class PlainArchive(Archive):
    """Looks at everything at once, since ``peek`` cannot continue where it stopped."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._known: set[UUID] | None = None

    async def page(self, section: Section, after: int, until: int | None) -> Page:
        messages = await (self._dead() if section is None else self._living(section))
        return Page(messages, len(messages), len(messages))

    async def adopt(self, messages: Sequence[WholeMessage]) -> list[Adopted]:
        if self._known is None:
            everything = [*MessagePriority, None]
            self._known = {
                message.id for section in everything for message in (await self.page(section, 0, None)).messages
            }
        now = now_in_ms()
        outcomes = [self._outcome(message) for message in messages]
        new = [
            NewMessage(
                message.sender,
                message.payload,
                message.priority,
                message.id,
                (message.due - now) / 1000 if message.due is not None and message.due > now else None,
                unpack_headers(message.headers) if message.headers else None,
            )
            for message, outcome in zip(messages, outcomes, strict=True)
            if outcome is Adopted.STORED
        ]
        if new:
            await self._mailbox.enqueue_many(new)
        return outcomes

    def _outcome(self, message: WholeMessage) -> Adopted:
        assert self._known is not None
        if message.id in self._known:
            return Adopted.KNOWN
        if message.death is not None:
            return Adopted.REFUSED
        if message.headers and Capability.HEADERS not in self._mailbox.capabilities:
            return Adopted.REFUSED
        self._known.add(message.id)
        return Adopted.STORED

    async def _living(self, priority: MessagePriority) -> list[WholeMessage]:
        stats = await self._mailbox.status()
        records = await self._mailbox.peek(stats.queued_messages + stats.inflight_messages + _MORE)
        # what is inflight was handed out before what is queued
        records.sort(key=lambda record: record.status is MessageStatus.QUEUED)
        return [_whole(record) for record in records if record.priority is priority]

    async def _dead(self) -> list[WholeMessage]:
        if Capability.DEAD_LETTERS not in self._mailbox.capabilities:
            return []
        letters = await self._mailbox.dead_letters((await self._mailbox.status()).dead_letters + _MORE)
        return [_whole(letter.record, letter) for letter in reversed(letters)]


def _whole(record: MessageRecord, letter: DeadLetter | None = None) -> WholeMessage:
    return WholeMessage.of(
        record,
        due=None if record.due_at is None else milliseconds(record.due_at),
        error=None if letter is None else letter.error,
        death=None if letter is None else Death(letter.reason, milliseconds(letter.died_at)),
    )
