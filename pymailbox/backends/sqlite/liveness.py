"""Who holds messages, and whether they live.

A handle of this process lives until it is abandoned or its event loop is closed; what it held is then released. For
another process's handles only that process's locks decide, and what they held comes back as after a death. Without
locks, a holder shows life with a heartbeat, a number that it changes while it has something; it is gone when that
number has stayed the same for its lease, by the clock of the process that watches.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...core import store
from ...core.claims import Claims, Holders
from .locks import SINGLE_PROCESS, FileLocks, LockFile, is_held, remove
from .session import HANDLE_BITS, Session

_PROCESS_BITS: Final = 40
"""The bits of a process's number. With a handle's bits they have to fit into a signed integer of 64 bits."""

_OBSERVATIONS_PER_LEASE: Final = 4
"""The least times that a holder must be seen unchanged: a watcher that slept through a lease has seen nothing."""

_RENEWED_WITHIN: Final = 10.0
"""Seconds within which a living process recreates its lock file if something has removed it."""

_logger = logging.getLogger("pymailbox")


class Holder(store.Holder):
    """A handle of this process as a consumer."""

    def __init__(
        self, liveness: Liveness, name: str, loop: asyncio.AbstractEventLoop, most: int | None, lease: float
    ) -> None:
        super().__init__(liveness.new_number(), most)
        self.name = name
        """Its mailbox's."""
        self.has_held = False
        self.loop = loop
        self.heartbeat_at = 0.0
        self._liveness = liveness
        self._lease = max(1, round(lease * 1000))

    def show_liveness(self) -> None:
        self.lease = None if self._liveness.acquire_locks() else self._lease
        self.heartbeats += 1  # so that others who have watched it see that it lives
        self.has_held = True
        self.heartbeat_at = time.monotonic()
        self._liveness.active.add(self)


