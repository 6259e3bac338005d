"""Messages that were claimed and wait for a handler."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from .._values import MessageRecord


class Hand:
    """Messages in the order in which they came."""

    def __init__(self) -> None:
        self._records: deque[MessageRecord] = deque()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, records: Iterable[MessageRecord]) -> None:
        self._records.extend(records)

    def put_back(self, record: MessageRecord) -> None:
        """Puts one that was taken before all others."""
        self._records.appendleft(record)

    def take(self) -> MessageRecord | None:
        """The next one that may be handled now; ``finished`` comes after it."""
        return self._records.popleft() if self._records else None

    def finished(self, record: MessageRecord) -> None:
        """The handler of a message that was taken is done with it."""

    def take_behind(self, record: MessageRecord) -> list[MessageRecord]:
        """Takes out what has to wait for a message that was taken."""
        return []

    def take_all(self) -> list[MessageRecord]:
        """Takes out everything, in the order in which it came."""
        records = list(self._records)
        self._records.clear()
        return records


class HandBySender(Hand):
    """The same, and of each sender one message at a time: the others of a sender wait behind it."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[bytes, deque[tuple[int, MessageRecord]]] = {}
        """By sender, each with its number."""
        self._ready: list[tuple[int, bytes]] = []
        """A heap of the first numbers of senders none of whose messages is being handled; a number that is no longer
        the first of its line is passed over."""
        self._busy: set[bytes] = set()
        self._next = 0
        self._before_all = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, records: Iterable[MessageRecord]) -> None:
        for record in records:
            line = self._lines.setdefault(record.sender, deque())
            line.append((self._next, record))
            self._next += 1
            self._count += 1
            if len(line) == 1:
                self._offer(record.sender)

    def put_back(self, record: MessageRecord) -> None:
        self._before_all -= 1
        self._lines.setdefault(record.sender, deque()).appendleft((self._before_all, record))
        self._count += 1
        self._offer(record.sender)

    def take(self) -> MessageRecord | None:
        while self._ready:
            number, sender = heapq.heappop(self._ready)
            line = self._lines.get(sender)
            if line and line[0][0] == number:
                self._busy.add(sender)
                self._count -= 1
                return self._pop_first(sender)
        return None

    def finished(self, record: MessageRecord) -> None:
        self._busy.discard(record.sender)
        self._offer(record.sender)

    def take_behind(self, record: MessageRecord) -> list[MessageRecord]:
        line = self._lines.pop(record.sender, deque())
        self._count -= len(line)
        return [waiting for _, waiting in line]

    def take_all(self) -> list[MessageRecord]:
        numbered = sorted((entry for line in self._lines.values() for entry in line), key=lambda entry: entry[0])
        self._lines.clear()
        self._ready.clear()
        self._count = 0
        return [record for _, record in numbered]

    def _pop_first(self, sender: bytes) -> MessageRecord:
        line = self._lines[sender]
        _, record = line.popleft()
        if not line:
            del self._lines[sender]
        return record

    def _offer(self, sender: bytes) -> None:
        line = self._lines.get(sender)
        if line and sender not in self._busy:
            heapq.heappush(self._ready, (line[0][0], sender))
