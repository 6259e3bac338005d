"""Messages in dequeue order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ..._values import MessagePriority, MessageRecord, MessageStatus

STALE_ALLOWED = 64
"""Places of removed messages that a line may still have, on top of as many as it has messages."""


@dataclass(slots=True, eq=False)
class Message:
    id: UUID
    sender: bytes
    payload: bytes
    priority: MessagePriority
    created_at: datetime
    place: int
    """Where it stands in dequeue order, for good: priority first, then the order of commits."""
    line: Line
    """Where it is now: among the queued or the delayed messages, or among those that a holder has or had."""
    delivery_count: int = 0
    failures: int = 0
    """How many of the deliveries failed."""
    suspect: bool = False
    """A holder died with it: it is handed out in a batch of its own, so that one that kills its consumer is found."""
    error: str | None = None
    """What the last nack said."""
    due: int = 0
    """While it is delayed: when it is handed out again, milliseconds since 1970."""

    def record(self, status: MessageStatus) -> MessageRecord:
        return MessageRecord(
            self.id, self.sender, self.payload, self.priority, self.created_at, status, self.delivery_count
        )


class Line:
    """Messages in dequeue order: any can be added or removed, and the first found, in O(log n) or less.

    The heap may still have the places of messages that were removed; they are passed over.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(MessagePriority, 0)
        self._messages: dict[int, Message] = {}
        self._heap: list[int] = []
        self._stale: set[int] = set()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Message) -> None:
        message.line = self
        self.counts[message.priority] += 1
        self._messages[message.place] = message
        if message.place in self._stale:
            self._stale.remove(message.place)
        else:
            heapq.heappush(self._heap, message.place)

    def remove(self, message: Message) -> None:
        self.counts[message.priority] -= 1
        del self._messages[message.place]
        self._stale.add(message.place)
        if len(self._stale) > len(self._messages) + STALE_ALLOWED:
            self._heap = sorted(self._messages)  # a sorted list is a heap
            self._stale.clear()

    def at(self, place: int) -> Message | None:
        return self._messages.get(place)

    def first(self) -> Message | None:
        while self._heap and self._heap[0] in self._stale:
            self._stale.remove(heapq.heappop(self._heap))
        return self._messages[self._heap[0]] if self._heap else None

    def __iter__(self) -> Iterator[Message]:
        """In order, at a cost that depends on how far it is followed: the heap is walked from its root."""
        border = [(self._heap[0], 0)] if self._heap else []
        while border:
            place, index = heapq.heappop(border)
            if place not in self._stale:
                yield self._messages[place]
            for child in range(2 * index + 1, min(2 * index + 3, len(self._heap))):
                heapq.heappush(border, (self._heap[child], child))
