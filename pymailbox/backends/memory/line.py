"""Messages in an order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final, TypeAlias
from uuid import UUID

from ..._ids import SEQUENCE_BITS
from ..._values import MessagePriority, MessageRecord, MessageStatus

BLOCK: Final = 512
"""Messages that a line keeps together; to shift so many keys takes no time."""

PLACE_BITS: Final = SEQUENCE_BITS + 1
"""Of a message's place: its priority, and its number."""

Counts: TypeAlias = dict[MessagePriority, int]

_last_of = itemgetter(-1)


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
    """While it is delayed: when it is handed out again, milliseconds since 1970; else 0."""

    @property
    def key(self) -> int:
        """By which lines are sorted: delayed messages by their due time, all others by their place."""
        return self.due << PLACE_BITS | self.place

    def record(self, status: MessageStatus) -> MessageRecord:
        return MessageRecord(
            self.id, self.sender, self.payload, self.priority, self.created_at, status, self.delivery_count
        )


class Line:
    """Messages in the order of their keys: any can be added or removed, and the first found, at a cost that does not
    depend on how many there are or have been, or hardly.

    The keys are sorted in blocks, each in its order and after the one before; none is empty.
    """

    def __init__(self, counts: Counts | None = None) -> None:
        self.counts = dict.fromkeys(MessagePriority, 0) if counts is None else counts
        """How many there are; several lines may count together."""
        self._messages: dict[int, Message] = {}
        self._blocks: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Message) -> None:
        message.line = self
        self.counts[message.priority] += 1
        key = message.key
        self._messages[key] = message
        blocks = self._blocks
        if not blocks or key > blocks[-1][-1]:
            if blocks and len(blocks[-1]) < BLOCK:
                blocks[-1].append(key)
            else:
                blocks.append([key])
            return
        index = self._block_of(key)
        block = blocks[index]
        block.insert(bisect_left(block, key), key)
        if len(block) > BLOCK:
            middle = len(block) // 2
            blocks[index : index + 1] = block[:middle], block[middle:]

    def remove(self, message: Message) -> None:
        self.counts[message.priority] -= 1
        key = message.key
        del self._messages[key]
        index = self._block_of(key)
        block = self._blocks[index]
        del block[bisect_left(block, key)]
        if not block:
            del self._blocks[index]

    def first(self) -> Message | None:
        return self._messages[self._blocks[0][0]] if self._blocks else None

    def count_with(self, counts: Counts) -> None:
        """Counts together with other lines from now on."""
        for priority, count in self.counts.items():
            counts[priority] += count
        self.counts = counts

    def __iter__(self) -> Iterator[Message]:
        """In order, at a cost that depends on how far it is followed."""
        return (self._messages[key] for block in self._blocks for key in block)

    def _block_of(self, key: int) -> int:
        """The index of the first block that does not end before the key."""
        if key <= self._blocks[0][-1]:  # as it mostly is, and quicker
            return 0
        return bisect_left(self._blocks, key, key=_last_of)
