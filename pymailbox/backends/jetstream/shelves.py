"""What a state knows of its messages, in columns: a hundred thousand take 5 MB, as here so in a snapshot."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from math import inf
from typing import Any, Final, cast
from uuid import UUID

from ...contract.ids import id_of
from ...contract.values import MessageRecord, MessageStatus
from ...core.records import records_of
from ...core.state import PRIORITIES, LaneRun
from ...core.store import Message
from .arrivals import Row
from .codec import Reference

SHELF: Final = 1024
"""Numbers of a lane that a shelf is for."""

_COLUMNS: Final = ("H", "q", "Q", "i", "I", "I", "I")
"""Of a shelf: a number within it, when the message came, and all of its reference but the parts."""

_ID: Final = 16
_IDS: Final = [struct.Struct(f"{_ID}s" * count) for count in (1, SHELF)]
_HEAD: Final = struct.Struct("<QI")
_PARTS: Final = struct.Struct("<BQI")


_NOBODYS: Final[Any] = None
"""In the place of a record that nobody wants."""


class Shelf:
    """Messages of neighbouring numbers, in order."""

    __slots__ = ("columns", "first", "ids")

    def __init__(self, first: int) -> None:
        self.first = first
        """The first number that it is for."""
        self.ids = bytearray()
        self.columns = [array(kind) for kind in _COLUMNS]

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def numbers(self) -> Iterator[int]:
        """Of its messages, within their lane."""
        return map(self.first.__add__, self.columns[0])

    @property
    def seqs(self) -> Sequence[int]:
        """Of the stream messages that its messages came with."""
        return self.columns[2]

    def each_id(self) -> tuple[bytes, ...]:
        count = len(self)
        return (_IDS[1] if count == SHELF else struct.Struct(f"{_ID}s" * count)).unpack(self.ids)

    def index(self, number: int) -> int:
        """Where a number is, or would be."""
        numbers, offset = self.columns[0], number - self.first
        if offset < len(numbers) and numbers[offset] == offset:  # none before it is gone
            return offset
        return bisect_left(numbers, offset)

    def add(self, number: int, message: Message) -> None:
        """Adds one behind all others."""
        reference = cast(Reference, message.payload)
        self.ids += message.id.bytes
        numbers, created, seqs, ats, senders, payloads, headers = self.columns
        numbers.append(number - self.first)
        created.append(message.created_at)
        seqs.append(reference.seq)
        ats.append(reference.at)
        senders.append(reference.sender)
        payloads.append(reference.payload)
        headers.append(reference.headers)

    def add_rows(self, number: int, rows: Sequence[Row]) -> None:
        """Adds some behind all others."""
        ids, *columns = zip(*rows, strict=True)
        self.ids += b"".join(ids)
        offset = number - self.first
        for column, values in zip(self.columns, (range(offset, offset + len(rows)), *columns), strict=True):
            column.extend(values)

    def remove(self, first: int, end: int) -> None:
        """Removes those between two indexes."""
        del self.ids[_ID * first : _ID * end]
        for column in self.columns:
            del column[first:end]

    def encode(self) -> bytes:
        return b"".join([_HEAD.pack(self.first, len(self)), self.ids, *map(_bytes_of, self.columns)])

    @classmethod
    def decode(cls, data: bytes, at: int) -> tuple[Shelf, int]:
        """With where it ends."""
        first, count = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        shelf = cls(first)
        shelf.ids += data[at : at + _ID * count]
        at += _ID * count
        for column in shelf.columns:
            size = column.itemsize * count
            column.frombytes(data[at : at + size])
            if sys.byteorder == "big":
                column.byteswap()
            at += size
        return shelf, at


def _bytes_of(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _fitting(sizes: Iterable[int], largest: float) -> int:
    """How many fit together, at least one, as ``records_of`` has it."""
    count, left = 0, largest
    for size in sizes:
        left -= size
        if left < 0 and count:
            break
        count += 1
    return count


class Shelves:
    """The core's ``Bodies``, with references in the place of bytes; and where each id is."""

    def __init__(self) -> None:
        self._lanes: list[dict[int, Shelf]] = [{} for _ in range(PRIORITIES)]
        """By priority and the shelf's first number, in order."""
        self._places: list[dict[bytes, int]] = [{} for _ in range(PRIORITIES)]
        """Numbers by priority and id."""
        self._parts: dict[tuple[int, int], tuple[int, ...]] = {}
        """Of the few messages that are in parts."""
        self.records_wanted = True
        """Whether somebody here waits for records; else those of a claim are only counted."""

    def __len__(self) -> int:
        return sum(map(len, self._places))

    def append(self, priority: int, number: int, message: Message, custom: bool) -> None:
        lane, first = self._lanes[priority], number - number % SHELF
        shelf = lane.get(first)
        if shelf is None:
            shelf = lane[first] = Shelf(first)
        shelf.add(number, message)
        self._places[priority][message.id.bytes] = number
        parts = cast(Reference, message.payload).parts
        if parts:
            self._parts[priority, number] = parts

    def append_rows(self, priority: int, first: int, rows: Sequence[Row]) -> None:
        """As ``append``, of many messages that are in no parts."""
        lane, at = self._lanes[priority], 0
        while at < len(rows):
            number = first + at
            start = number - number % SHELF
            shelf = lane.get(start)
            if shelf is None:
                shelf = lane[start] = Shelf(start)
            some = rows[at : at + start + SHELF - number]
            shelf.add_rows(number, some)
            self._places[priority].update(zip((row[0] for row in some), range(number, number + len(some)), strict=True))
            at += len(some)

    def messages(self, run: LaneRun, id_base: int) -> Iterator[Message]:
        for priority, shelf, first, end in self._on_shelves(run):
            for index in range(first, end):
                yield self._message(priority, shelf, index)

    def _on_shelves(self, run: LaneRun) -> Iterator[tuple[int, Shelf, int, int]]:
        """Where messages are: priority, shelf, and indexes from one to before another."""
        priority, number, end, *_ = run
        while number < end:
            shelf = self._lanes[priority][number - number % SHELF]
            at = shelf.index(number)
            yield priority, shelf, at, at + min(end, shelf.first + SHELF) - number
            number = shelf.first + SHELF

    def records(
        self, runs: list[LaneRun], id_base: int, status: MessageStatus, hand_outs: int = 0, largest: float = inf
    ) -> list[MessageRecord]:
        if self.records_wanted:
            return records_of(runs, partial(self.messages, id_base=id_base), status, hand_outs, largest)
        return [_NOBODYS] * _fitting(chain.from_iterable(map(self._payloads, runs)), largest)

    def _payloads(self, run: LaneRun) -> Iterator[int]:
        """Bytes of each payload."""
        for _, shelf, first, end in self._on_shelves(run):
            yield from shelf.columns[5][first:end]

    def _message(self, priority: int, shelf: Shelf, index: int) -> Message:
        numbers, created, seqs, ats, senders, payloads, headers = shelf.columns
        parts = self._parts.get((priority, shelf.first + numbers[index]), ()) if self._parts else ()
        reference = Reference(seqs[index], ats[index], senders[index], payloads[index], headers[index], parts)
        message_id = id_of(int.from_bytes(shelf.ids[_ID * index : _ID * index + _ID], "big"))
        return Message(message_id, b"", cast(bytes, reference), created[index])

    # -- one of them ---------------------------------------------------------------------------------------------------

    def find(self, message_id: UUID) -> tuple[int, int] | None:
        """Priority and number of a message."""
        key = message_id.bytes
        for priority, places in enumerate(self._places):
            number = places.get(key)
            if number is not None:
                return priority, number
        return None

    def known(self, ids: Mapping[bytes, Any]) -> set[bytes]:
        """Those of some ids that its messages have."""
        return {key for places in self._places for key in places.keys() & ids.keys()}

    def get(self, priority: int, number: int) -> Message:
        shelf = self._lanes[priority][number - number % SHELF]
        return self._message(priority, shelf, shelf.index(number))

    def set_reference(self, priority: int, number: int, reference: Reference) -> None:
        """Of a message that is in one stream message before and after."""
        shelf = self._lanes[priority][number - number % SHELF]
        at = shelf.index(number)
        values = (reference.seq, reference.at, reference.sender, reference.payload, reference.headers)
        for column, value in zip(shelf.columns[2:], values, strict=True):
            column[at] = value

    # -- removing ------------------------------------------------------------------------------------------------------

    def remove(self, priority: int, first: int, end: int) -> None:
        """Removes what there is of some numbers."""
        lane = self._lanes[priority]
        for start in range(first - first % SHELF, end, SHELF):
            shelf = lane.get(start)
            if shelf is not None:
                self._remove(priority, shelf, shelf.index(max(first, start)), shelf.index(min(end, start + SHELF)))

    def _remove(self, priority: int, shelf: Shelf, first: int, end: int) -> None:
        places = self._places[priority]
        for index in range(first, end):
            places.pop(bytes(shelf.ids[_ID * index : _ID * index + _ID]), None)
        if self._parts:
            for offset in shelf.columns[0][first:end]:
                self._parts.pop((priority, shelf.first + offset), None)
        shelf.remove(first, end)
        if not shelf:
            del self._lanes[priority][shelf.first]

    # -- all of them ---------------------------------------------------------------------------------------------------

    def all(self) -> Iterator[Message]:
        """By priority and number."""
        for priority, lane in enumerate(self._lanes):
            for shelf in lane.values():
                for index in range(len(shelf)):
                    yield self._message(priority, shelf, index)

    @property
    def first_body(self) -> int | None:
        """The first stream message that has the bytes of one which is in no parts."""
        return min((min(shelf.seqs) for _, shelf in self._whole()), default=None)

    @property
    def first_part(self) -> int | None:
        """The first part of any message."""
        return min((parts[0] for parts in self._parts.values()), default=None)

    @property
    def stream_messages(self) -> int:
        """How many stream messages have the bytes of those that are in no parts."""
        return len(set(chain.from_iterable(shelf.seqs for _, shelf in self._whole())))

    def oldest(self, before: int, room: int, head: int) -> list[Message]:
        """Some of those that came first, before a stream message, and are in no parts: as many as there is room for, of
        which each takes ``head`` bytes beside its own.
        """
        found: list[Message] = []
        for priority, shelf in sorted(self._whole(), key=lambda each: min(each[1].seqs)):
            for index in sorted(range(len(shelf)), key=shelf.seqs.__getitem__):
                if shelf.seqs[index] >= before:
                    break
                message = self._message(priority, shelf, index)
                room -= cast(Reference, message.payload).size + head
                if room < 0:
                    return found
                found.append(message)
        return found

    def _whole(self) -> Iterator[tuple[int, Shelf]]:
        """Priorities and shelves, without the messages that are in parts."""
        in_parts = {(priority, number - number % SHELF) for priority, number in self._parts}
        for priority, lane in enumerate(self._lanes):
            for first, shelf in lane.items():
                if (priority, first) in in_parts:
                    shelf = self._without_parts(priority, shelf)
                    if not shelf:
                        continue
                yield priority, shelf

    def _without_parts(self, priority: int, shelf: Shelf) -> Shelf:
        whole = Shelf(shelf.first)
        for index, number in enumerate(shelf.numbers):
            if (priority, number) not in self._parts:
                whole.add(number, self._message(priority, shelf, index))
        return whole

    # -- as they lie in a snapshot -------------------------------------------------------------------------------------

    def capture(self) -> list[bytes]:
        """All of them, in pieces."""
        pieces = []
        for lane in self._lanes:
            pieces.append(len(lane).to_bytes(4, "little"))
            pieces += [shelf.encode() for shelf in lane.values()]
        parts = [
            _PARTS.pack(*place, len(parts)) + struct.pack(f"<{len(parts)}Q", *parts)
            for place, parts in sorted(self._parts.items())
        ]
        return [*pieces, len(parts).to_bytes(4, "little"), b"".join(parts)]

    def restore(self, data: bytes, at: int) -> Iterator[int]:
        """Takes what ``capture`` gave, joined, step by step; after each, how far it is."""
        for lane, places in zip(self._lanes, self._places, strict=True):
            count, at = int.from_bytes(data[at : at + 4], "little"), at + 4
            for _ in range(count):
                shelf, at = Shelf.decode(data, at)
                lane[shelf.first] = shelf
                places.update(zip(shelf.each_id(), shelf.numbers, strict=True))
                yield at
        count, at = int.from_bytes(data[at : at + 4], "little"), at + 4
        for _ in range(count):
            priority, number, size = _PARTS.unpack_from(data, at)
            at += _PARTS.size
            self._parts[priority, number] = struct.unpack_from(f"<{size}Q", data, at)
            at += 8 * size
        yield at
