"""Room on the disk that enqueues leave to the rest.

An acknowledgement needs room too: it is written to the log first. So what stores stops before the disk is full, and
claims, acks and nacks go on, until the log has been brought into the file and can be used again from its start.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from typing import Final

from ..._errors import StorageFullError
from ..._location import IN_PYODIDE

HEADROOM: Final = 6 * 1024 * 1024
"""Bytes that are left free: the log grows to about 4 MiB before it goes into the file, which may grow a little."""


_ROW: Final = 32 * 1024
"""Bytes that a commit may take beside what it stores: whole pages."""

LASTS: Final = 0.1
"""Seconds for which an answer is taken for true, and half of the room that it gave."""


class Room:
    """How much may be stored in a file."""

    def __init__(self, file: str) -> None:
        self.taken = 0
        """Bytes stored; whoever wants to know sets it back."""
        self._file = file
        self._left = 0
        self._asked_at = -math.inf

    def take(self, size: int) -> None:
        """Raises ``StorageFullError`` if storing so many bytes would leave too few for acknowledgements."""
        now = time.monotonic()
        if size > self._left or now > self._asked_at + LASTS:
            room = self._ask()
            if room is not None and size > room:
                self._asked_at = -math.inf
                raise StorageFullError(
                    f"the disk of the mailbox file {self._file} has too little room left, and nothing was stored. "
                    "Messages can still be taken and acknowledged. Free some space and try again"
                )
            self._asked_at, self._left = now, room // 2 if room is not None else sys.maxsize
        self._left -= size + _ROW
        self.taken += size

    def _ask(self) -> int | None:
        """Bytes that may be stored; None if it cannot be told."""
        try:
            free = _free_bytes(self._file)
            log = os.stat(f"{self._file}-wal").st_size  # noqa: PTH116 (quicker than a Path's)
        except OSError:
            return None
        # what is stored goes into the log, and then into the file
        return None if free is None else (free - HEADROOM - log) // 2


def _free_bytes(file: str) -> int | None:
    if IN_PYODIDE:
        return None  # its files are in memory
    if sys.platform == "win32":
        return shutil.disk_usage(os.path.dirname(file)).free  # noqa: PTH120
    status = os.statvfs(file)
    if not status.f_blocks:
        return None  # a file system that does not say
    return status.f_frsize * (status.f_bavail if os.geteuid() else status.f_bfree)
