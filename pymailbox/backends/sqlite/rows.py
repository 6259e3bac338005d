"""Where a message is, and what cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from ..._ids import location_of
from ...core import delivery as deliveries
from ...core.state import PRIORITIES

if TYPE_CHECKING:
    from .session import OpenMailbox


SELECT_ID: Final = "SELECT lane, number FROM ids WHERE mailbox = ? AND id = ?"


class UnreadableError(Exception):
    """What is no message, or tells of none, since another program wrote it."""


class UnreadableMessageError(UnreadableError):
    def __init__(self, priority: int, number: int) -> None:
        super().__init__(f"message {number} of lane {priority} cannot be read")
        self.priority = priority
        self.number = number


class UnreadablePageError(UnreadableError):
    def __init__(self, priority: int, number: Any) -> None:
        super().__init__(f"page {number!r} of lane {priority} cannot be read")
        self.priority = priority
        self.number = number


class UnreadableLetterError(UnreadableError):
    def __init__(self, letter: Any) -> None:
        super().__init__(f"dead letter {letter!r} cannot be read")
        self.letter = letter


class MissingLettersError(UnreadableError):
    def __init__(self) -> None:
        super().__init__("the rows of dead letters are not those of the messages that are dead letters")


class Place(NamedTuple):
    """Where a message is, and how it stands."""

    priority: int
    number: int
    where: int
    delivery: int
    due: int


def find(mailbox: OpenMailbox, message_id: UUID) -> Place | None:
    """Where a message is, a dead letter too."""
    location = location_of(mailbox.id_base, message_id)
    if location is not None and location[0] < PRIORITIES:
        state = mailbox.state.state_of(*location)
        if state is not None and not state[1] & deliveries.CUSTOM_ID:
            return Place(location[0], location[1], *state)
    if not mailbox.state.custom_ids:
        return None
    found = mailbox.execute(SELECT_ID, (mailbox.key, message_id.bytes)).fetchone()
    if found is None or not isinstance(found[0], int) or not isinstance(found[1], int):
        return None
    state = mailbox.state.state_of(*found)
    if state is None or not state[1] & deliveries.CUSTOM_ID:
        return None
    return Place(found[0], found[1], *state)
