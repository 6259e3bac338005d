"""What SQLite's errors mean for a caller: one table."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...contract.errors import MailboxError, StorageCorruptError, StorageFullError, StorageUnavailableError

PRIMARY_CODE_MASK = 0xFF
"""An extended result code holds the primary one in its low byte."""

_MEANINGS: dict[int, tuple[type[MailboxError], str]] = {
    sqlite3.SQLITE_FULL: (
        StorageFullError,
        "there is no room left on its disk, and nothing was stored. Free some space, or acknowledge messages, and try "
        "again",
    ),
    sqlite3.SQLITE_TOOBIG: (
        StorageFullError,
        "a text is larger than SQLite can keep (1 GB), and nothing was changed: a message that you hold is still held. "
        "Shorten it",
    ),
    sqlite3.SQLITE_NOTADB: (StorageCorruptError, "it is not a SQLite database. Choose another path"),
    sqlite3.SQLITE_CORRUPT: (
        StorageCorruptError,
        "its content is damaged. Restore it from a backup, or save what is left with the command line tool's .recover",
    ),
    sqlite3.SQLITE_ERROR: (
        StorageCorruptError,
        "its tables are not as pymailbox made them. Restore it from a backup, or move it away and start afresh",
    ),
    sqlite3.SQLITE_CONSTRAINT: (
        StorageCorruptError,
        "its rows contradict each other. Restore it from a backup, or move it away and start afresh",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StorageUnavailableError,
        "it cannot be opened. Make sure that its folder exists and that you may write there",
    ),
    sqlite3.SQLITE_READONLY: (
        StorageUnavailableError,
        "it cannot be written. Give yourself write permission for the file and its folder",
    ),
    sqlite3.SQLITE_PERM: (StorageUnavailableError, "access is denied. Give yourself write permission for the file"),
    sqlite3.SQLITE_BUSY: (
        StorageUnavailableError,
        "another program keeps it locked. Let that program finish its transaction and try again",
    ),
    sqlite3.SQLITE_LOCKED: (
        StorageUnavailableError,
        "another connection of this process keeps it locked. Let its transaction end and try again",
    ),
    sqlite3.SQLITE_PROTOCOL: (
        StorageUnavailableError,
        "other programs kept getting its locks first. Try again",
    ),
    sqlite3.SQLITE_IOERR: (
        StorageUnavailableError,
        "reading or writing it failed. Check the disk, and that nothing removes or replaces the file while it is open",
    ),
}

_PASSING = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}
)
"""Primary codes of problems that may be over a moment later."""

_LASTING = frozenset(
    {
        sqlite3.SQLITE_IOERR | 32 << 8,  # SQLITE_IOERR_DATA: a checksum is wrong
        sqlite3.SQLITE_IOERR | 33 << 8,  # SQLITE_IOERR_CORRUPTFS
        sqlite3.SQLITE_CANTOPEN_ISDIR,
    }
)
"""Extended codes among them for problems that are not."""


def is_full(error: BaseException) -> bool:
    """Whether there was no room."""
    if isinstance(error, StorageFullError):
        return True
    code = getattr(error, "sqlite_errorcode", 0) if isinstance(error, sqlite3.Error) else 0
    return bool(code & PRIMARY_CODE_MASK == sqlite3.SQLITE_FULL)


def mailbox_error(error: sqlite3.Error, file: str) -> MailboxError:
    """The typed error that a caller gets; ``error`` is its cause."""
    # sqlite3's own checks (a value too large to bind) have no code
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_TOOBIG if isinstance(error, sqlite3.DataError) else 0)
    kind, meaning = _MEANINGS.get(
        code & PRIMARY_CODE_MASK,
        (StorageUnavailableError, "SQLite could not do it. The error that caused this one says why"),
    )
    typed = kind(f"the mailbox file {file}: {meaning} ({error})", passing=_passes(code, file))
    typed.__cause__ = error
    return typed


def _passes(code: int, file: str) -> bool:
    if code in _LASTING:
        return False
    if code & PRIMARY_CODE_MASK == sqlite3.SQLITE_CANTOPEN:
        # an existing file could not be opened at the moment, for lack of descriptors for example
        return _is_there(file)
    return code & PRIMARY_CODE_MASK in _PASSING


def _is_there(file: str) -> bool:
    try:
        return Path(file).is_file()
    except OSError:
        return False
