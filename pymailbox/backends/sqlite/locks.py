"""Locks on files, by which processes see whether a holder lives: the system lets go of them when a process ends.

Each is on an empty file of its own, in a folder beside the mailbox file. No process id is asked, since they are used
again. A forked child closes what it inherited, else the lock would outlive its owner.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from ..._location import IN_PYODIDE

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    _probe = _lock
    _AS_PROBER = os.O_RDWR
else:
    try:
        import fcntl
    except ImportError:  # WebAssembly
        fcntl = None  # type: ignore[assignment]

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _probe(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    _AS_PROBER = os.O_RDONLY

_ATTEMPTS = 100
"""How often to make the folder again that another process removes at the same time."""

SINGLE_PROCESS = IN_PYODIDE
"""No two processes share a file here, and there are no locks: who is not of this process is gone."""


class FileLock:
    """A lock that is held until it is released, or the process ends.

    Raises:
        OSError: there can be no such lock here.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        _held[self] = descriptor = _open(file)
        try:
            _lock(descriptor)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Lets go, and removes the file. May run on any thread, and twice."""
        descriptor = _held.pop(self, None)
        if descriptor is None:
            return
        if sys.platform == "win32":  # which removes no open file
            os.close(descriptor)
            _remove(self._file)
        else:
            _remove(self._file)
            os.close(descriptor)


def is_held(file: Path) -> bool:
    """Whether somebody holds the lock on that file; removes the file of one who is gone."""
    try:
        descriptor = os.open(file, _AS_PROBER)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it cannot be told, and taking from a live one is worse than waiting
    try:
        _probe(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    _remove(file)
    return False


def forget_all() -> None:
    """In a forked child: none of the parent's locks is this process's."""
    while _held:
        os.close(_held.popitem()[1])


_held: dict[FileLock, int] = {}
"""The locks of this process, and the descriptors of their files."""


def _open(file: Path) -> int:
    for _ in range(_ATTEMPTS):
        file.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            return os.open(file, os.O_RDWR | os.O_CREAT, 0o666)  # which no program that this one starts inherits
    raise FileNotFoundError(f"{file.parent} cannot be made")


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
    with suppress(OSError):
        file.parent.rmdir()  # if it was the last
