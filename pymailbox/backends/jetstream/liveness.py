"""Which holders are gone, as far as this event loop can tell; the log decides."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Final

from ...core.claims import Claims
from . import origin
from .state import EXPIRED, LogState

GRACE: Final = 5.0
"""Seconds that a holder has for a sign of life when its lease is over by the log's time and not by ours: the server's
clock may have jumped ahead, or all of us have slept. Who is there answers at once."""

_STANDSTILL: Final = 3.0
"""Seconds after which half a second is no more what it was."""

_holders: dict[int, weakref.ref[asyncio.AbstractEventLoop]] = {}
"""The event loops of this process's holders: nobody else can tell that one was closed."""


def add_holder(number: int, loop: asyncio.AbstractEventLoop) -> None:
    _holders[number] = weakref.ref(loop)


def remove_holder(number: int) -> None:
    _holders.pop(number, None)
    origin.let_go(number)


def has_lost_its_loop(holder: int) -> bool:
    """Whether a holder's event loop, of this process, was closed."""
    loop = _holders.get(holder)
    if loop is None:
        return False
    running = loop()
    return running is None or running.is_closed()


class _Watched:
    """A holder that has something."""

    def __init__(self, heartbeats: int, at: float) -> None:
        self.heartbeats = heartbeats
        self.since = at
        """When that was seen first."""
        self.is_new = False
        """Whether it was different before: then it has just been there."""
        self.suspected_at: float | None = None


class Vigil:
    """Watches the holders of one mailbox."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        """Seconds; never set."""
        self._ticked = clock()
        self._watched: dict[int, _Watched] = {}

    def tick(self) -> None:
        """To be called twice a second: else this event loop, or the machine, has stood still, and that it has heard
        nothing says nothing.
        """
        clock = self._clock()
        if clock - self._ticked > _STANDSTILL:
            self._watched.clear()
        self._ticked = clock

    def gone(self, log: LogState, now: int) -> tuple[list[tuple[int, int]], list[int]]:
        """Holders that are gone, and how; and those who have to show that they live, which is new."""
        self.tick()
        there = log.store.state.holders.by_number
        clock = self._clock()
        watched = {number: self._look(number, claims, clock) for number, claims in there.items()}
        self._watched = watched
        found, asked = [], []
        for number, how in log.expired(now, has_lost_its_loop):
            if how == EXPIRED:
                holder, lease = watched[number], (there[number].lease or 0) / 1000
                if holder.suspected_at is None:
                    holder.suspected_at = clock
                    asked.append(number)
                has_had_time = clock - holder.suspected_at >= min(lease, GRACE)
                if not (clock - holder.since > lease or (has_had_time and not holder.is_new)):
                    continue
            found.append((number, how))
        return found, asked

    def _look(self, number: int, claims: Claims, clock: float) -> _Watched:
        before = self._watched.get(number)
        if before is None:
            return _Watched(claims.heartbeats, clock)
        if before.heartbeats != claims.heartbeats:
            seen = _Watched(claims.heartbeats, clock)
            seen.is_new = True
            return seen
        return before


def overdue(log: LogState, holders: set[int]) -> list[int]:
    """Holders of ours that should have given a sign of life by the log's time, which has jumped."""
    there = log.store.state.holders.by_number
    return [
        number
        for number in holders
        if (claims := there.get(number)) is not None and claims.heartbeats + (claims.lease or 0) / 2 < log.now
    ]