class Liveness:
    """Who lives, as seen from one process. For the thread that works on the file, except ``add`` and ``remove``."""

    def __init__(self, file: str) -> None:
        self.process = secrets.randbits(_PROCESS_BITS) + 1
        self.locks = FileLocks(file)
        self.active: set[Holder] = set()
        """The handles of this process that may hold something."""
        self._file = file
        self._lock_file: LockFile | None = None
        self._lock_file_missing = False
        self._lock = threading.Lock()
        self._mine: dict[int, Holder] = {}
        self._by_loop: dict[asyncio.AbstractEventLoop, set[Holder]] = {}
        self._abandoned: list[Holder] = []
        """Handles that were collected and never closed."""
        self._died: set[int] = set()
        """The numbers of those that went as if their process had ended."""
        self._serials = itertools.count(1)
        self._observations: dict[int, _LeaseObservation] = {}

    def new_number(self) -> int:
        """For a handle of this process."""
        while True:
            number = self.process << HANDLE_BITS | next(self._serials) & ((1 << HANDLE_BITS) - 1)
            if number not in self._mine:
                return number

    def add(self, holder: Holder) -> None:
        with self._lock:
            self._mine[holder.number] = holder
            self._by_loop.setdefault(holder.loop, set()).add(holder)

    def abandon(self, holder: Holder) -> None:
        """Records that a handle was collected; takes no lock, for a finaliser."""
        self._abandoned.append(holder)

    def note_death(self, holder: Holder) -> None:
        """Records that a handle goes as if this process had ended; ``abandon`` must follow."""
        self._died.add(holder.number)

    def has_died(self, number: int) -> bool:
        """Whether a gone handle died; if not, it had the chance to release what it held."""
        return number >> HANDLE_BITS != self.process or number in self._died

    def remove(self, holder: Holder) -> bool:
        """Returns whether it was still there: a handle is given up once, closed, collected or found in a closed
        loop."""
        with self._lock:
            was_there = self._mine.pop(holder.number, None) is not None
            holders = self._by_loop.get(holder.loop, set())
            holders.discard(holder)
            if not holders:
                self._by_loop.pop(holder.loop, None)
            if holder in self._abandoned:
                self._abandoned.remove(holder)
            self.active.discard(holder)
            return was_there

    def acquire_locks(self) -> bool:
        """Takes the locks that show other processes that this one lives; False if locks are impossible."""
        if SINGLE_PROCESS:
            return True
        locked = self._lock_file is not None
        with suppress(OSError):
            self.locks.hold(self.process)
            locked = True
        if self._lock_file is None:
            with suppress(OSError):
                self._lock_file = LockFile(lock_file(self._file, self.process))
                locked = True
        return locked

    def keep_lock_file(self) -> None:
        """Recreates the lock file if something has removed it."""
        if self._lock_file is None:
            return
        try:
            if self._lock_file.renew():
                _logger.warning(
                    "something removed the lock file of this process from %s; it was made again",
                    lock_folder(self._file),
                )
            self._lock_file_missing = False
        except OSError as error:
            if not self._lock_file_missing:  # logged once
                _logger.warning(
                    "the lock file of this process in %s cannot be checked or made again: %s",
                    lock_folder(self._file),
                    error,
                )
            self._lock_file_missing = True

    def close(self) -> None:
        """Shows other processes that nothing is held here any more."""
        self.locks.close()
        if self._lock_file is not None:
            self._lock_file.release()
            self._lock_file = None

    # -- the dead ------------------------------------------------------------------------------------------------------

    @property
    def some_abandoned(self) -> bool:
        return bool(self._abandoned)

    def gone(self) -> list[Holder]:
        """The handles of this process that are gone and were never closed."""
        with self._lock:
            closed = [holders for loop, holders in self._by_loop.items() if loop.is_closed()]
            return list({*self._abandoned, *itertools.chain(*closed)})

    def gone_from(self, holders: Holders, me: int | None) -> list[int]:
        """Gone holders of something; what they have may be taken back."""
        by_process: dict[int, list[Claims]] = {}
        for number, claims in holders.by_number.items():
            by_process.setdefault(number >> HANDLE_BITS, []).append(claims)
        gone: list[int] = []
        for process, rows in by_process.items():
            if process == self.process:
                gone += (number for number in self._gone_of_mine({row.number for row in rows}) if number != me)
            else:
                gone += self._gone_of_others(process, rows)
        return gone

    def _gone_of_mine(self, numbers: set[int]) -> set[int]:
        left = numbers.difference(self._mine)  # a failed release leaves such holders
        left.update(holder.number for holder in self.gone() if holder.number in numbers)
        return left

    def _gone_of_others(self, process: int, rows: Iterable[Claims]) -> list[int]:
        ended = None
        gone = []
        for row in rows:
            if row.lease is not None:
                is_gone = self._lease_has_expired(row)
            else:
                is_gone = ended = self._has_ended(process) if ended is None else ended
            if is_gone:
                gone.append(row.number)
        return gone

    def _has_ended(self, process: int) -> bool:
        """Whether it has ended, by its locks. In doubt it is alive: taking from a living one is worse than waiting."""
        if SINGLE_PROCESS:
            return True
        has_byte: bool | None = None
        with suppress(OSError):
            has_byte = self.locks.is_held(process)
        if has_byte:
            return False
        held = is_held(lock_file(self._file, process))
        if held is None and has_byte is None:  # something has removed it, and a living process recreates it
            return self._observation(process, -1).is_gone(-1, _RENEWED_WITHIN)
        self._observations.pop(process, None)
        return not held

    def _lease_has_expired(self, row: Claims) -> bool:
        gone = self._observation(row.number, row.heartbeats).is_gone(row.heartbeats, (row.lease or 0) / 1000)
        if gone:
            del self._observations[row.number]
        return gone

    def _observation(self, number: int, heartbeats: int) -> _LeaseObservation:
        return self._observations.setdefault(number, _LeaseObservation(heartbeats))

    def sweep(self, session: Session) -> None:
        """Removes the lock files of processes that have ended and hold nothing. To be called in a transaction."""
        if SINGLE_PROCESS:
            return
        with suppress(OSError):
            for name in os.listdir(lock_folder(self._file)):  # noqa: PTH208
                with suppress(ValueError):
                    number = int(name, 16)
                    path = lock_file(self._file, number)
                    if is_held(path) is False and not session.knows_process(number):
                        remove(path)


class _LeaseObservation:
    """How long a holder has shown no sign of life."""

    def __init__(self, heartbeats: int) -> None:
        self._heartbeats = heartbeats
        self._still_for = 0.0
        self._seen_at = time.monotonic()

    def is_gone(self, heartbeats: int, lease: float) -> bool:
        now = time.monotonic()
        if heartbeats != self._heartbeats:
            self._heartbeats, self._still_for = heartbeats, 0.0
        else:
            self._still_for += min(now - self._seen_at, lease / _OBSERVATIONS_PER_LEASE)
        self._seen_at = now
        return self._still_for >= lease


def lock_folder(file: str) -> str:
    return f"{file}-holders"


def lock_file(file: str, process: int) -> Path:
    """The file whose lock the process has."""
    return Path(lock_folder(file), f"{process:016x}")
