"""The values that callers pass and get: immutable, comparable, JSON-ready.

Every value has ``to_dict()`` and ``from_dict()``: to plain data that ``json.dumps`` takes, and back without loss. Bytes
become base64, times ISO 8601, enumerations their names.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from datetime import datetime, timedelta
from enum import Enum, IntEnum
from typing import Any, Protocol, Self, TypeVar, runtime_checkable
from uuid import UUID

from .buffers import copy_of
from .headers import NO_HEADERS, Headers
from .json_payloads import json_headers, json_payload, parsed

BytesLike = bytes | bytearray | memoryview
"""What the verbs accept as bytes: these, and any other buffer whose items are single bytes."""


_T = TypeVar("_T")


def maker_of(kind: type[_T]) -> Callable[..., _T]:
    """Makes a frozen dataclass from all of its fields in a third of the time: itself, it takes a call for each."""
    # slots of the same layout, and it is frozen by becoming the other
    thawed: Any = make_dataclass("_Thawed", [(one.name, one.type) for one in fields(kind)], slots=True)  # type: ignore[arg-type]

    def make(*values: Any) -> _T:
        made = thawed(*values)
        made.__class__ = kind
        return made  # type: ignore[no-any-return]

    return make


class _NamedEnum(Enum):
    """An enumeration whose JSON form is its member's name."""

    def to_dict(self) -> str:
        """The member's name."""
        return self.name

    @classmethod
    def from_dict(cls, data: str) -> Self:
        """The member of that name; if there is none, a ``ValueError`` that lists the names."""
        try:
            return cls[data]
        except KeyError:
            raise ValueError(f"{data!r} is not a {cls.__name__}; there are {', '.join(cls.__members__)}") from None


class MessagePriority(_NamedEnum, IntEnum):
    """How urgent a message is. Every ``HIGH`` message is handed out before any ``NORMAL`` one."""

    NORMAL = 0
    HIGH = 1


