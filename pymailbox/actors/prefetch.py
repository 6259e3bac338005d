"""Messages that were claimed and wait for a handler."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import TypeAlias

from ..contract.values import MessageRecord

_SortKey: TypeAlias = tuple[int, int]
"""The priority, negative, and a number: the smallest is the next."""

_Heap: TypeAlias = list[tuple[_SortKey, MessageRecord]]
"""By its keys."""


class PrefetchBuffer:
    """Messages in the order in which they came, those of a higher priority first."""

    def __init__(self) -> None:
        self._heap: _Heap = []
        self._next = 0
        self._before_all = 0

    def __len__(self) -> int:
        return len(self._heap)

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
        return heapq.heappop(self._heap)[1] if self._heap else None

    def finished(self, record: MessageRecord) -> None:
        """The handler of a message that was taken is done with it."""

    def successors(self, record: MessageRecord) -> list[MessageRecord]:
        """The messages that have to wait for one that was taken."""
        return []

    def take_successors(self, record: MessageRecord) -> list[MessageRecord]:
        """Takes those out."""
        return []

    @property
    def has_free(self) -> bool:
        """Whether there are messages that may be handled now."""
        return bool(self._heap)

    def take_free(self) -> list[MessageRecord]:
        """Takes out the messages that may be handled now, and those that only wait for them."""
        return self.take_all()

    def take_all(self) -> list[MessageRecord]:
        """Takes out everything, in order."""
        heap, self._heap = self._heap, []
        return _in_order(heap)

    def _put(self, record: MessageRecord, number: int) -> None:
        heapq.heappush(self._heap, ((-record.priority, number), record))


class SenderOrderedBuffer(PrefetchBuffer):
    """The same, but with one message of each sender at a time: its others wait behind that one."""

    def __init__(self) -> None:
        super().__init__()
        self._heaps: dict[bytes, _Heap] = {}
        """By sender."""
        self._ready: list[tuple[_SortKey, bytes]] = []
        """A heap with the first key of each sender that has no message being handled; a key that is no longer the first
        of its heap is skipped."""
        self._busy: set[bytes] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self) -> MessageRecord | None:
        while self._ready:
            key, sender = heapq.heappop(self._ready)
            heap = self._heaps.get(sender)
            if heap and heap[0][0] == key and sender not in self._busy:
                self._busy.add(sender)
                self._count -= 1
                _, record = heapq.heappop(heap)
                if not heap:
                    del self._heaps[sender]
                return record
        return None

    def finished(self, record: MessageRecord) -> None:
        self._busy.discard(record.sender)
        self._offer(record.sender)

    def successors(self, record: MessageRecord) -> list[MessageRecord]:
        return _in_order(self._heaps.get(record.sender, []))

    def take_successors(self, record: MessageRecord) -> list[MessageRecord]:
        heap = self._heaps.pop(record.sender, [])
        self._count -= len(heap)
        return _in_order(heap)

    @property
    def has_free(self) -> bool:
        return not self._heaps.keys() <= self._busy

    def take_free(self) -> list[MessageRecord]:
        free = [sender for sender in self._heaps if sender not in self._busy]
        entries = [entry for sender in free for entry in self._heaps.pop(sender)]
        self._count -= len(entries)
        return _in_order(entries)

    def take_all(self) -> list[MessageRecord]:
        entries = [entry for heap in self._heaps.values() for entry in heap]
        self._heaps.clear()
        self._ready.clear()
        self._count = 0
        return _in_order(entries)

    def _put(self, record: MessageRecord, number: int) -> None:
        heap = self._heaps.setdefault(record.sender, [])
        entry = ((-record.priority, number), record)
        heapq.heappush(heap, entry)
        self._count += 1
        if heap[0] is entry:
            self._offer(record.sender)

    def _offer(self, sender: bytes) -> None:
        heap = self._heaps.get(sender)
        if heap and sender not in self._busy:
            heapq.heappush(self._ready, (heap[0][0], sender))


def _in_order(entries: _Heap) -> list[MessageRecord]:
    return [record for _, record in sorted(entries, key=lambda entry: entry[0])]
