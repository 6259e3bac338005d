"""Dead letters: messages in nobody's hand any more, each with a row that says why. Their bytes stay in place."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from ..._ids import id_at
from ..._values import DeadLetter, MessagePriority, MessageStatus
from .._clock import moment, now_in_ms
from .._reasons import UNREADABLE
from . import rows, verbs
from .schema import DEAD, QUEUED
from .session import MailboxRow, Session

KILL: Final = f"UPDATE messages SET hand = {DEAD}, failures = ?, due = NULL WHERE number = ?"
INSERT_LETTER: Final = "INSERT INTO letters (mailbox, number, reason, died_at) VALUES (?, ?, ?, ?)"
SELECT_LETTERS: Final = f"""
    SELECT {rows.RECORD.replace("messages.number", "letters.number")}, reason, error, died_at
    FROM letters LEFT JOIN messages USING (number) LEFT JOIN bodies USING (number)
    WHERE letters.mailbox = ? ORDER BY letter DESC LIMIT ?
"""
DELETE_LETTER: Final = "DELETE FROM letters WHERE number = ?"
RENEW: Final = f"""
    UPDATE messages
    SET number = ?, own_id = ?, hand = {QUEUED}, delivery_count = 0, failures = 0, suspect = 0, error = NULL
    WHERE number = ?
"""
MOVE_BODY: Final = "UPDATE bodies SET number = ? WHERE number = ?"
SELECT_REMAINS: Final = "SELECT payload FROM bodies WHERE number = ?"


def bury(session: Session, mailbox: MailboxRow, found: rows.Found, failures: int, reason: str) -> None:
    """Makes a dead letter of a message, wherever it is."""
    session.execute(KILL, (failures, found.number))
    session.execute(INSERT_LETTER, (mailbox.key, found.number, reason, now_in_ms()))
    mailbox.leave(found.hand, found.priority)
    mailbox.dead += 1
    mailbox.changed = True


def dead_letters(session: Session, name: str, limit: int) -> list[DeadLetter]:
    """Raises ``UnreadableError`` where there is a row that is no message."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return []
    letters = []
    for *row, reason, error, died_at in session.execute(SELECT_LETTERS, (mailbox.key, limit)):
        record = rows.record(mailbox, tuple(row), MessageStatus.INFLIGHT)
        if type(reason) is not str or type(died_at) is not int or not isinstance(error, str | None):
            raise rows.UnreadableError(row[0])
        letters.append(DeadLetter(record, reason, error, moment(died_at)))
    return letters


def redrive(session: Session, name: str, message_id: UUID) -> int | None:
    """Puts a dead letter at the end of its priority, as new; the queued count after it, or None."""
    mailbox, found = _find(session, name, message_id)
    if mailbox is None or found is None:
        return None
    number = session.next_number()
    session.execute(RENEW, (number, message_id.bytes, found.number))
    session.execute(MOVE_BODY, (number, found.number))
    session.execute(DELETE_LETTER, (found.number,))
    mailbox.dead -= 1
    mailbox.queued.add(found.priority, 1)
    verbs.note_stored(session, name, mailbox, number)
    return mailbox.queued.total


def discard(session: Session, name: str, message_id: UUID) -> bool:
    mailbox, found = _find(session, name, message_id)
    if mailbox is None or found is None:
        return False
    session.execute(verbs.DELETE_ONE, (found.number,))
    session.execute(DELETE_LETTER, (found.number,))
    mailbox.dead -= 1
    mailbox.changed = True
    return True


def salvage(session: Session, name: str, number: int) -> None:
    """Makes a dead letter of a row that is no message: with a new id, no sender, and what there is of its payload."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return
    remains = session.execute(SELECT_REMAINS, (number,)).fetchone()
    session.execute(verbs.DELETE_ONE, (number,))
    session.execute(DELETE_LETTER, (number,))
    session.execute("DELETE FROM bodies WHERE number = ?", (number,))  # of a letter whose message is missing
    new = session.next_number()
    while id_at(mailbox.id_base, MessagePriority.NORMAL, new).bytes in mailbox.ids_ahead:
        new += 1
    now = now_in_ms()
    payload = b"" if remains is None else _bytes(remains[0])
    session.execute(verbs.INSERT_MESSAGE, (new, mailbox.key, DEAD, int(MessagePriority.NORMAL), None, None))
    session.execute(verbs.INSERT_BODY, (new, b"", payload, now))
    session.execute(INSERT_LETTER, (mailbox.key, new, UNREADABLE, now))
    session.number_taken(new)
    session.recount(mailbox)


def _find(session: Session, name: str, message_id: UUID) -> tuple[MailboxRow | None, rows.Found | None]:
    mailbox = session.mailbox(name)
    found = None if mailbox is None else rows.find(session, mailbox, message_id)
    return mailbox, found if found and found.hand == DEAD else None


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode("utf-8", "surrogateescape")
