"""Turns what another program wrote and cannot be read into dead letters, and corrects the counts."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

from ...contract.ids import id_at
from ...contract.moments import now_in_ms
from ...contract.reasons import unreadable_reason
from ...contract.values import MessagePriority
from ...core import dead_letters, verbs
from ...core import delivery as deliveries
from ...core.page import BURIED
from ...core.store import Message
from . import pages, rows
from .bodies import SELECT_SEGMENTS
from .frames import Segment
from .session import Session
from .store import OpenMailbox

SHORTEN_SEGMENT: Final = """
    UPDATE segments SET last = ?, first = ?, body = ? WHERE mailbox = ? AND lane = ? AND last = ?
"""
DELETE_SEGMENT: Final = "DELETE FROM segments WHERE mailbox = ? AND lane = ? AND last = ?"
SELECT_LETTER: Final = "SELECT lane, number FROM dead_letters WHERE mailbox = ? AND letter = ?"
MEND_LETTER: Final = "UPDATE dead_letters SET reason = ?, died_at = ? WHERE mailbox = ? AND letter = ?"
DELETE_UNREADABLE_ERROR: Final = """
    DELETE FROM errors WHERE mailbox = ? AND lane = ? AND number = ? AND typeof(error) <> 'text'
"""
SELECT_PLACES: Final = "SELECT lane, number FROM dead_letters WHERE mailbox = ?"
DELETE_LETTER: Final = "DELETE FROM dead_letters WHERE mailbox = ? AND letter = ?"
DELETE_DOUBLES: Final = """
    DELETE FROM dead_letters WHERE mailbox = ?1
    AND letter NOT IN (SELECT max(letter) FROM dead_letters WHERE mailbox = ?1 GROUP BY lane, number)
"""
DELETE_LETTERS: Final = "DELETE FROM dead_letters WHERE mailbox = ? AND lane = ? AND number >= ? AND number < ?"
_MOST_LOST: Final = 128
"""The most messages of a missing segment that one dead letter stands for."""


def salvage(session: Session, name: str, damage: rows.UnreadableError) -> None:
    """Turns what is not a message into a dead letter with a new id, no sender, and what is left of its payload."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return
    mailbox.bodies.write_appended()  # by calls of the same commit
    if isinstance(damage, rows.UnreadablePageError):
        _salvage_page(mailbox, damage.priority, damage.number)
    elif isinstance(damage, rows.UnreadableMessageError):
        _salvage_message(mailbox, damage.priority, damage.number)
    elif isinstance(damage, rows.UnreadableLetterError):
        _salvage_letter(mailbox, damage.letter)
    elif isinstance(damage, rows.MissingLettersError):
        _note_missing_letters(mailbox)
    mailbox.bodies.forget_segments()


def _salvage_message(mailbox: OpenMailbox, priority: int, number: int) -> None:
    """Removes what cannot be read from the segment that a message is, or should be, in."""
    state = mailbox.state
    row = mailbox.execute(f"{SELECT_SEGMENTS} LIMIT 1", (mailbox.key, priority, number)).fetchone()
    segment = None if row is None else Segment(priority, *row)
    if segment is None or segment.first > number:
        end = min(state.lanes[priority].next, number + _MOST_LOST)
        first, end, remains = number, end if segment is None else min(end, segment.first), b""
    else:
        first, end, remains = segment.first + len(segment), segment.last + 1, segment.remains
        if number < first:  # it can be read, but its id is not of the right kind
            first, remains = number, segment.body
        key = (mailbox.key, priority, segment.last)
        if first > segment.first:
            mailbox.execute(SHORTEN_SEGMENT, (first - 1, segment.first, segment.body[: segment.readable], *key))
        else:
            mailbox.execute(DELETE_SEGMENT, key)
    removed = state.remove(priority, first, end)
    mailbox.execute(DELETE_LETTERS, (mailbox.key, priority, first, end))
    mailbox.clear_away(removed)
    mailbox.bodies.forget_kept()
    if removed:
        bury_remains(mailbox, remains)


