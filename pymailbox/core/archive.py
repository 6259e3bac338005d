"""A mailbox as a whole: read out page by page, and filled again."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ..contract.archive import Death, Page, Remembered, Section, WholeMessage
from ..contract.limits import PAGE_BYTES, PAGE_MESSAGES
from ..contract.values import MessagePriority, MessageStatus
from . import dead_letters, verbs
from . import delivery as deliveries
from .page import BURIED, DELAYED, HELD
from .state import LaneRun
from .store import Message, Store, find


def read_section(store: Store, section: Section, after: int, until: int | None) -> Page:
    """As ``Archive.page``."""
    if section is None:
        return _read_dead(store, after, store.state.next_letter if until is None else until)
    return _read_living(store, section, after, store.state.lanes[section].next if until is None else until)


def _read_living(store: Store, priority: MessagePriority, first: int, until: int) -> Page:
    messages: list[WholeMessage] = []
    size = 0
    for run in store.state.living(priority, first, until):
        if run.where == BURIED:
            continue
        errors = store.errors(run) if run.delivery & deliveries.HAS_ERROR else {}
        for number, message in enumerate(store.bodies.messages(run, store.id_base), run.first):
            size += message.size
            if messages and (size > PAGE_BYTES or len(messages) == PAGE_MESSAGES):
                return Page(messages, number, until)
            messages.append(_whole(priority, message, run, errors.get(number), None))
    return Page(messages, until, until)


def _read_dead(store: Store, first: int, until: int) -> Page:
    messages: list[WholeMessage] = []
    size = 0
    for letter in store.letters(first, until, PAGE_MESSAGES):
        (message,) = store.bodies.messages(letter.run, store.id_base)
        size += message.size
        if messages and size > PAGE_BYTES:
            return Page(messages, letter.number, until)
        death = Death(letter.reason, letter.died_at)
        messages.append(_whole(MessagePriority(letter.run.priority), message, letter.run, letter.error, death))
        first = letter.number + 1
    return Page(messages, first if len(messages) == PAGE_MESSAGES else until, until)


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
        message.headers,
    )


def adopt(store: Store, messages: Sequence[WholeMessage], now: int) -> tuple[list[bool], int | None]:
    """Appends messages, also dead letters, except those whose id is there; which ones, and the depth if it grew."""
    size, grown = 0, False
    stored = []
    for whole in messages:
        new = find(store, whole.id) is None
        stored.append(new)
        if not new:
            continue
        size += whole.size
        has_error = whole.error is not None
        delivery = deliveries.restored(whole.delivery_count, whole.failures, suspect=whole.suspect, has_error=has_error)
        message = Message(whole.id, whole.sender, whole.payload, whole.created_at, whole.headers)
        if whole.death is not None:
            number = verbs.append(store, whole.priority, message, delivery, where=BURIED)
            dead_letters.note(store, whole.priority, number, whole.death.reason, whole.death.died_at)
        else:
            due = whole.due if whole.due is not None and whole.due > now else 0
            number = verbs.append(store, whole.priority, message, delivery, due)
            grown = True
        if whole.error is not None:
            store.note_error(whole.priority, number, whole.error)
    store.reserve(size)
    return stored, store.state.queued if grown else None


def read_remembered(store: Store, after: UUID | None) -> list[Remembered]:
    """As ``Archive.remembered``."""
    if not store.state.remembered:
        return []
    return [Remembered(*known) for known in store.remembered(after, PAGE_MESSAGES)]


def remember(store: Store, ids: Sequence[Remembered], now: int) -> None:
    """Keeps ids known until the time given with each, or longer if they are known for longer already."""
    for message_id, until in ids:
        known = store.remembered_until(message_id) if store.state.remembered else None
        if until > max(now, known or 0):
            verbs.remember(store, message_id, until, now)
