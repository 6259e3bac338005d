"""Dead letters: messages that nobody is to be handed any more, each with a row that says why.

Their bytes stay in place, and their pages say where they stand.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from ..._values import DeadLetter, MessageStatus
from ...core import delivery as deliveries
from ...core.moments import moment
from ...core.page import BURIED
from ...core.state import LaneRun
from .._clock import now_in_ms
from . import frames, rows, verbs
from .session import OpenMailbox, Session

INSERT_LETTER: Final = "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?)"
SELECT_LETTERS: Final = """
    SELECT letter, lane, number, reason, error, died_at FROM dead_letters LEFT JOIN errors USING (mailbox, lane, number)
    WHERE mailbox = ? ORDER BY letter DESC LIMIT ?
"""
DELETE_LETTER: Final = "DELETE FROM dead_letters WHERE mailbox = ? AND lane = ? AND number = ?"


def bury(mailbox: OpenMailbox, priority: int, number: int, delivery: int, reason: str) -> None:
    """Makes a dead letter of a message, wherever it is."""
    mailbox.state.move(priority, number, BURIED, delivery)
    note(mailbox, priority, number, reason, now_in_ms())


def note(mailbox: OpenMailbox, priority: int, number: int, reason: str, died_at: int) -> None:
    """Writes down why a message is a dead letter."""
    state = mailbox.state
    mailbox.execute(INSERT_LETTER, (mailbox.key, state.next_letter, priority, number, reason, died_at))
    state.next_letter += 1
    state.changed = True


def dead_letters(session: Session, name: str, limit: int) -> list[DeadLetter]:
    """Raises ``UnreadableError`` where there is a row that is no message."""
    mailbox = session.mailbox(name)
    if mailbox is None or not mailbox.state.dead_letters:
        return []
    letters = []
    for letter, lane, number, reason, error, died_at in session.execute(
        SELECT_LETTERS, (mailbox.key, limit)
    ).fetchall():
        run = checked_run_of(mailbox, letter, lane, number, reason, error, died_at)
        (record,) = mailbox.bodies.records([run], mailbox.id_base, MessageStatus.INFLIGHT)
        letters.append(DeadLetter(record, reason, error, moment(died_at)))
    if len(letters) != min(limit, mailbox.state.dead_letters):
        raise rows.MissingLettersError
    return letters


def checked_run_of(
    mailbox: OpenMailbox, letter: object, lane: object, number: object, reason: object, error: object, died_at: object
) -> LaneRun:
    """What the state says of a dead letter, if its row is sound.

    Raises:
        UnreadableLetterError: it is not.
    """
    run = run_of(mailbox, lane, number)
    is_time = type(died_at) is int and frames.EARLIEST <= died_at <= frames.LATEST
    if run is None or type(letter) is not int or type(reason) is not str or not is_time:
        raise rows.UnreadableLetterError(letter)
    if not isinstance(error, str | None):
        raise rows.UnreadableLetterError(letter)
    return run


def run_of(mailbox: OpenMailbox, lane: object, number: object) -> LaneRun | None:
    """What the state says of a dead letter; None if there is none in that place."""
    if type(lane) is not int or type(number) is not int:
        return None
    state = mailbox.state.state_of(lane, number)
    return LaneRun(lane, number, number + 1, state[1]) if state is not None and state[0] == BURIED else None


def redrive(session: Session, name: str, message_id: UUID) -> int | None:
    """Puts a dead letter at the end of its priority, as new; the queued count after it, or None."""
    mailbox, place = _find(session, name, message_id)
    if mailbox is None or place is None:
        return None
    run = LaneRun(place.priority, place.number, place.number + 1, place.delivery)
    (message,) = mailbox.bodies.messages(run, mailbox.id_base)
    session.take_room(len(message.sender) + len(message.payload))
    _remove(mailbox, place)
    verbs.append(mailbox, place.priority, message, deliveries.CUSTOM_ID)
    session.stored[name] = mailbox.state.ever_queued
    return mailbox.state.queued


def discard(session: Session, name: str, message_id: UUID) -> bool:
    mailbox, place = _find(session, name, message_id)
    if mailbox is None or place is None:
        return False
    _remove(mailbox, place)
    return True


def _remove(mailbox: OpenMailbox, place: rows.Place) -> None:
    priority, number, *_ = place
    mailbox.execute(DELETE_LETTER, (mailbox.key, priority, number))
    mailbox.clear_away(mailbox.state.remove(priority, number, number + 1))


def _find(session: Session, name: str, message_id: UUID) -> tuple[OpenMailbox | None, rows.Place | None]:
    mailbox = session.mailbox(name)
    place = None if mailbox is None else rows.find(mailbox, message_id)
    return mailbox, place if place and place.where == BURIED else None
