"""Messages of long ago, put at the end of the queue together by who hears many of them at once."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from ...core import delivery as deliveries

if TYPE_CHECKING:
    from .state import Store

Row: TypeAlias = tuple[bytes, int, int, int, int, int, int]
"""A message as a shelf has it: its id, when it came, and all of its reference but the parts."""

_TOGETHER: Final = 1024
"""Messages that are put there at once: a millisecond's work."""


class Arrivals:
    """Messages that a store does not have yet; they are neither delayed nor in parts."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, Row]] = []

    def __bool__(self) -> bool:
        return bool(self._rows)

    @property
    def are_many(self) -> bool:
        return len(self._rows) >= _TOGETHER

    def add(self, priority: int, row: Row) -> None:
        self._rows.append((priority, row))

    def put_into(self, store: Store) -> None:
        """Lets a store have them, but those that it has."""
        rows, self._rows = self._rows, []
        new = {each[1][0]: each for each in reversed(rows)}  # the first of each id
        known = store.bodies.known(new)
        if known or len(new) < len(rows):
            rows = [each for each in rows if new[each[1][0]] is each and each[1][0] not in known]
        # in runs, as they came: the order in which pages change is part of a state
        for priority, run in groupby(rows, key=itemgetter(0)):
            of_lane = [row for _, row in run]
            first = store.state.append(priority, len(of_lane), deliveries.CUSTOM_ID)
            store.bodies.append_rows(priority, first, of_lane)