def _salvage_letter(mailbox: OpenMailbox, letter: object) -> None:
    row = mailbox.execute(SELECT_LETTER, (mailbox.key, letter)).fetchone()
    if row is None:
        return
    if type(letter) is int and mailbox.buried(*row) is not None:
        mailbox.execute(DELETE_UNREADABLE_ERROR, (mailbox.key, *row))
        mailbox.execute(MEND_LETTER, (unreadable_reason(1), now_in_ms(), mailbox.key, letter))
    else:  # the message that it was for will be found missing, and get another one
        mailbox.execute(DELETE_LETTER, (mailbox.key, letter))


def _note_missing_letters(mailbox: OpenMailbox) -> None:
    """Makes sure that each dead letter has exactly one row."""
    mailbox.execute(DELETE_DOUBLES, (mailbox.key,))
    known = set(mailbox.execute(SELECT_PLACES, (mailbox.key,)).fetchall())
    for lane in mailbox.state.lanes:
        for run in list(mailbox.state.living(lane.priority, 0, lane.next)):
            if run.where == BURIED:
                for number in range(run.first, run.end):
                    if (lane.priority, number) not in known:
                        dead_letters.note(mailbox, lane.priority, number, unreadable_reason(1), now_in_ms())
    recount(mailbox)


def _salvage_page(mailbox: OpenMailbox, priority: int, number: Any) -> None:
    """Nobody can tell which of the page's messages were queued, held or dead: all that still exist become dead letters,
    so that none is lost and none runs twice.
    """
    if not pages.is_number(number):
        mailbox.execute(pages.DELETE_PAGE, (mailbox.key, priority, number))
        recount(mailbox)
        return
    try:
        page = mailbox.state.lanes[priority].directory.find(number)
    except rows.UnreadablePageError:
        pass
    else:
        if page is not None:  # then the row's other columns are wrong
            pages.retell(mailbox.execute, mailbox.key, priority, page)
        return
    while True:
        _give_up_page(mailbox, priority, number)
        try:
            mailbox.state.recount()
        except rows.UnreadablePageError as another:
            priority, number = another.priority, another.number
        else:
            return


def _give_up_page(mailbox: OpenMailbox, priority: int, number: int) -> None:
    state = mailbox.state
    state.lose_page(priority, number)
    first = number * state.page_numbers
    end = min(first + state.page_numbers, state.lanes[priority].frontier)
    mailbox.execute(DELETE_LETTERS, (mailbox.key, priority, first, end))
    segments = []
    with closing(mailbox.execute(SELECT_SEGMENTS, (mailbox.key, priority, first))) as found:
        for row in found:
            segment = Segment(priority, *row)
            if segment.first >= end:
                break
            segments.append(segment)
    for segment in segments:
        for at in range(max(first, segment.first), min(end, segment.last + 1)):
            frame = segment.frame(at)
            delivery = deliveries.CUSTOM_ID if frame is not None and frame.id is not None else deliveries.NEVER
            state.revive(priority, at, BURIED, delivery)
            dead_letters.note(mailbox, priority, at, unreadable_reason(1), now_in_ms())


def bury_remains(mailbox: OpenMailbox, remains: bytes) -> None:
    """Turns what is left of a message into a dead letter with a new id."""
    priority = MessagePriority.NORMAL
    number = verbs.next_number(mailbox, priority)
    now = now_in_ms()
    message = Message(id_at(mailbox.id_base, priority, number), b"", remains, now)
    verbs.append(mailbox, priority, message, deliveries.NEVER, where=BURIED)
    dead_letters.note(mailbox, priority, number, unreadable_reason(1), now)


def recount(mailbox: OpenMailbox) -> None:
    """Counts again from the pages, where the head disagrees."""
    for lane in mailbox.state.lanes:
        lane.directory.rows_count = len(lane.directory.stored_numbers())
    mailbox.state.recount()
