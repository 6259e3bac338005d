"""The seam between the rules and a backend: where a mailbox keeps what its state does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol
from uuid import UUID

from ..contract.ids import location_of
from ..contract.values import MessageRecord, MessageStatus
from . import delivery as deliveries
from .page import HELD
from .state import PRIORITIES, LaneRun, MailboxState


class Message(NamedTuple):
    """What never changes of a message."""

    id: UUID
    sender: bytes
    payload: bytes
    created_at: int
    """Milliseconds since 1970."""
    headers: bytes = b""
    """As ``pack_headers`` makes them."""

    @property
    def size(self) -> int:
        """Bytes that its sender gave."""
        return len(self.sender) + len(self.payload) + len(self.headers)


class Letter(NamedTuple):
    """A dead letter: its message, and why it is one."""

    number: int
    """They are numbered as they come; a number is never used twice."""
    run: LaneRun
    reason: str
    error: str | None
    """What the last nack said."""
    died_at: int
    """Milliseconds since 1970."""


class Holder:
    """A consumer, to which messages are handed out."""

    def __init__(self, number: int, max_deliveries: int | None) -> None:
        self.number = number
        """Its identity."""
        self.max_deliveries = max_deliveries
        self.lease: int | None = None
        """Milliseconds after which it is gone without a sign of life; None if something else shows whether it lives."""
        self.heartbeats = 0
        """A number that changes while it lives and has something, if it has a lease."""

    def show_liveness(self) -> None:
        """Called when it is about to be handed something and has nothing, before others can see that it has."""


class Bodies(Protocol):
    """The messages themselves."""

    def append(self, priority: int, number: int, message: Message, custom: bool) -> None:
        """Keeps a message, the next one of its lane; ``custom`` if its sender gave its id."""

    def messages(self, run: LaneRun, id_base: int) -> Iterator[Message]:
        """The messages of a run."""

    def records(
        self, runs: list[LaneRun], id_base: int, status: MessageStatus, hand_outs: int = 0, largest: float = ...
    ) -> list[MessageRecord]:
        """As ``records_of`` makes them; with ``hand_outs`` the messages are being handed out."""


class Store(Protocol):
    """One mailbox: its state, and where all else of it is kept.

    The rules decide and move; a store keeps what it is given, finds it again, and deletes it. What they do in a call,
    or in several that share a commit, is one transaction: if it fails, nothing of it may remain, here or in the state.
    """

    @property
    def state(self) -> MailboxState: ...

    @property
    def id_base(self) -> int:
        """What the ids that the mailbox makes are made with."""

    @property
    def bodies(self) -> Bodies: ...

    @property
    def known_live(self) -> set[int]:
        """Holders without a lease that have shown life, and need not do so again; a store may forget them."""

    def reserve(self, size: int) -> None:
        """Announces that this transaction will store ``size`` bytes of messages; may raise if there is no room."""

    def clear_away(self, runs: list[LaneRun]) -> None:
        """Drops everything that it has of messages that were removed from the state, except dead letters."""

    def clear_queued(self, special: list[LaneRun]) -> None:
        """As ``clear_away``, once nothing is queued any more; ``special`` had a custom id or an error."""

    # -- ids that senders gave -----------------------------------------------------------------------------------------

    def note_id(self, message_id: UUID, priority: int, number: int) -> None:
        """Records where the message with an id is, in place of an earlier record."""

    def find_id(self, message_id: UUID) -> tuple[int, int] | None:
        """Where the message with an id is, by lane and number; it may be dead by now."""

    # -- ids that stay known -------------------------------------------------------------------------------------------

    def remember(self, message_id: UUID, until: int) -> None:
        """Records that an id is known until then, in place of an earlier record; ``state.remembered`` is the caller's.

        Milliseconds since 1970, as all times here.
        """

    def remembered_until(self, message_id: UUID) -> int | None:
        """Until when an id is known, by its record."""

    def forget_remembered(self, until: int, most: int) -> int:
        """Deletes up to ``most`` records of ids that were known until then or less; how many."""

    def remembered(self, after: UUID | None, most: int) -> list[tuple[UUID, int]]:
        """Up to ``most`` known ids that come after one, in their order, each with the time until which it is known."""

    # -- what nacks said -----------------------------------------------------------------------------------------------

    def note_error(self, priority: int, number: int, error: str) -> None:
        """Records what a nack said, in place of what an earlier one said."""

    def errors(self, run: LaneRun) -> Mapping[int, str]:
        """What nacks said of the messages of a run, by number."""

    # -- dead letters --------------------------------------------------------------------------------------------------

    def note_letter(self, letter: int, priority: int, number: int, reason: str, died_at: int) -> None:
        """Records why a message is a dead letter; the number of the letter is the largest so far."""

    def forget_letter(self, priority: int, number: int) -> None:
        """Deletes that record."""

    def newest_letters(self, limit: int, offset: int) -> Iterable[Letter]:
        """At most ``limit``, the newest first; ``offset`` are passed over."""

    def letter_of(self, priority: int, number: int) -> Letter | None:
        """The dead letter of a message."""

    def letters(self, first: int, until: int, limit: int) -> Iterable[Letter]:
        """At most ``limit`` of those with numbers from ``first`` to before ``until``, in order."""


class Place(NamedTuple):
    """Where a message is, and how it stands."""

    priority: int
    number: int
    where: int
    delivery: int
    due: int


def find(store: Store, message_id: UUID) -> Place | None:
    """Where a message is, a dead letter too."""
    state = store.state
    location = location_of(store.id_base, message_id)
    if location is not None and location[0] < PRIORITIES:
        stands = state.state_of(*location)
        if stands is not None and not stands[1] & deliveries.CUSTOM_ID:
            return Place(*location, *stands)
    if not state.custom_ids:
        return None
    found = store.find_id(message_id)
    stands = None if found is None else state.state_of(*found)
    if found is None or stands is None or not stands[1] & deliveries.CUSTOM_ID:
        return None
    return Place(*found, *stands)


def find_held(store: Store, holder: int, message_id: UUID) -> Place | None:
    """Where a message is that a holder has."""
    claims = store.state.holders.by_number.get(holder)
    place = None if claims is None else find(store, message_id)
    if claims is None or place is None or place.where != HELD + claims.slot:
        return None
    return place