class MessageStatus(_NamedEnum, Enum):
    """Where a message stands."""

    QUEUED = "queued"
    """Waiting to be handed out, now or after its delay."""

    INFLIGHT = "inflight"
    """Handed out, and neither acknowledged nor given back."""


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message as a mailbox hands it out or shows it."""

    id: UUID
    sender: bytes
    """Who sent it, in the caller's own encoding; the mailbox never looks inside."""
    payload: bytes
    priority: MessagePriority
    created_at: datetime
    """When it was enqueued: aware, UTC, whole milliseconds. For people to read; order never depends on it."""
    status: MessageStatus
    delivery_count: int
    """How often it has been handed out, this time included; 0 if never."""
    headers: Mapping[str, str] = field(default=NO_HEADERS, hash=False)
    """What its sender gave besides the payload; read-only."""
    due_at: datetime | None = None
    """When its delay ends, while that runs: aware, UTC, whole milliseconds."""

    def json(self) -> Any:
        """The payload, which is JSON in UTF-8, as Python's values.

        Raises:
            ValueError: it is not.
        """
        try:
            return parsed(self.payload)
        except ValueError as error:
            raise ValueError(f"the payload of message {self.id} is not JSON: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "id": str(self.id),
            "sender": _text_of(self.sender),
            "payload": _text_of(self.payload),
            "priority": self.priority.to_dict(),
            "created_at": self.created_at.isoformat(),
            "status": self.status.to_dict(),
            "delivery_count": self.delivery_count,
            "headers": dict(self.headers),
            "due_at": _iso(self.due_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Back from ``to_dict``."""
        return cls(
            id=UUID(data["id"]),
            sender=_bytes_of(data["sender"]),
            payload=_bytes_of(data["payload"]),
            priority=MessagePriority.from_dict(data["priority"]),
            created_at=datetime.fromisoformat(data["created_at"]),
            status=MessageStatus.from_dict(data["status"]),
            delivery_count=data["delivery_count"],
            headers=Headers(data["headers"]) if data["headers"] else NO_HEADERS,
            due_at=_moment_of(data["due_at"]),
        )


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be enqueued. The verb that takes it checks its fields and copies its bytes."""

    sender: BytesLike
    payload: BytesLike
    priority: MessagePriority = MessagePriority.NORMAL
    message_id: UUID | None = None
    delay: float | timedelta | None = None
    """Seconds (or a ``timedelta``) before which the message is not handed out."""
    headers: Mapping[str, str] | None = field(default=None, hash=False)
    """Texts by name: at most 64 of them, and 8 KiB of UTF-8 in all."""
    dedupe_for: float | timedelta | None = None
    """Seconds (or a ``timedelta``) for which ``message_id`` stays known, whatever becomes of the message."""

    @classmethod
    def of_json(
        cls,
        value: Any,
        *,
        sender: BytesLike = b"",
        priority: MessagePriority = MessagePriority.NORMAL,
        message_id: UUID | None = None,
        delay: float | timedelta | None = None,
        headers: Mapping[str, str] | None = None,
        dedupe_for: float | timedelta | None = None,
    ) -> Self:
        """A message whose payload is ``value`` as JSON in UTF-8; its headers say so, unless they name another type.

        Raises:
            TypeError, ValueError: JSON cannot hold the value.
        """
        return cls(sender, json_payload(value), priority, message_id, delay, json_headers(headers), dedupe_for)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "sender": _text_of(copy_of("sender", self.sender)),
            "payload": _text_of(copy_of("payload", self.payload)),
            "priority": self.priority.to_dict(),
            "message_id": None if self.message_id is None else str(self.message_id),
            "delay": _seconds(self.delay),
            "headers": None if self.headers is None else dict(self.headers),
            "dedupe_for": _seconds(self.dedupe_for),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Back from ``to_dict``; a ``timedelta`` comes back as its seconds."""
        return cls(
            sender=_bytes_of(data["sender"]),
            payload=_bytes_of(data["payload"]),
            priority=MessagePriority.from_dict(data["priority"]),
            message_id=None if data["message_id"] is None else UUID(data["message_id"]),
            delay=data["delay"],
            headers=data["headers"],
            dedupe_for=data["dedupe_for"],
        )


@dataclass(frozen=True, slots=True)
class MailboxStats:
    """How full a mailbox is, all at one moment."""

    queued_messages: int
    """Messages that are waiting, delayed ones included."""
    inflight_messages: int
    """Messages handed out and not yet acknowledged, by any handle."""
    queued_by_priority: Mapping[MessagePriority, int] = field(hash=False)
    """The queued messages by priority; has a key for every priority."""
    dead_letters: int = 0
    """Messages that were given up, and neither redriven nor discarded."""
    delayed_messages: int = 0
    """Those of the queued messages whose delay still runs."""
    oldest_queued_at: datetime | None = None
    """``created_at`` of the queued message that was committed first; None if none is queued. Of the two that were first
    in their priorities, the earlier one.
    """
    ever_queued: int = field(default=0, compare=False)
    """A number that grows by one with each message that is enqueued, sent or redriven, and never falls: two looks show
    how many came between them. (It may grow by more where ids that senders gave are in the way of the mailbox's own.)
    """

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "queued_messages": self.queued_messages,
            "inflight_messages": self.inflight_messages,
            "queued_by_priority": {p.to_dict(): count for p, count in self.queued_by_priority.items()},
            "dead_letters": self.dead_letters,
            "delayed_messages": self.delayed_messages,
            "oldest_queued_at": _iso(self.oldest_queued_at),
            "ever_queued": self.ever_queued,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Back from ``to_dict``."""
        return cls(
            queued_messages=data["queued_messages"],
            inflight_messages=data["inflight_messages"],
            queued_by_priority={MessagePriority.from_dict(p): n for p, n in data["queued_by_priority"].items()},
            dead_letters=data["dead_letters"],
            delayed_messages=data["delayed_messages"],
            oldest_queued_at=_moment_of(data["oldest_queued_at"]),
            ever_queued=data["ever_queued"],
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up: it failed too often, was rejected, or could not be read."""

    record: MessageRecord
    """As it was handed out last."""
    reason: str
    """Why it was given up."""
    error: str | None
    """What the last ``nack`` said, if it said anything."""
    died_at: datetime
    """Aware, UTC, whole milliseconds."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "record": self.record.to_dict(),
            "reason": self.reason,
            "error": self.error,
            "died_at": self.died_at.isoformat(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Back from ``to_dict``."""
        return cls(
            record=MessageRecord.from_dict(data["record"]),
            reason=data["reason"],
            error=data["error"],
            died_at=datetime.fromisoformat(data["died_at"]),
        )


@dataclass(frozen=True, slots=True)
class StorageReport:
    """How safe a mailbox's storage is, and how full; None where the platform does not say."""

    durability: str
    """What was asked for when the handle was opened: ``"strict"`` or ``"relaxed"``."""
    persistent: bool | None
    """Whether the storage is kept when space gets scarce."""
    usage: int | None
    """Bytes in use: by the whole origin in a browser, by the file elsewhere."""
    quota: int | None
    """Bytes that may be in use."""
    wiped: bool | None
    """Whether the storage of this mailbox was cleared since the mailbox was last seen, as far as that can be known.

    In a browser: while this handle was open, since the mailbox was last opened in this page or worker, and on a page
    also across reloads when IndexedDB alone was cleared or evicted. A browser that clears all of a site's data, as
    users do and Safari does after seven days, leaves no trace of it: then this is False, and the mailbox is empty.
    """

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "durability": self.durability,
            "persistent": self.persistent,
            "usage": self.usage,
            "quota": self.quota,
            "wiped": self.wiped,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Back from ``to_dict``."""
        return cls(**data)


@runtime_checkable
class MailboxDepthObserver(Protocol):
    """Learns after each enqueue how many messages are queued."""

    def on_depth_change(self, queued_messages: int) -> None:
        """Called synchronously after an enqueue is committed and before it returns; must be quick."""


def _text_of(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _bytes_of(text: str) -> bytes:
    return b64decode(text, validate=True)


def _seconds(span: float | timedelta | None) -> float | None:
    return span.total_seconds() if isinstance(span, timedelta) else span


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment_of(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
