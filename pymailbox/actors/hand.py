"""Messages that were claimed and wait for a handler."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import TypeAlias

from ..contract.values import MessageRecord

_Place: TypeAlias = tuple[int, int]
"""The priority, negative, and a number: the smallest is the next."""

_Line: TypeAlias = list[tuple[_Place, MessageRecord]]
"""A heap."""


class Hand:
    """Messages in the order in which they came, those of a higher priority first."""

    def __init__(self) -> None:
        self._line: _Line = []
        self._next = 0
        self._before_all = 0

    def __len__(self) -> int:
        return len(self._line)

    def add(self, records: Iterable[MessageRecord]) -> None:
        for record in records:
            self._next += 1
            self._put(record, self._next)

    def put_back(self, record: MessageRecord) -> None:
        """Puts back one that was taken, before all others of its priority."""
        self._before_all -= 1
        self._put(record, self._before_all)

    def take(self) -> MessageRecord | None:
        """The next one that may be handled now; ``finished`` comes after it."""
        return heapq.heappop(self._line)[1] if self._line else None

    def finished(self, record: MessageRecord) -> None:
        """The handler of a message that was taken is done with it."""

    def behind(self, record: MessageRecord) -> list[MessageRecord]:
        """The messages that have to wait for one that was taken."""
        return []

    def take_behind(self, record: MessageRecord) -> list[MessageRecord]:
        """Takes those out."""
        return []

    def take_free(self) -> list[MessageRecord]:
        """Takes out the messages that may be handled now, and those that only wait for them."""
        return self.take_all()

    def take_all(self) -> list[MessageRecord]:
        """Takes out everything, in order."""
        line, self._line = self._line, []
        return _in_order(line)

    def _put(self, record: MessageRecord, number: int) -> None:
        heapq.heappush(self._line, ((-record.priority, number), record))


class HandBySender(Hand):
    """The same, but with one message of each sender at a time: its others wait behind that one."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[bytes, _Line] = {}
        """By sender."""
        self._ready: list[tuple[_Place, bytes]] = []
        """A heap with the first place of each sender that has no message being handled; a place that is no longer the
        first of its line is skipped."""
        self._busy: set[bytes] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self) -> MessageRecord | None:
        while self._ready:
            place, sender = heapq.heappop(self._ready)
            line = self._lines.get(sender)
            if line and line[0][0] == place and sender not in self._busy:
                self._busy.add(sender)
                self._count -= 1
                _, record = heapq.heappop(line)
                if not line:
                    del self._lines[sender]
                return record
        return None

    def finished(self, record: MessageRecord) -> None:
        self._busy.discard(record.sender)
        self._offer(record.sender)

    def behind(self, record: MessageRecord) -> list[MessageRecord]:
        return _in_order(self._lines.get(record.sender, []))

    def take_behind(self, record: MessageRecord) -> list[MessageRecord]:
        line = self._lines.pop(record.sender, [])
        self._count -= len(line)
        return _in_order(line)

    def take_free(self) -> list[MessageRecord]:
        free = [sender for sender in self._lines if sender not in self._busy]
        entries = [entry for sender in free for entry in self._lines.pop(sender)]
        self._count -= len(entries)
        return _in_order(entries)

    def take_all(self) -> list[MessageRecord]:
        entries = [entry for line in self._lines.values() for entry in line]
        self._lines.clear()
        self._ready.clear()
        self._count = 0
        return _in_order(entries)

    def _put(self, record: MessageRecord, number: int) -> None:
        line = self._lines.setdefault(record.sender, [])
        entry = ((-record.priority, number), record)
        heapq.heappush(line, entry)
        self._count += 1
        if line[0] is entry:
            self._offer(record.sender)

    def _offer(self, sender: bytes) -> None:
        line = self._lines.get(sender)
        if line and sender not in self._busy:
            heapq.heappush(self._ready, (line[0][0], sender))


def _in_order(entries: _Line) -> list[MessageRecord]:
    return [record for _, record in sorted(entries, key=lambda entry: entry[0])]
