"""What the verbs do to a file, in SQL. Each function runs inside a transaction that others may share.

Only ``store`` makes a mailbox; the others take one that is missing for an empty one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from ..._arguments import PreparedMessage
from ..._handle import Enqueued
from ..._ids import id_at, location_of
from ..._values import MailboxStats, MessagePriority, MessageRecord, MessageStatus
from .._clock import now_in_ms
from . import rows
from .schema import DEAD, DELAYED, QUEUED
from .session import MailboxRow, Session

INSERT_MESSAGE: Final = "INSERT INTO messages (number, mailbox, hand, priority, own_id, due) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_BODY: Final = "INSERT INTO bodies VALUES (?, ?, ?, ?)"
DELETE_HELD: Final = """
    DELETE FROM messages WHERE number = ? AND mailbox = ? AND hand = ? AND priority = ? AND own_id IS NULL
"""
DELETE_HAND: Final = "DELETE FROM messages WHERE mailbox = ? AND hand = ?"
DELETE_ONE: Final = "DELETE FROM messages WHERE number = ?"


def store(session: Session, name: str, messages: Sequence[PreparedMessage]) -> Enqueued:
    """Appends messages, but for those whose id is in the mailbox."""
    mailbox = session.mailbox_to_fill(name)
    given = {message.message_id for message in messages if message.message_id}
    stored: set[UUID] = set()
    ids: list[UUID] = []
    heads: list[tuple[Any, ...]] = []
    bodies: list[tuple[Any, ...]] = []
    now = now_in_ms()
    next_number = session.next_number()
    for message in messages:
        message_id, own_id = message.message_id, None
        if message_id is None:
            message_id = id_at(mailbox.id_base, message.priority, next_number)
            while message_id in given or message_id.bytes in mailbox.ids_ahead:
                next_number += 1
                message_id = id_at(mailbox.id_base, message.priority, next_number)
        elif message_id in stored or rows.find(session, mailbox, message_id):
            ids.append(message_id)
            continue
        else:
            own_id = message_id.bytes
            stored.add(message_id)
            note_given_id(mailbox, message_id, next_number)
        ids.append(message_id)
        hand, due = QUEUED, None
        if message.delay_ms:
            hand, due = DELAYED, now + message.delay_ms
            if mailbox.next_due is None or due < mailbox.next_due:
                mailbox.next_due = due
        heads.append((next_number, mailbox.key, hand, int(message.priority), own_id, due))
        bodies.append((next_number, message.sender, message.payload, now))
        mailbox.queued.add(message.priority, 1)
        next_number += 1
    if not heads:
        return Enqueued(ids, None)
    session.take_room(sum(len(sender) + len(payload) for _, sender, payload, _ in bodies))
    session.executemany(INSERT_MESSAGE, heads)
    session.executemany(INSERT_BODY, bodies)
    note_stored(session, name, mailbox, next_number - 1)
    return Enqueued(ids, mailbox.queued.total)


def note_stored(session: Session, name: str, mailbox: MailboxRow, number: int) -> None:
    """Notes that the mailbox got messages up to that number."""
    session.number_taken(number)
    session.stored[name] = number
    mailbox.last_stored = number
    mailbox.changed = True


def note_given_id(mailbox: MailboxRow, message_id: UUID, next_number: int) -> None:
    location = location_of(mailbox.id_base, message_id)
    if location and location[1] >= next_number:
        mailbox.ids_ahead.add(message_id.bytes)
        mailbox.foreseen = mailbox.changed = True


def remove(session: Session, name: str, holder: int, ids: Sequence[UUID]) -> int:
    """Deletes messages, whoever has them, but no dead letters; quickest for those that ``holder`` has."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return 0
    removed = remove_quickly(session, mailbox, holder, ids)
    if removed == len(ids):
        return removed
    for message_id in ids:
        found = rows.find(session, mailbox, message_id)
        if found is None or found.hand == DEAD:
            continue
        session.execute(DELETE_ONE, (found.number,))
        mailbox.leave(found.hand, found.priority)
        removed += 1
    return removed


