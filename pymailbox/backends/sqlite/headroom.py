"""Room on the disk that enqueues leave for other calls.

An acknowledgement needs room too: it is written to the log first. So calls that store messages fail before the disk is
full, and claims, acks and nacks continue until the log has been moved into the file and can be written from its start
again.

Free pages inside the file are room too: what is stored goes into the log, and from there into them.
"""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import sys
import time
from typing import Final

from ...contract.errors import StorageFullError
from ...contract.location import IN_PYODIDE

_LOG: Final = 4 * 1024 * 1024
"""Bytes that the log reaches before it is moved into the file."""

_SPARE: Final = 2 * 1024 * 1024
"""Further bytes that stay free: a commit may make the log longer, and the file may grow a little."""

HEADROOM: Final = _LOG + _SPARE
"""Bytes of the disk that enqueues leave for other calls, including those for the log."""

_ROW: Final = 32 * 1024
"""Bytes that a commit may take beyond what it stores, since it takes whole pages."""

VALID_FOR: Final = 0.1
"""Seconds for which a measurement counts, and only for half of the room that it found."""


class Headroom:
    """How much may be stored in a file."""

    def __init__(self, file: str) -> None:
        self.taken = 0
        """Bytes stored since this was last set to 0."""
        self._file = file
        self._left = 0
        self._asked_at = -math.inf
        self._refused = 0
        """The size that last found no room."""

    def reserve(self, connection: sqlite3.Connection, size: int) -> None:
        """Raises ``StorageFullError`` if storing ``size`` bytes would leave too few for acknowledgements."""
        now = time.monotonic()
        if size > self._left or now > self._asked_at + VALID_FOR:
            self._asked_at = -math.inf
            space = _Space.of(self._file, connection)
            room = sys.maxsize if space is None else space.room
            if size > room:
                self._refused = size
                raise StorageFullError(
                    f"the disk of the mailbox file {self._file} has too little room left, and nothing was stored. "
                    "Messages can still be taken and acknowledged. Free some space, or acknowledge messages, and try "
                    "again"
                )
            self._asked_at, self._left = now, room if room == sys.maxsize else room // 2
        self._left -= size + _ROW
        self.taken += size

    def would_come_of_free_pages(self, connection: sqlite3.Connection) -> bool:
        """Whether what was refused would fit only after giving free pages of the file back to the disk."""
        space = _Space.of(self._file, connection)
        return space is not None and space.room < self._refused <= space.room_at_best


class _Space:
    """Room on the disk and in the file, in bytes."""

    def __init__(self, free: int, log: int, growth: int, pages: int) -> None:
        """``growth`` is what the file grows by when the log is moved into it, ``pages`` what is free inside it."""
        left = free - growth
        self._pages = pages
        self._for_log = left - _SPARE // 2
        """What a commit may write to the log, if the file has pages for it: the log can be reused after it."""
        self._beyond = left - _SPARE - max(0, _LOG - log)
        """What may be used for good."""

    @classmethod
    def of(cls, file: str, connection: sqlite3.Connection) -> _Space | None:
        """None if the system does not say."""
        try:
            free = _free_bytes(file)
            size = os.stat(file).st_size  # noqa: PTH116 (quicker than a Path's)
            log = size_of(f"{file}-wal")
        except OSError:
            return None
        if free is None:
            return None
        page_size, pages, free_pages = (
            connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_size", "page_count", "freelist_count")
        )
        return cls(free, log, max(0, pages * page_size - size), free_pages * page_size)

    @property
    def room(self) -> int:
        """Bytes that one commit may store."""
        if self._beyond > self._pages:
            return (self._beyond + self._pages) // 2  # once in the log, and then what has no free pages in the file
        return min(self._pages - _ROW, self._for_log)

    @property
    def room_at_best(self) -> int:
        """The room after giving the best number of free pages back to the disk."""
        if self._pages > self._for_log:
            return (self._pages - _ROW + self._for_log) // 2
        return max(self.room, (self._beyond + self._pages) // 2)


def size_with_log(file: str) -> int:
    """The bytes of a mailbox file and its log."""
    return size_of(file) + size_of(f"{file}-wal")


def size_of(file: str) -> int:
    """Its bytes; none if there is no such file."""
    try:
        return os.stat(file).st_size  # noqa: PTH116 (quicker than a Path's)
    except FileNotFoundError:
        return 0


def _free_bytes(file: str) -> int | None:
    if IN_PYODIDE:
        return None  # its files are in memory
    if sys.platform == "win32":
        return shutil.disk_usage(os.path.dirname(file)).free  # noqa: PTH120
    status = os.statvfs(file)
    if not status.f_blocks:
        return None  # a file system that does not say
    return status.f_frsize * (status.f_bavail if os.geteuid() else status.f_bfree)
