"""A mailbox as a whole: read out page by page, and filled again. Functions as in ``verbs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..._archive import PAGE_BYTES, PAGE_MESSAGES, Death, Page, Section, WholeMessage
from ..._values import MessagePriority, MessageStatus
from ...core import delivery as deliveries
from ...core.page import BURIED, DELAYED, HELD
from ...core.state import LaneRun
from .._clock import now_in_ms
from . import letters, rows, verbs
from .bodies import Message
from .session import INSERT_ERROR, OpenMailbox, Session

SELECT_ERRORS: Final = "SELECT number, error FROM errors WHERE mailbox = ? AND lane = ? AND number >= ? AND number < ?"
SELECT_LETTERS: Final = f"""
    SELECT letter, lane, number, reason, error, died_at FROM dead_letters LEFT JOIN errors USING (mailbox, lane, number)
    WHERE mailbox = ? AND letter >= ? AND letter < ? ORDER BY letter LIMIT {PAGE_MESSAGES}
"""


def read(session: Session, name: str, section: Section, after: int, until: int | None) -> Page:
    """Raises ``UnreadableError`` where there is what is no message."""
    mailbox = session.mailbox(name)
    if mailbox is None:
        return Page([], 0, 0)
    if section is None:
        return _read_dead(mailbox, after, mailbox.state.next_letter if until is None else until)
    return _read_living(mailbox, section, after, mailbox.state.lanes[section].next if until is None else until)


def _read_living(mailbox: OpenMailbox, priority: MessagePriority, first: int, until: int) -> Page:
    messages: list[WholeMessage] = []
    size = 0
    for run in mailbox.state.living(priority, first, until):
        if run.where == BURIED:
            continue
        errors = _errors(mailbox, run)
        for number, message in enumerate(mailbox.bodies.messages(run, mailbox.id_base), run.first):
            size += len(message.sender) + len(message.payload)
            if messages and (size > PAGE_BYTES or len(messages) == PAGE_MESSAGES):
                return Page(messages, number, until)
            messages.append(_whole(priority, message, run, errors.get(number), None))
    return Page(messages, until, until)


def _errors(mailbox: OpenMailbox, run: LaneRun) -> dict[int, str]:
    """What nacks said of the messages of a run."""
    if not run.delivery & deliveries.HAS_ERROR:
        return {}
    found = mailbox.execute(SELECT_ERRORS, (mailbox.key, run.priority, run.first, run.end)).fetchall()
    return {number: error for number, error in found if isinstance(error, str)}


def _read_dead(mailbox: OpenMailbox, first: int, until: int) -> Page:
    messages: list[WholeMessage] = []
    size = 0
    found = mailbox.execute(SELECT_LETTERS, (mailbox.key, first, until)).fetchall()
    for letter, lane, number, reason, error, died_at in found:
        run = letters.checked_run_of(mailbox, letter, lane, number, reason, error, died_at)
        (message,) = mailbox.bodies.messages(run, mailbox.id_base)
        size += len(message.sender) + len(message.payload)
        if messages and size > PAGE_BYTES:
            return Page(messages, letter, until)
        messages.append(_whole(MessagePriority(lane), message, run, error, Death(reason, died_at)))
    return Page(messages, found[-1][0] + 1 if len(found) == PAGE_MESSAGES else until, until)


def _whole(
    priority: MessagePriority, message: Message, run: LaneRun, error: str | None, death: Death | None
) -> WholeMessage:
    inflight = run.where >= HELD or death is not None
    return WholeMessage(
        message.id,
        message.sender,
        message.payload,
        priority,
        message.created_at,
        deliveries.hand_outs(run.delivery),
        MessageStatus.INFLIGHT if inflight else MessageStatus.QUEUED,
        run.due if run.where == DELAYED else None,
        deliveries.failures(run.delivery),
        bool(run.delivery & deliveries.SUSPECT),
        error,
        death,
    )


def adopt(session: Session, name: str, messages: Sequence[WholeMessage]) -> tuple[list[bool], int | None]:
    """Appends messages, dead letters too, but for those whose id is there: which ones; and the depth if it grew."""
    mailbox = session.mailbox_to_fill(name)
    state, now, size, grown = mailbox.state, now_in_ms(), 0, False
    stored = []
    for whole in messages:
        new = rows.find(mailbox, whole.id) is None
        stored.append(new)
        if not new:
            continue
        size += whole.size
        has_error = whole.error is not None
        delivery = deliveries.restored(whole.delivery_count, whole.failures, suspect=whole.suspect, has_error=has_error)
        message = Message(whole.id, whole.sender, whole.payload, whole.created_at)
        if whole.death is not None:
            number = verbs.append(mailbox, whole.priority, message, delivery, where=BURIED)
            letters.note(mailbox, whole.priority, number, whole.death.reason, whole.death.died_at)
        else:
            due = whole.due if whole.due is not None and whole.due > now else 0
            number = verbs.append(mailbox, whole.priority, message, delivery, due)
            grown = True
        if has_error:
            mailbox.execute(INSERT_ERROR, (mailbox.key, whole.priority, number, whole.error))
    session.take_room(size)
    if grown:
        session.stored[name] = state.ever_queued
    return stored, state.queued if grown else None