def remove_quickly(session: Session, mailbox: MailboxRow, holder: int, ids: Sequence[UUID]) -> int:
    """Deletes those of the messages that ``holder`` has and whose id says where they are."""
    row = mailbox.holders.get(holder)
    if row is None:
        return 0
    mailbox.touched.add(holder)
    numbers: dict[int, list[int]] = {priority: [] for priority in MessagePriority}
    for message_id in ids:
        location = location_of(mailbox.id_base, message_id)
        if location and location[0] in numbers:
            numbers[location[0]].append(location[1])
    removed = 0
    for hand, tally in list(row.hands):
        for priority in MessagePriority:
            if tally.counts[priority] and numbers[priority] and removed < len(ids):
                keys = [(number, mailbox.key, hand, int(priority)) for number in numbers[priority]]
                count = session.executemany(DELETE_HELD, keys).rowcount
                tally.add(priority, -count)
                removed += count
    return removed


def purge(session: Session, name: str) -> int:
    mailbox = session.mailbox(name)
    if mailbox is None:
        return 0
    hands = [DELAYED, *rows.queued_hands(mailbox)]
    purged = sum(session.execute(DELETE_HAND, (mailbox.key, hand)).rowcount for hand in hands)
    mailbox.queued.clear()
    mailbox.next_due, mailbox.changed = None, True
    for row in mailbox.left.values():
        row.together.clear()
        row.alone.clear()
        mailbox.touched.add(row.holder)
    return purged


def count(session: Session, name: str) -> MailboxStats:
    mailbox = session.mailbox(name)
    if mailbox is None:
        return MailboxStats(0, 0, dict.fromkeys(MessagePriority, 0))
    inflight = sum(row.total for row in mailbox.holders.values())
    return MailboxStats(mailbox.queued.total, inflight, dict(mailbox.queued.counts), mailbox.dead)


def peek(session: Session, name: str, limit: int, status: MessageStatus | None) -> list[MessageRecord]:
    """Raises ``UnreadableError`` where there is a row that is no message."""
    mailbox = session.mailbox(name)
    shown: list[MessageRecord] = []
    if mailbox is None:
        return shown
    if status is not MessageStatus.INFLIGHT:
        with rows.in_order(session, mailbox, rows.queued_hands(mailbox), limit) as in_order:
            found = list(in_order)
        if mailbox.next_due is not None:
            now = now_in_ms()
            found = sorted([*found, *session.execute(rows.SELECT_DUE, (mailbox.key, now, limit))], key=rows.place)
            del found[limit:]
            found += session.execute(rows.SELECT_LATER, (mailbox.key, now, limit - len(found)))
        shown += (
            rows.record(mailbox, row, MessageStatus.QUEUED, rows.fate_of(mailbox, row[-1]).deliveries) for row in found
        )
    hands = rows.held_hands(mailbox)
    if status is not MessageStatus.QUEUED and hands:
        with rows.in_order(session, mailbox, hands, limit - len(shown)) as in_order:
            shown += (rows.record(mailbox, row, MessageStatus.INFLIGHT) for row in in_order)
    return shown


def last_stored(session: Session, name: str) -> int:
    """The number of the message that was stored last in a mailbox."""
    mailbox = session.mailbox(name)
    return 0 if mailbox is None else mailbox.last_stored


def mailbox_names(session: Session) -> list[str]:
    return sorted(name for (name,) in session.execute("SELECT name FROM mailboxes"))


def delete_mailbox(session: Session, name: str) -> bool:
    mailbox = session.mailbox(name)
    if mailbox is None:
        return False
    for table in "messages", "letters", "holders", "mailboxes":
        session.execute(f"DELETE FROM {table} WHERE mailbox = ?", (mailbox.key,))
    session.forget_mailbox(name)
    return True
