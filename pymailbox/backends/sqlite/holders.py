"""Who holds messages, and whether they live.

A handle of this process lives until it is abandoned or its event loop is closed. Of another process's, the lock on its
file tells, and nothing else. Where such locks cannot be had, a holder shows life by a number that it changes while it
has something; it is gone when that number has stayed the same for its lease, by the clock of the one who watches.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from pathlib import Path
from typing import Final

from .locks import SINGLE_PROCESS, FileLock, is_held
from .session import HolderRow

_NUMBER_BITS: Final = 61
"""A holder's hands are twice its number, and have to fit into SQLite's integers."""

_LOOKS_IN_A_LEASE: Final = 4
"""So often at least a holder must be seen without a change; a watcher that slept through a lease has seen nothing."""


class Holder:
    """A handle of this process as a consumer. It takes its lock when it is first handed something."""

    def __init__(
        self, lives: Lives, name: str, loop: asyncio.AbstractEventLoop, most: int | None, lease: float
    ) -> None:
        self.name = name
        """Its mailbox's."""
        self.max_deliveries = most
        self.lease: int | None = None
        """Milliseconds, once it has been handed something without a lock; None if its lock tells."""
        self.abandoned = False
        self.has_held = False
        self.beaten_at = 0.0
        self._lives = lives
        self._loop = loop
        self._lease = max(1, round(lease * 1000))
        self._lock: FileLock | None = None
        self.number = _new_number()

    @property
    def gone(self) -> bool:
        return self.abandoned or self._loop.is_closed()

    def show_life(self) -> None:
        """Takes the lock, or a lease where there are no locks; before others can see that it holds something."""
        if not self.has_held:
            self.has_held = True
            self._lives.active.add(self)
            self.beaten_at = time.monotonic()
            if not SINGLE_PROCESS:
                try:
                    self._lock = FileLock(lock_file(self._lives.file, self.number))
                except OSError:
                    self.lease = self._lease
        if self.gone:  # meanwhile, and nobody else will let go
            self.let_go()

    def become_another(self) -> None:
        """Gives up its identity, which others have taken for dead."""
        self.let_go()
        self.number = _new_number()
        self.has_held, self.lease = False, None

    def let_go(self) -> None:
        """Shows the others that it is gone. May run on any thread, and twice."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


class Lives:
    """Who lives, as seen from one process. For the thread that works on the file, but for ``add``."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.active: set[Holder] = set()
        """The handles of this process that may hold something."""
        self._lock = threading.Lock()
        self._mine: tuple[Holder, ...] = ()
        self._sightings: dict[int, _Sighting] = {}

    def add(self, holder: Holder) -> None:
        with self._lock:
            self._mine = (*self._mine, holder)

    def remove(self, holder: Holder) -> None:
        holder.let_go()
        with self._lock:
            self._mine = tuple(mine for mine in self._mine if mine is not holder)
            self.active.discard(holder)

    def gone(self) -> list[Holder]:
        """The handles of this process that are gone and were never closed."""
        return [holder for holder in self._mine if holder.gone]

    def is_gone(self, row: HolderRow) -> bool:
        """Whether a holder is gone; what it had may be taken back then."""
        for mine in self._mine:
            if mine.number == row.holder:
                return mine.gone
        if row.lease is None:
            return SINGLE_PROCESS or not is_held(lock_file(self.file, row.holder))
        sighting = self._sightings.setdefault(row.holder, _Sighting(row.beats))
        if not sighting.is_gone(row.beats, row.lease / 1000):
            return False
        del self._sightings[row.holder]
        return True


class _Sighting:
    """For how long a holder with a lease has shown no life."""

    def __init__(self, beats: int) -> None:
        self._beats = beats
        self._still_for = 0.0
        self._seen_at = time.monotonic()

    def is_gone(self, beats: int, lease: float) -> bool:
        now = time.monotonic()
        if beats != self._beats:
            self._beats, self._still_for = beats, 0.0
        else:
            self._still_for += min(now - self._seen_at, lease / _LOOKS_IN_A_LEASE)
        self._seen_at = now
        return self._still_for >= lease


def lock_file(file: str, number: int) -> Path:
    """The file whose lock the holder has."""
    return Path(f"{file}-holders", f"{number:016x}")


def _new_number() -> int:
    return secrets.randbits(_NUMBER_BITS) + 1
