"""How a mailbox is read out, and filled, with everything it knows of its messages: more than its verbs show or take.

Messages are in sections, one for each priority and one for the dead letters, and have numbers there that only grow. A
message changes its section when it becomes a dead letter and when it is redriven, and its number only then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Self, TypeAlias
from uuid import UUID

from .headers import pack_headers
from .moments import milliseconds
from .values import MessagePriority, MessageRecord, MessageStatus

Section: TypeAlias = MessagePriority | None
"""None for the dead letters."""


class Death(NamedTuple):
    """How a message became a dead letter."""

    reason: str
    died_at: int
    """Milliseconds since 1970, UTC, as all times here."""


@dataclass(frozen=True, slots=True)
class WholeMessage:
    """A message with everything that a mailbox knows of it."""

    id: UUID
    sender: bytes
    payload: bytes
    priority: MessagePriority
    created_at: int
    delivery_count: int
    status: MessageStatus = MessageStatus.QUEUED
    """Not kept by ``adopt``: what was inflight is queued."""
    due: int | None = None
    """When it becomes due, if it is delayed."""
    failures: int = 0
    """How many of the deliveries failed."""
    suspect: bool = False
    """A holder died with it, so it is handed out as a batch of its own."""
    error: str | None = None
    """What the last nack said."""
    death: Death | None = None
    """If it is a dead letter."""
    headers: bytes = b""
    """As ``pack_headers`` makes them."""

    @classmethod
    def of(
        cls,
        record: MessageRecord,
        *,
        due: int | None = None,
        failures: int = 0,
        suspect: bool = False,
        error: str | None = None,
        death: Death | None = None,
    ) -> Self:
        """What a record says, with what it does not."""
        return cls(
            record.id,
            record.sender,
            record.payload,
            record.priority,
            milliseconds(record.created_at),
            record.delivery_count,
            record.status,
            due,
            failures,
            suspect,
            error,
            death,
            pack_headers(record.headers),
        )

    @property
    def size(self) -> int:
        return len(self.sender) + len(self.payload) + len(self.headers)


class Page(NamedTuple):
    """Some neighbouring messages of a section."""

    messages: list[WholeMessage]
    after: int
    """Where the next page begins."""
    until: int
    """The end of the section when its first page was read; ``after`` reaches it with the last page."""


class Remembered(NamedTuple):
    """An id that stays known whatever becomes of its message."""

    id: UUID
    until: int


class Adopted(Enum):
    """What became of a message that was to be adopted."""

    STORED = "stored"
    KNOWN = "known"
    """Its id is already in the mailbox; nothing was stored."""
    REFUSED = "refused"
    """This backend cannot take dead letters, or messages with headers."""


class Archive(ABC):
    """A mailbox as a whole."""

    @abstractmethod
    async def page(self, section: Section, after: int, until: int | None) -> Page:
        """A page of a section, read all at one moment, in the order of its numbers: the oldest dead letters first.

        The first page is asked for with 0 and None, the others with what the page before it says. At most
        ``PAGE_MESSAGES`` and ``PAGE_BYTES``, unless the mailbox is in memory anyway.
        """

    @abstractmethod
    async def adopt(self, messages: Sequence[WholeMessage]) -> list[Adopted]:
        """Stores messages whose ids are new at the ends of their sections, all in one transaction."""

    async def remembered(self, after: UUID | None) -> list[Remembered]:
        """Ids that stay known and come after one, in their order: at most ``PAGE_MESSAGES``; none where there are no
        more.
        """
        return []

    async def remember(self, ids: Sequence[Remembered]) -> bool:
        """Keeps ids known, in one transaction; False if this backend cannot."""
        return False
