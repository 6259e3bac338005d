"""What the benchmark's Python files share; `bench/types.d.ts` is the same for JavaScript."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

Durability = Literal["strict", "relaxed"]
"""How durable commits that store messages are; claims and acknowledgements are always relaxed."""

Handle: TypeAlias = Callable[[Any], Awaitable[None]]
"""What is done with a message."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One measurement: a row of the plan."""

    case: str
    payload_bytes: int
    batch: int
    backlog: int = 0
    """Messages in the store before the clock starts."""
    durability: Durability = "strict"
    handles: int = 1
    """Connections, or handles, that the queue is opened with."""
    seconds: float = 0.0
    """How long a repeating case runs."""


class Queue(Protocol):
    """What every competitor can do, whatever it is built on. Each call returns when its work is committed."""

    def store(self, payload: bytes) -> Awaitable[object]: ...

    def store_many(self, payloads: Sequence[bytes]) -> Awaitable[object]:
        """Stores many, in as few commits as the competitor can."""

    def claim(self, limit: int) -> Awaitable[Sequence[Any]]:
        """Takes up to ``limit`` messages, oldest first, so that nobody else gets them."""

    def ack(self, message: Any) -> Awaitable[object]: ...

    def ack_many(self, messages: Sequence[Any]) -> Awaitable[object]: ...

    def count(self) -> Awaitable[int]:
        """How many messages wait."""

    def close(self) -> Awaitable[object]: ...


@runtime_checkable
class Chaining(Queue, Protocol):
    """A queue that acknowledges and claims in one call."""

    def ack_and_claim(self, message: Any) -> Awaitable[Sequence[Any]]:
        """Acknowledges a message, and takes the next one."""


class Waiting(Queue, Protocol):
    """A queue that notifies callers waiting for a message."""

    def wait(self) -> Awaitable[Any]:
        """Takes the next message, as soon as there is one."""


class Consuming(Queue, Protocol):
    """A queue with a loop over its messages, one after another, or whose users write one."""

    def consume(self, handle: Handle) -> Awaitable[None]:
        """Handles and acknowledges messages until its task is cancelled."""

    def store_urgent(self, payload: bytes) -> Awaitable[object]:
        """Stores a message that goes before the others."""


@runtime_checkable
class Blocking(Protocol):
    """A queue whose calls block."""

    def live(self, payload: bytes) -> None:
        """Stores a message, takes it, and acknowledges it."""

    def close(self) -> Awaitable[object]: ...


class Sized(Queue, Protocol):
    """A queue that reports its size."""

    def stored_bytes(self) -> Awaitable[int]:
        """Closes the queue, and returns how many bytes its store has."""


class Mortal(Queue, Protocol):
    """A queue whose consumers may die."""

    def crash(self) -> Awaitable[object]:
        """Leaves what was claimed as a death would."""

    def recover(self) -> Awaitable[int]:
        """Gives back what gone consumers had claimed; returns how many messages."""


class Relaying(Queue, Protocol):
    """A queue in two places: what is stored in one is moved to the other, where it is claimed."""

    @property
    def target(self) -> str:
        """The name of the place where messages are claimed; several queues may have the same."""

    def progress(self) -> Awaitable[tuple[int, float]]:
        """How many messages have been moved, and when the last ones were, in seconds since 1970."""


class Competitor(Protocol):
    """A module of ``bench.competitors``."""

    PACKAGE: str
    """What a user imports."""

    def open(self, durability: Durability, /) -> Awaitable[Queue]: ...

    def destroy(self) -> Awaitable[object]:
        """Deletes its store; all its queues are closed."""


class Case(Protocol):
    """A module of ``bench.cases``."""

    UNIT: str

    def measure(self, queues: list[Any], job: Job, competitor: Competitor, /) -> Awaitable[float]:
        """Runs on a competitor that is opened and filled, and returns the measurement, in the case's unit."""
