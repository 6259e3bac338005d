"""Locks on files, by which processes see whether another one lives: the system releases them when a process ends.

A process locks a file of its own, in a folder beside the mailbox file; on systems with open-file-description locks
(Linux) also one byte of the mailbox file, far beyond its end, since that lock cannot get lost, while a file can be
removed. Other processes check both. Process ids are not used, since the system reuses them. A forked child closes what
it inherited; otherwise a lock would outlive its owner.

SQLite knows only POSIX locks, and a process loses all those that it has on a file as soon as it closes any descriptor
of that file, by reading or copying it for example. Another process then takes the connection for closed and deletes the
write-ahead log beneath it (https://www.sqlite.org/howtocorrupt.html, 2.2). ``FileLocks.protect`` locks the same bytes
once more in a way that survives this. It also locks a byte for the name under which the file is open: whoever opens it
under another one (a hard link) has a log of its own there, and overwrites what the others store (the same, 2.5).
"""

from __future__ import annotations

import os
import stat
import struct
import sys
import threading
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final
from zlib import crc32

from ...contract.location import IN_PYODIDE

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
"""How often to recreate the folder if another process removes it at the same time."""

_KEPT: Final = 64
"""The most unused descriptors that are kept open."""

_SHARED_BYTES: Final = (0x4000_0002, 510)
"""First byte and length of what SQLite locks in an open database (os.h, SHARED_FIRST and SHARED_SIZE)."""

_CONNECTED_BYTE: Final = (128, 1)
"""What SQLite locks in the ``-shm`` file of such a database (os_unix.c, UNIX_SHM_DMS)."""

_INDEX_HEADER: Final = 48
"""The bytes of the log's index that change with each commit (https://www.sqlite.org/walformat.html, 2.1)."""

_FIRST_PROCESS_BYTE: Final = 1 << 62
"""The byte of a process is as far beyond this one as its number says."""

_NAME_BYTES: Final = (1 << 61, 1 << 32)
"""The first byte, and how many there are, of which each name of the file (a hard link) has one."""

SINGLE_PROCESS = IN_PYODIDE
"""No two processes share a file here, and there are no locks: a holder of another process is gone."""

HAS_BYTE_LOCKS = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
"""Whether this platform has locks that belong to an open file instead of to a process."""


class FileLocks:
    """What this process locks in one mailbox file, with one descriptor. For the thread that works on the file.

    On systems without such locks its methods raise ``OSError``, and nothing is locked.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._log_index: int | None = None
        self._number: int | None = None

    def protect(self) -> None:
        """Keeps other processes from taking this one's connection for closed, from after its opening until its end."""
        _set(self._open(), "F_RDLCK", *_SHARED_BYTES)
        log_index = _adopt(f"{self._file}-shm", self._log_index)
        self._log_index = log_index
        _set(log_index, "F_RDLCK", *_CONNECTED_BYTE)
        _set(self._open(), "F_RDLCK", self._name_byte(), 1)

    def is_open_by_another_name(self) -> bool:
        """Whether somebody has this file open under another of its names; to be asked before SQLite opens it."""
        status = os.stat(self._file)  # noqa: PTH116 (quicker than a Path's)
        if status.st_nlink < 2 or not stat.S_ISREG(status.st_mode):
            return False
        descriptor, mine, (first, count) = self._open(), self._name_byte(), _NAME_BYTES
        _set(descriptor, "F_RDLCK", mine, 1)  # first, so that of two who ask at once at least one is told
        behind = first + count - mine - 1
        return (mine > first and _is_locked(descriptor, first, mine - first)) or (
            behind > 0 and _is_locked(descriptor, mine + 1, behind)
        )

    def unprotect(self) -> None:
        """To be called before the connection is closed: SQLite then checks whether somebody else has the file open."""
        with suppress(OSError):
            if self._descriptor is not None:
                _set(self._descriptor, "F_UNLCK", *_SHARED_BYTES)
                _set(self._descriptor, "F_UNLCK", *_NAME_BYTES)
            if self._log_index is not None:
                _set(self._log_index, "F_UNLCK", *_CONNECTED_BYTE)

    def let_index_go(self) -> None:
        """To be called after the connection was closed, which may have deleted the log's index."""
        if self._log_index is not None:
            _close(self._log_index)
            self._log_index = None

    def index_header(self) -> bytes | None:
        """Bytes that change with each commit, whoever made it; None if they cannot be read. Costs one system call."""
        if self._log_index is None:
            return None
        try:
            header = os.pread(self._log_index, _INDEX_HEADER, 0)
        except OSError:
            return None
        return header if len(header) == _INDEX_HEADER else None

    def hold(self, number: int) -> None:
        """Locks the byte of a process, until ``close`` or the process's end; again if the file was replaced."""
        descriptor = self._open()
        if self._number != number:
            _set(descriptor, "F_WRLCK", _FIRST_PROCESS_BYTE + number, 1)
            self._number = number

    def is_held(self, number: int) -> bool:
        """Whether another process has locked the byte with that number."""
        return _is_locked(self._open(), _FIRST_PROCESS_BYTE + number)

    def close(self) -> None:
        self.let_index_go()
        if self._descriptor is not None:
            _close(self._descriptor)
            self._descriptor = self._number = None

    def _name_byte(self) -> int:
        folder, name = os.path.split(self._file)
        return _NAME_BYTES[0] + crc32(b"%d/%s" % (os.stat(folder).st_ino, os.fsencode(name)))  # noqa: PTH116 (quicker)

    def _open(self) -> int:
        if not HAS_BYTE_LOCKS:
            raise OSError("there are no open-file-description locks here")
        descriptor = _adopt(self._file, self._descriptor)
        if descriptor != self._descriptor:
            self._descriptor, self._number = descriptor, None
        return descriptor


