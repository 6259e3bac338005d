"""One page of a lane: where each of its living messages stands.

A page covers a fixed number of neighbouring sequence numbers, and is one sorted list of runs of them. The messages of a
run share where they stand, their delivery state and, while they are delayed, when they are due. A number in no run is
dead.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from ..contract.limits import LATEST
from . import delivery as deliveries

QUEUED: Final = 0
DELAYED: Final = 1
BURIED: Final = 2
"""It is a dead letter."""
HELD: Final = 3
"""From here on: held by the holder of a slot."""

State: TypeAlias = tuple[int, int, int]
"""Where messages stand, their delivery state, and when they are due (0 unless they are delayed)."""

Change: TypeAlias = Callable[[int, int, int], State | None]
"""What messages in a state become; None if they are removed."""


class Run(NamedTuple):
    """Neighbouring messages in the same state."""

    first: int
    end: int
    """Exclusive."""
    where: int
    delivery: int
    due: int


_Row: TypeAlias = tuple[int, int, int, int, int]
"""A ``Run`` as pages keep it: a plain tuple takes a third of the time to make."""

_WIDTH: Final = 5


class DamagedError(ValueError):
    """What was stored cannot have been written by this code."""


class Page:
    """The runs of some neighbouring numbers, and what a directory has to know of them."""

    __slots__ = (
        "_due",
        "bytes",
        "changed",
        "delayed",
        "has_row",
        "in_head",
        "in_head_as",
        "listed_due",
        "listed_ready",
        "number",
        "queued",
        "row_columns",
        "rows",
        "used",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows: list[_Row] = []
        self.queued = 0
        """How many are queued."""
        self.delayed = 0
        """How many are delayed."""
        self._due: int | None = None
        self.bytes: bytes | None = None
        """As it was last encoded, until it changes."""
        self.in_head_as: bytes | None = None
        """The same, together with what the head says of it."""
        self.changed = False
        """Since it was last written."""
        self.in_head = False
        """Whether the head that was last written holds it."""
        self.has_row = False
        """Whether a row of its own holds it."""
        self.row_columns: tuple[int, int | None] | None = None
        """What its row says besides its messages: whether some are queued, and when the first is due."""
        self.used = 0
        """When it was last used, counted in uses."""
        self.listed_ready = False
        self.listed_due: int | None = None

    @property
    def due(self) -> int | None:
        """When the first of the delayed ones is due."""
        if self.delayed and self._due is None:
            self._due = min(row[4] for row in self.rows if row[2] == DELAYED)
        return self._due if self.delayed else None

    def run_of(self, number: int) -> _Row | None:
        """The run that a number is in; None if it is dead."""
        rows = self.rows
        at = 0 if len(rows) == 1 else bisect_left(rows, (number + 1,)) - 1
        if at < 0 or not rows[at][0] <= number < rows[at][1]:
            return None
        return rows[at]

    def add(self, row: _Row) -> None:
        """Adds a run; none of its numbers may be here."""
        rows, first = self.rows, row[0]
        if row[2] <= DELAYED:
            self._count(row, 1)
        if not rows or rows[-1][0] < first:  # the usual case
            if rows and rows[-1][1] == first and rows[-1][2:] == row[2:]:
                row = (rows.pop()[0], *row[1:])
            rows.append(row)
            return
        at = bisect_left(rows, (first,))
        low, high = max(0, at - 1), at + 1
        rows[low:high] = _joined([*rows[low:at], row, *rows[at:high]])

    def take(self, row: _Row) -> None:
        """Takes out a run that is here."""
        if len(self.rows) == 1:
            self.rows.clear()
        else:
            del self.rows[bisect_left(self.rows, row)]
        if row[2] <= DELAYED:
            self._count(row, -1)

    def change(self, first: int, end: int, change: Change) -> list[tuple[_Row, State | None]]:
        """Changes those of some numbers that are here; the runs that changed, with the states that they have now."""
        rows = self.rows
        low = 0 if len(rows) == 1 else bisect_left(rows, (first + 1,)) - 1
        if low < 0 or rows[low][1] <= first:
            low += 1
        if low == len(rows):
            return []
        row = rows[low]
        if row[0] >= first and row[1] <= end and (low + 1 == len(rows) or rows[low + 1][0] >= end):  # the usual case
            state = change(*row[2:])
            if state is not None and state == row[2:]:
                return []
            self._count(row, -1)
            if state is None:
                del rows[low]
                return [(row, state)]
            rows[low] = now = (row[0], row[1], *state)
            self._count(now, 1)
            if (low and rows[low - 1][1] == now[0]) or (low + 1 < len(rows) and rows[low + 1][0] == now[1]):
                before = max(0, low - 1)
                rows[before : low + 2] = _joined(rows[before : low + 2])
            return [(row, state)]
        high = low
        pieces: list[_Row] = []
        changed: list[tuple[_Row, State | None]] = []
        while high < len(rows) and rows[high][0] < end:
            row = rows[high]
            high += 1
            start, stop, where, delivery, due = row
            state = change(where, delivery, due)
            if state is not None and state == (where, delivery, due):
                pieces.append(row)
                continue
            if start < first:
                pieces.append((start, first, where, delivery, due))
                start = first
            rest = None
            if stop > end:
                rest = (end, stop, where, delivery, due)
                stop = end
            was = (start, stop, where, delivery, due)
            changed.append((was, state))
            self._count(was, -1)
            if state is not None:
                now = (start, stop, *state)
                pieces.append(now)
                self._count(now, 1)
            if rest is not None:
                pieces.append(rest)
        if changed:
            before, behind = max(0, low - 1), high + 1
            rows[before:behind] = _joined([*rows[before:low], *pieces, *rows[high:behind]])
        return changed

    def between(self, first: int, end: int) -> Iterator[_Row]:
        """Those of some numbers that are here."""
        at = max(0, bisect_left(self.rows, (first + 1,)) - 1)
        for start, stop, where, delivery, due in self.rows[at:]:
            if start >= end:
                return
            if stop > first:
                yield max(start, first), min(stop, end), where, delivery, due

    def promote_due(self, now: int) -> bool:
        """Queues the delayed messages that are due; whether there were any."""
        due = self.due
        if due is None or due > now:
            return False
        rows, self.rows = self.rows, []
        self.queued = self.delayed = 0
        self._due = None
        for row in rows:
            promoted = (row[0], row[1], QUEUED, row[3], 0) if row[2] == DELAYED and row[4] <= now else row
            self._count(promoted, 1)
            self.rows.append(promoted)
        self.rows = _joined(self.rows)
        return True

    def encode(self) -> bytes:
        if self.bytes is None:
            rows = self.rows
            self.bytes = pack(rows[0] if len(rows) == 1 else list(chain.from_iterable(rows)))
        return self.bytes

    @classmethod
    def decode(cls, number: int, values: list[int], first: int, end: int, slots: Iterable[int]) -> Page:
        """What ``encode`` wrote, as numbers; its messages' numbers are from ``first`` to ``end`` (exclusive).

        Raises:
            DamagedError: it is not a page.
        """
        if not values or len(values) % _WIDTH:
            raise DamagedError("this is not a page")
        page = cls(number)
        each = iter(values)
        page.rows = list(zip(each, each, each, each, each, strict=True))
        border = first
        for row in page.rows:
            start, stop, where, delivery, due = row
            if start < border or stop <= start or stop > end or not 0 <= delivery <= deliveries.LARGEST:
                raise DamagedError("the runs of a page are out of order")
            if not (0 <= where < HELD or where - HELD in slots) or not (
                0 <= due <= LATEST if where == DELAYED else due == 0
            ):
                raise DamagedError("a message is where none can be")
            border = stop
            page._count(row, 1)
        return page

    def _count(self, row: _Row, sign: int) -> None:
        where = row[2]
        if where == QUEUED:
            self.queued += sign * (row[1] - row[0])
        elif where == DELAYED:
            self.delayed += sign * (row[1] - row[0])
            if sign < 0:
                if row[4] == self._due:
                    self._due = None
            elif self.delayed == row[1] - row[0]:
                self._due = row[4]
            elif self._due is not None:
                self._due = min(self._due, row[4])


_FEW: Final = [Struct(f"<{count}q") for count in range(21)]


def pack(numbers: Sequence[int]) -> bytes:
    """Numbers as bytes, the same on every machine."""
    if len(numbers) < len(_FEW):  # which is quicker
        return _FEW[len(numbers)].pack(*numbers)
    packed = array("q", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack(data: bytes) -> list[int]:
    """Raises ``DamagedError`` if it is not what ``pack`` gives."""
    unpacked = array("q")
    try:
        unpacked.frombytes(data)
    except ValueError:
        raise DamagedError("bytes are missing") from None
    if sys.byteorder == "big":
        unpacked.byteswap()
    return unpacked.tolist()


def _joined(rows: list[_Row]) -> list[_Row]:
    """Neighbours in the same state as one."""
    joined: list[_Row] = []
    for row in rows:
        if joined:
            last = joined[-1]
            if last[1] == row[0] and last[2:] == row[2:]:
                joined[-1] = (last[0], row[1], *row[2:])
                continue
        joined.append(row)
    return joined
