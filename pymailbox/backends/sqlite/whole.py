"""A mailbox as a whole: read out page by page, and filled again. Functions as in ``verbs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..._archive import PAGE_BYTES, PAGE_MESSAGES, Death, Page, Section, WholeMessage
from ..._values import MessagePriority, MessageStatus
from .._clock import milliseconds, now_in_ms
from . import letters, rows, verbs
from .schema import DEAD, DELAYED, QUEUED
from .session import MailboxRow, Session

# The sign keeps SQLite from an index that would have it sort all messages for each page. What is no priority is read as
# a normal one, and found to be unreadable.
SELECT_LIVING: Final = f"""
    SELECT {rows.RECORD}, due, error FROM messages LEFT JOIN bodies ON bodies.number = messages.number
    WHERE messages.number > ? AND messages.number <= ? AND +mailbox = ? AND hand <> {DEAD} AND (priority = 1) = ?
    ORDER BY messages.number LIMIT {PAGE_MESSAGES}
"""
SELECT_DEAD: Final = f"""
    SELECT {rows.RECORD.replace("messages.number", "letters.number")}, due, error, letter, reason, died_at
    FROM letters LEFT JOIN messages USING (number) LEFT JOIN bodies USING (number)
    WHERE letters.mailbox = ? AND letter > ? AND letter <= ? ORDER BY letter LIMIT {PAGE_MESSAGES}
"""
LAST_LETTER: Final = "SELECT coalesce(max(letter), 0) FROM letters"
INSERT_WHOLE: Final = """
    INSERT INTO messages (number, mailbox, hand, priority, delivery_count, failures, suspect, own_id, due, error)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def read(session: Session, name: str, section: Section, after: int, until: int | None) -> Page:
    """Raises ``UnreadableError`` where there is a row that is no message."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return Page([], 0, 0)
    if until is None:
        until = session.next_number() if section is not None else session.execute(LAST_LETTER).fetchone()[0]
    if section is None:
        found = session.execute(SELECT_DEAD, (mailbox.key, after, until))
    else:
        found = session.execute(SELECT_LIVING, (after, until, mailbox.key, section is MessagePriority.HIGH))
    messages: list[WholeMessage] = []
    held = set(rows.held_hands(mailbox))
    size = 0
    try:
        for row in found:
            message = _living(mailbox, row, held) if section is not None else _dead(mailbox, row)
            size += message.size
            if messages and size > PAGE_BYTES:
                return Page(messages, after, until)
            messages.append(message)
            after = row[0] if section is not None else row[-3]
    finally:
        found.close()  # else it would keep its snapshot of the file
    return Page(messages, after if len(messages) == PAGE_MESSAGES else until, until)


def _living(mailbox: MailboxRow, row: rows.Row, held: set[int]) -> WholeMessage:
    *columns, due, error = row
    hand = columns[-1]
    status = MessageStatus.INFLIGHT if hand in held else MessageStatus.QUEUED
    return _whole(mailbox, columns, status, rows.fate_of(mailbox, hand), due, error)


def _dead(mailbox: MailboxRow, row: rows.Row) -> WholeMessage:
    *columns, _, error, _, reason, died_at = row
    if type(reason) is not str or type(died_at) is not int:
        raise rows.UnreadableError(row[0])
    return _whole(mailbox, columns, MessageStatus.INFLIGHT, rows.NOTHING_NEW, None, error, Death(reason, died_at))


def _whole(
    mailbox: MailboxRow,
    columns: list[Any],
    status: MessageStatus,
    fate: rows.Fate,
    due: Any,
    error: Any,
    death: Death | None = None,
) -> WholeMessage:
    number, *_, failures, suspect, _ = columns
    record = rows.record(mailbox, tuple(columns), status, fate.deliveries)
    if not isinstance(error, str | None) or not isinstance(due, int | None):
        raise rows.UnreadableError(number)
    return WholeMessage(
        record.id,
        record.sender,
        record.payload,
        record.priority,
        milliseconds(record.created_at),
        record.delivery_count,
        status,
        due,
        failures + fate.failures,
        bool(suspect) or fate.suspect,
        error,
        death,
    )


def adopt(session: Session, name: str, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
    """Appends messages, dead letters too, but for those whose id is there: which ones; and the depth if it grew."""
    mailbox = session.mailbox_to_fill(name)
    new = _new_ones(session, mailbox, messages)
    if not new:
        return [False] * len(messages), None
    session.take_room(sum(message.size for message in new))
    now = now_in_ms()
    first = number = session.next_number()
    grown = False
    for message in new:
        verbs.note_given_id(mailbox, message.id, first)
        hand, due = QUEUED, None
        if message.death is not None:
            hand = DEAD
            session.execute(letters.INSERT_LETTER, (mailbox.key, number, message.death.reason, message.death.died_at))
            mailbox.dead += 1
        else:
            grown = True
            mailbox.queued.add(message.priority, 1)
            if message.due is not None and message.due > now:
                hand, due = DELAYED, message.due
                mailbox.next_due = due if mailbox.next_due is None else min(due, mailbox.next_due)
        session.execute(
            INSERT_WHOLE,
            (
                number,
                mailbox.key,
                hand,
                int(message.priority),
                message.delivery_count,
                message.failures,
                int(message.suspect),
                message.id.bytes,
                due,
                message.error,
            ),
        )
        session.execute(verbs.INSERT_BODY, (number, message.sender, message.payload, message.created_at))
        number += 1
    if grown:
        verbs.note_stored(session, name, mailbox, number - 1)
    else:
        session.number_taken(number - 1)
        mailbox.changed = True
    stored = {message.id for message in new}
    return [message.id in stored for message in messages], mailbox.queued.total if grown else None


def _new_ones(session: Session, mailbox: MailboxRow, messages: Sequence[WholeMessage]) -> list[WholeMessage]:
    new = {message.id: message for message in reversed(messages) if not rows.find(session, mailbox, message.id)}
    return list(reversed(new.values()))
