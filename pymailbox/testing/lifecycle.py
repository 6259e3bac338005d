"""The life of a message as one table: the states it can be in, and what moves it from one to another.

``Model`` moves messages only by this table, so every random program holds a mailbox to it.
``docs/message-lifecycle.md`` shows it; ``tools/lifecycle_page.py`` writes that page.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """The state of a message."""

    ABSENT = "absent"
    QUEUED = "queued"
    DELAYED = "delayed"
    INFLIGHT = "inflight"
    DEAD = "dead"


MEANING: Final[Mapping[State, str]] = {
    State.ABSENT: "not in the mailbox: it never was, or it is gone for good",
    State.QUEUED: "waits to be handed out, at its place in its priority",
    State.DELAYED: "is not handed out before its due time; then it is queued at its place in its priority",
    State.INFLIGHT: "is held by the handle that it was handed out to",
    State.DEAD: "is a dead letter: no longer handed out, and kept with a reason",
}

COUNTED: Final[Mapping[State, str | None]] = {
    State.ABSENT: None,
    State.QUEUED: "queued_messages",
    State.DELAYED: "queued_messages",
    State.INFLIGHT: "inflight_messages",
    State.DEAD: "dead_letters",
}
"""The field of ``MailboxStats`` that counts messages in this state."""


class Event(StrEnum):
    """What can happen to a message."""

    ENQUEUE = "enqueue"
    SEND = "send"
    IMPORT = "import_"
    DUE = "due"
    DEQUEUE = "dequeue"
    ACK = "ack"
    ACK_AND_SEND = "ack_and_send"
    PROMOTE = "promote"
    NACK = "nack"
    DEFER = "nack(failed=False)"
    DEAD_LETTER = "dead_letter"
    RELEASE = "release"
    DEATH = "death"
    SOLO_DEATH = "solo death"
    REDRIVE = "redrive"
    DISCARD = "discard"
    PURGE = "purge"
    SALVAGE = "salvage"


MADE_BY: Final[Mapping[Event, str]] = {
    Event.ENQUEUE: "`enqueue`, `enqueue_many`",
    Event.SEND: "`ack_and_send`: a message that it sends",
    Event.IMPORT: "`import_`; what was inflight is queued",
    Event.DUE: "its due time",
    Event.DEQUEUE: "`dequeue`, `messages()`",
    Event.ACK: "`ack`, `ack_many`, `dequeue(ack=…)`",
    Event.ACK_AND_SEND: "`ack_and_send`: the message that it acknowledges",
    Event.PROMOTE: "`promote`",
    Event.NACK: "`nack`",
    Event.DEFER: "`nack(failed=False)`: not now",
    Event.DEAD_LETTER: "`dead_letter`",
    Event.RELEASE: "`close`, a cancelled `dequeue`, a loop over `messages()` or a page that is left, a handle that is "
    "collected or whose event loop was closed",
    Event.DEATH: "the end of its holder's tab, worker or process, when it had been handed out together with others",
    Event.SOLO_DEATH: "the same, when it had been handed out in a batch of its own",
    Event.REDRIVE: "`redrive`: to the end of its priority",
    Event.DISCARD: "`discard`",
    Event.PURGE: "`purge`",
    Event.SALVAGE: "a row that something else damaged: what is left of it becomes a dead letter with a new id",
}

BEYOND_PROGRAMS: Final = frozenset({Event.IMPORT, Event.SALVAGE})
"""Events that no random program causes, so ``Model`` does not know them."""


class Who(StrEnum):
    """Who can make an event happen to a message."""

    ANYBODY = "any handle"
    HOLDER = "its holder"
    MAILBOX = "the mailbox"


class Count(Enum):
    """What happens to a count of a message."""

    KEPT = ""
    UP = "+1"
    DOWN = "−1"  # noqa: RUF001  a minus sign, for the page
    ZERO = "0"

    def of(self, before: int) -> int:
        """The count afterwards."""
        if self is Count.KEPT:
            return before
        if self is Count.ZERO:
            return 0
        return before + (1 if self is Count.UP else -1)


class Suspicion(Enum):
    """Whether a message is a suspect afterwards, to be handed out in a batch of its own."""

    KEPT = ""
    RAISED = "yes"
    CLEARED = "no"

    def of(self, before: bool) -> bool:
        """Whether it is one afterwards."""
        return before if self is Suspicion.KEPT else self is Suspicion.RAISED


class Transition(NamedTuple):
    """A row of the table."""

    event: Event
    before: State
    after: State
    who: Who
    when: str = ""
    """The condition on which it leads there, if the event can lead elsewhere."""
    deliveries: Count = Count.KEPT
    """What happens to ``delivery_count``."""
    failures: Count = Count.KEPT
    """What happens to the number of failed deliveries, which ``max_deliveries`` limits."""
    suspect: Suspicion = Suspicion.KEPT
    observed: bool = False
    """Whether the depth observer is called."""


_DELAY = "with a delay"
_LAST = "that makes `max_deliveries` failures"


def _new(event: Event, before: State, after: State, when: str = "") -> Transition:
    """It comes into the queue as a new message."""
    return Transition(event, before, after, Who.ANYBODY, when, Count.ZERO, Count.ZERO, Suspicion.CLEARED, observed=True)


TRANSITIONS: Final = (
    _new(Event.ENQUEUE, State.ABSENT, State.QUEUED),
    _new(Event.ENQUEUE, State.ABSENT, State.DELAYED, _DELAY),
    _new(Event.SEND, State.ABSENT, State.QUEUED),
    _new(Event.SEND, State.ABSENT, State.DELAYED, _DELAY),
    Transition(Event.IMPORT, State.ABSENT, State.QUEUED, Who.ANYBODY, observed=True),
    Transition(Event.IMPORT, State.ABSENT, State.DELAYED, Who.ANYBODY, "it was delayed", observed=True),
    Transition(Event.IMPORT, State.ABSENT, State.DEAD, Who.ANYBODY, "it was a dead letter"),
    Transition(Event.DUE, State.DELAYED, State.QUEUED, Who.MAILBOX),
    Transition(Event.PROMOTE, State.DELAYED, State.QUEUED, Who.ANYBODY),
    Transition(Event.DEQUEUE, State.QUEUED, State.INFLIGHT, Who.ANYBODY, deliveries=Count.UP),
    Transition(Event.ACK, State.QUEUED, State.ABSENT, Who.ANYBODY),
    Transition(Event.ACK, State.DELAYED, State.ABSENT, Who.ANYBODY),
    Transition(Event.ACK, State.INFLIGHT, State.ABSENT, Who.ANYBODY),
    Transition(Event.ACK_AND_SEND, State.INFLIGHT, State.ABSENT, Who.HOLDER),
    Transition(Event.NACK, State.INFLIGHT, State.QUEUED, Who.HOLDER, failures=Count.UP, suspect=Suspicion.CLEARED),
    Transition(
        Event.NACK, State.INFLIGHT, State.DELAYED, Who.HOLDER, _DELAY, failures=Count.UP, suspect=Suspicion.CLEARED
    ),
    Transition(Event.NACK, State.INFLIGHT, State.DEAD, Who.HOLDER, _LAST, failures=Count.UP, suspect=Suspicion.CLEARED),
    Transition(Event.DEFER, State.INFLIGHT, State.QUEUED, Who.HOLDER, deliveries=Count.DOWN),
    Transition(Event.DEFER, State.INFLIGHT, State.DELAYED, Who.HOLDER, _DELAY, deliveries=Count.DOWN),
    Transition(Event.DEAD_LETTER, State.INFLIGHT, State.DEAD, Who.HOLDER),
    Transition(Event.RELEASE, State.INFLIGHT, State.QUEUED, Who.HOLDER, deliveries=Count.DOWN),
    Transition(Event.DEATH, State.INFLIGHT, State.QUEUED, Who.MAILBOX, suspect=Suspicion.RAISED),
    Transition(
        Event.SOLO_DEATH, State.INFLIGHT, State.QUEUED, Who.MAILBOX, failures=Count.UP, suspect=Suspicion.RAISED
    ),
    Transition(Event.SOLO_DEATH, State.INFLIGHT, State.DEAD, Who.MAILBOX, _LAST, failures=Count.UP),
    _new(Event.REDRIVE, State.DEAD, State.QUEUED),
    Transition(Event.DISCARD, State.DEAD, State.ABSENT, Who.ANYBODY),
    Transition(Event.PURGE, State.QUEUED, State.ABSENT, Who.ANYBODY),
    Transition(Event.PURGE, State.DELAYED, State.ABSENT, Who.ANYBODY),
    Transition(Event.SALVAGE, State.QUEUED, State.DEAD, Who.MAILBOX),
    Transition(Event.SALVAGE, State.DELAYED, State.DEAD, Who.MAILBOX),
    Transition(Event.SALVAGE, State.INFLIGHT, State.DEAD, Who.MAILBOX),
    Transition(Event.SALVAGE, State.DEAD, State.DEAD, Who.MAILBOX),
)
"""Everything that can happen. What is not here never happens."""


_BY_STATES: Final = {row[:3]: row for row in TRANSITIONS}
_WHO: Final = {row[:2]: row.who for row in TRANSITIONS}


class ImpossibleTransitionError(Exception):
    """Something would move a message in a way that is not in the table."""


def transition(event: Event, before: State, after: State) -> Transition:
    """The row of the table.

    Raises:
        ImpossibleTransitionError: there is none.
    """
    try:
        return _BY_STATES[event, before, after]
    except KeyError:
        raise ImpossibleTransitionError(f"{event} never makes a message that is {before} {after}") from None


def who_may(event: Event, state: State) -> Who | None:
    """Who can make an event happen to a message in a state; None if nobody can."""
    return _WHO.get((event, state))