class LockFile:
    """A lock on a file of its own, held until it is released or the process ends.

    Raises:
        OSError: such a lock is impossible here.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._take()

    def _take(self) -> None:
        descriptor = _make(self._file)
        try:
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        _inherited.add(descriptor)
        self._descriptor = descriptor

    def renew(self) -> bool:
        """Recreates the file if something has removed it; returns whether it had to. May raise ``OSError``."""
        if self._descriptor is None:
            return False
        try:
            if os.path.samestat(os.fstat(self._descriptor), os.stat(self._file)):  # noqa: PTH116 (quicker)
                return False
        except FileNotFoundError:
            pass
        lost = self._descriptor
        self._take()
        _inherited.discard(lost)
        os.close(lost)
        return True

    def release(self) -> None:
        """Releases the lock, and removes the file. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        _inherited.discard(descriptor)
        if sys.platform == "win32":  # it cannot remove an open file
            os.close(descriptor)
            remove(self._file)
        else:
            remove(self._file)
            os.close(descriptor)


def is_held(file: Path) -> bool | None:
    """Whether the lock on that file is held; None if there is no such file."""
    try:
        descriptor = os.open(file, _AS_PROBER)
    except FileNotFoundError:
        return None
    except OSError:
        return True  # this cannot be known, and taking from a living holder is worse than waiting
    try:
        _probe(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove(file: Path) -> None:
    """Removes a lock file, and its folder if it was the last one."""
    with suppress(OSError):
        file.unlink()
    with suppress(OSError):
        file.parent.rmdir()


def forget_all() -> None:
    """In a forked child: this process has none of its parent's locks."""
    global _guard
    _guard = threading.Lock()  # another thread of the parent may have had it
    for descriptor in (*_inherited, *chain(*_kept.values())):
        os.close(descriptor)
    _inherited.clear()
    _kept.clear()


_inherited: set[int] = set()
"""Descriptors of this process that a forked child must close."""

_kept: dict[tuple[int, int], list[int]] = {}
"""Unused descriptors that are still open, by device and inode, in the order in which they were given up."""

_guard = threading.Lock()
"""A lock for both."""


def _make(file: Path) -> int:
    for _ in range(_ATTEMPTS):
        file.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            return os.open(file, os.O_RDWR | os.O_CREAT, 0o666)  # not inherited by programs that this one starts
    raise FileNotFoundError(f"{file.parent} cannot be made")


# -- open-file-description locks ---------------------------------------------------------------------------------------


def _flock(kind: int, start: int, length: int) -> bytes:
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)


def _set(descriptor: int, kind: str, start: int, length: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(getattr(fcntl, kind), start, length))


def _is_locked(descriptor: int, byte: int, length: int = 1) -> bool:
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, byte, length))
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


def _adopt(path: str, descriptor: int | None) -> int:
    """A descriptor of the file at that path: the given one, if it is still for that file."""
    status = os.stat(path)  # noqa: PTH116 (quicker than a Path's)
    if descriptor is not None and os.path.samestat(os.fstat(descriptor), status):
        return descriptor
    key = status.st_dev, status.st_ino
    with _guard:
        kept = _kept.pop(key, [])
        opened = kept.pop() if kept else _open(path)
        if kept:
            _kept[key] = kept
        _inherited.add(opened)
    if descriptor is not None:
        _close(descriptor)
    return opened


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError:  # looking at others' locks needs no write permission
        return os.open(path, os.O_RDONLY)


def _close(descriptor: int) -> None:
    """Gives up a descriptor. It stays open for the next user of the file: closing it would drop all POSIX locks of
    everybody else in this process who has the file open. Only descriptors of files that are deleted, or that have not
    been used for a long time, are closed, if nobody has the files open.
    """
    with suppress(OSError):
        _set(descriptor, "F_UNLCK", 0, 0)
    status = os.fstat(descriptor)
    key = status.st_dev, status.st_ino
    with _guard:
        _inherited.discard(descriptor)
        _kept[key] = [*_kept.pop(key, ()), descriptor]
        old = list(_kept)[:-_KEPT]
        used = _in_use() if old else []
        for key, kept in list(_kept.items()):
            if not os.fstat(kept[0]).st_nlink or (key in old and used.count(key) == len(kept)):
                del _kept[key]
                for unused in kept:
                    os.close(unused)


def _in_use() -> list[tuple[int, int]]:
    """Device and inode of each descriptor of this process."""
    used = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError):
            status = os.stat(f"/proc/self/fd/{name}")  # noqa: PTH116
            used.append((status.st_dev, status.st_ino))
    return used
