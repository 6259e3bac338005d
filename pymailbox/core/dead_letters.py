"""Dead letters: messages that are no longer handed out, each with a reason.

Their bytes stay in place, and the state says where they stand.
"""

from __future__ import annotations

from uuid import UUID

from ..contract.values import DeadLetter
from . import delivery as deliveries
from . import verbs
from .page import BURIED
from .state import LaneRun
from .store import Place, Store, find


def bury(store: Store, priority: int, number: int, delivery: int, reason: str, now: int) -> None:
    """Makes a dead letter of a message, wherever it is."""
    store.state.move(priority, number, BURIED, delivery)
    note(store, priority, number, reason, now)


def note(store: Store, priority: int, number: int, reason: str, died_at: int) -> None:
    """Records why a message is a dead letter."""
    state = store.state
    store.note_letter(state.next_letter, priority, number, reason, died_at)
    state.next_letter += 1
    state.changed = True


def list_dead_letters(store: Store, limit: int, offset: int) -> list[DeadLetter]:
    """The newest first; ``offset`` are passed over."""
    letters = store.newest_letters(limit, offset) if store.state.dead_letters > offset else ()
    return [verbs.dead_letter_of(store, letter) for letter in letters]


def redrive(store: Store, message_id: UUID) -> int | None:
    """Puts a dead letter at the end of its priority, as new; the queued count after it, or None."""
    place = _find(store, message_id)
    if place is None:
        return None
    run = LaneRun(place.priority, place.number, place.number + 1, place.delivery)
    (message,) = store.bodies.messages(run, store.id_base)
    store.reserve(message.size)
    _remove(store, place)
    verbs.append(store, place.priority, message, deliveries.CUSTOM_ID)
    return store.state.queued


def discard(store: Store, message_id: UUID) -> bool:
    place = _find(store, message_id)
    if place is None:
        return False
    _remove(store, place)
    return True


def _find(store: Store, message_id: UUID) -> Place | None:
    place = find(store, message_id)
    return place if place and place.where == BURIED else None


def _remove(store: Store, place: Place) -> None:
    priority, number, *_ = place
    store.forget_letter(priority, number)
    store.clear_away(store.state.remove(priority, number, number + 1))
