"""Messages as the file has them, and as callers see them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from ..._ids import id_at, location_of
from ..._values import MessagePriority, MessageRecord, MessageStatus
from .._clock import moment
from .schema import DELAYED, QUEUED
from .session import HolderRow, MailboxRow, Session, State

RECORD: Final = (
    "messages.number, own_id, sender, payload, priority, created_at, delivery_count, failures, suspect, messages.hand"
)
_JOINED: Final = "messages LEFT JOIN bodies ON bodies.number = messages.number"

SELECT_HAND: Final = f"""
    SELECT {RECORD} FROM {_JOINED} WHERE mailbox = ? AND hand = ? ORDER BY priority DESC, messages.number LIMIT ?
"""
SELECT_DUE: Final = f"""
    SELECT {RECORD} FROM {_JOINED} WHERE messages.number IN (
        SELECT number FROM messages WHERE mailbox = ? AND due <= ? ORDER BY priority DESC, number LIMIT ?
    )
"""
SELECT_LATER: Final = f"""
    SELECT {RECORD} FROM {_JOINED} WHERE mailbox = ? AND due > ? ORDER BY due, messages.number LIMIT ?
"""
_FOUND: Final = "SELECT number, hand, priority, failures FROM messages"
FIND_BY_NUMBER: Final = f"{_FOUND} WHERE number = ? AND mailbox = ? AND priority = ? AND own_id IS NULL"
FIND_BY_OWN_ID: Final = f"{_FOUND} WHERE mailbox = ? AND own_id = ?"

_PRIORITIES: Final = {priority.value: priority for priority in MessagePriority}

Row = tuple[Any, ...]
"""Columns as in ``RECORD``."""


class UnreadableError(Exception):
    """A row that is no message, since another program wrote it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"message {number} cannot be read")
        self.number = number


class Found(NamedTuple):
    """Where a message is."""

    number: int
    hand: int
    priority: MessagePriority
    failures: int


class Fate(NamedTuple):
    """What a message has yet to learn of what became of its last hand-out."""

    deliveries: int = 0
    failures: int = 0
    suspect: bool = False


NOTHING_NEW: Final = Fate()
_RELEASED: Final = Fate(deliveries=-1)
_DIED_TOGETHER: Final = Fate(suspect=True)
_DIED_ALONE: Final = Fate(failures=1, suspect=True)


def fate_in(row: HolderRow, hand: int) -> Fate:
    """What the messages learn that a holder has, or had, in one of its hands."""
    if row.state is State.HOLDS:
        return NOTHING_NEW
    if row.state is State.RELEASED:
        return _RELEASED
    return _DIED_ALONE if hand & 1 else _DIED_TOGETHER


def find(session: Session, mailbox: MailboxRow, message_id: UUID) -> Found | None:
    """Where a message is, a dead letter too."""
    row = None
    location = location_of(mailbox.id_base, message_id)
    if location:
        priority, number = location
        row = session.execute(FIND_BY_NUMBER, (number, mailbox.key, priority)).fetchone()
    if row is None:
        row = session.execute(FIND_BY_OWN_ID, (mailbox.key, message_id.bytes)).fetchone()
        if row is None:
            return None
    number, hand, priority, failures = row
    # what another program wrote there is counted as a row of normal priority
    return Found(number, hand, _PRIORITIES.get(priority, MessagePriority.NORMAL), failures)


def record(mailbox: MailboxRow, row: Row, status: MessageStatus, hand_outs: int = 0) -> MessageRecord:
    """A row as callers see it, with so many hand-outs more than it says.

    Raises:
        UnreadableError: it is no message.
    """
    number, own_id, sender, payload, priority, created_at, delivery_count, failures, suspect, _ = row
    if (
        type(sender) is not bytes
        or type(payload) is not bytes
        or priority not in _PRIORITIES
        or type(delivery_count) is not int
        or type(failures) is not int
        or suspect not in (0, 1)
    ):
        raise UnreadableError(number)
    try:
        message_id = id_at(mailbox.id_base, priority, number) if own_id is None else UUID(bytes=own_id)
        time = moment(created_at)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableError(number) from None
    return MessageRecord(
        message_id, sender, payload, _PRIORITIES[priority], time, status, max(0, delivery_count + hand_outs)
    )


@contextmanager
def in_order(session: Session, mailbox: MailboxRow, hands: list[int], limit: int) -> Iterator[Iterator[Row]]:
    """Up to so many rows of some hands, merged in dequeue order; read as far as they are followed."""
    lines = [session.execute(SELECT_HAND, (mailbox.key, hand, limit)) for hand in hands]
    try:
        yield iter(lines[0]) if len(lines) == 1 else islice(merge(*lines, key=place), limit)
    finally:
        for line in lines:
            line.close()  # else it would keep its snapshot of the file


def place(row: Row) -> tuple[int, int]:
    """Where a row stands in dequeue order."""
    number, priority = row[0], row[4]
    # one that is no priority comes first, as it does in the index
    return (-priority if priority in _PRIORITIES else -len(_PRIORITIES), number)


def queued_hands(mailbox: MailboxRow) -> list[int]:
    """Where messages are that can be handed out."""
    return [QUEUED, *(hand for row in mailbox.left.values() for hand, _ in row.hands)]


def held_hands(mailbox: MailboxRow) -> list[int]:
    """Where messages are that are inflight."""
    return [hand for row in mailbox.holders.values() for hand, _ in row.hands]


def fate_of(mailbox: MailboxRow, hand: int) -> Fate:
    """What a message in that hand has yet to learn."""
    row = mailbox.holder_of(hand) if hand != DELAYED else None
    return NOTHING_NEW if row is None else fate_in(row, hand)
