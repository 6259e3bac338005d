"""Opens a file, and makes it a mailbox file."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ...contract.errors import StorageCorruptError, StorageUnavailableError
from . import mounts, restored
from .errors import PRIMARY_CODE_MASK
from .layout import APPLICATION_ID, SCHEMA_VERSION, TABLES

_T = TypeVar("_T")

BUSY_TIMEOUT = 10.0
"""Seconds to wait while another program keeps the file locked."""

_LONGEST_PAUSE: Final = 0.02
"""The longest pause, in seconds, between two attempts on a file that is locked."""

_WAL_LIMIT: Final = 16 * 1024 * 1024
"""Bytes to which a large write-ahead log is cut once it has been moved into the file."""

_HEADER: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def connect(file: str) -> sqlite3.Connection:
    """Opens a mailbox file, and creates it if needed. Transactions are explicit.

    Raises:
        sqlite3.Error: SQLite cannot open it, or it is not a database. StorageUnavailableError: it is not a file, may
        not be written, is mounted without its folder, or was written by a newer version. StorageCorruptError: it is
        another program's database, or some of its tables are missing. RuntimeWarning: it is on a network file system,
        and warnings are errors.
    """
    # checked before SQLite can create anything beside it
    if _is_something_else(file):
        raise StorageUnavailableError(f"{file} is a folder or a device, not a file to keep mailboxes in. Name a file")
    if is_write_protected(file):
        raise StorageUnavailableError(
            f"the mailbox file {file}: it cannot be written. Give yourself write permission for the file and its folder"
        )
    mounts.check(file)
    # a forking thread closes the connection of the thread that works with it
    connection = sqlite3.connect(file, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        if has_older_layout(connection):
            _use_write_ahead_log(connection)
            until_unlocked(lambda: connection.execute("BEGIN IMMEDIATE"))
            _upgrade(connection, file)
        if _what_is_missing(connection, file):
            until_unlocked(lambda: _let_shrink(connection))
            _use_write_ahead_log(connection)
            _make_what_is_missing(connection, file)
        else:
            _use_write_ahead_log(connection)
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        # on some systems SQLite overwrites what is deleted, which would write every message twice
        connection.execute("PRAGMA secure_delete = OFF")
        connection.text_factory = as_it_is
    except BaseException:
        connection.close()
        raise
    return connection


def _is_something_else(path: str) -> bool:
    """Whether what is there is not a file."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (a path as the user gave it)
    except OSError:
        return False


def is_write_protected(path: str) -> bool:
    """Whether there is a file or folder that this process may not write.

    Where it may not write a mailbox file, SQLite would make its log beside it all the same, and keep from it those who
    may.
    """
    # a log that somebody else deletes or makes at this moment is not one that may not be written
    return not _may_write(path) and os.path.exists(path) and not _may_write(path)  # noqa: PTH110


def _may_write(path: str) -> bool:
    # only where it matters: old sandboxes refuse the newer system call, which looks as if the file were read-only
    differ = os.access in os.supports_effective_ids and (os.geteuid(), os.getegid()) != (os.getuid(), os.getgid())
    return os.access(path, os.W_OK, effective_ids=differ)


def has_older_layout(connection: sqlite3.Connection) -> bool:
    """Whether an older version wrote the mailbox file; false for anything that is not a mailbox file."""
    return _older_layout(connection) is not None


def _older_layout(connection: sqlite3.Connection) -> int | None:
    """The layout of a mailbox file that an older version wrote; None for all others."""
    from .upgrades import layout_of  # it fills tables, and needs their indexes and triggers

    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id not in (0, APPLICATION_ID) or (version == 0 and application_id):
        return None
    return layout_of(version, restored.definitions(connection))


def _upgrade(connection: sqlite3.Connection, file: str) -> None:
    """Ends the transaction that was begun."""
    from .upgrades import tables_of, upgrade

    try:
        layout = _older_layout(connection)
        if layout is not None:  # otherwise another process was quicker
            found = restored.definitions(connection)
            restored.missing(found, tables_of(layout), file)
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                header = f"{_HEADER[0]}; PRAGMA user_version = N"
                restored.require_same(found, tables_of(layout), file, header)
            connection.text_factory = as_it_is
            upgrade(connection, layout, file)
            for statement in _HEADER:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _what_is_missing(connection: sqlite3.Connection, file: str) -> Sequence[str]:
    """The statements that complete a mailbox file; raises if it is not one, or one that this version cannot use."""
    in_transaction = connection.in_transaction
    if not in_transaction:
        connection.execute("BEGIN")  # so that the answers are from one moment
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = restored.definitions(connection)
    if not in_transaction:
        connection.execute("COMMIT")
    if not (application_id or version or found):
        return [*TABLES, *_HEADER]
    if not (application_id == APPLICATION_ID or (application_id == 0 and restored.is_ours(found, TABLES))):
        raise StorageCorruptError(
            f"{file} is a SQLite database of another program, not a mailbox file. Choose another path"
        )
    _require_known(version, file)
    missing = restored.missing(found, TABLES, file)
    if application_id == APPLICATION_ID:
        return missing
    restored.require_same(found, TABLES, file, f"{_HEADER[0]}; PRAGMA user_version = N")
    return [*missing, *_HEADER]


def _require_known(version: int, file: str) -> None:
    if version > SCHEMA_VERSION:
        raise StorageUnavailableError(
            f"the mailbox file {file} has schema version {version}, written by a newer pymailbox; this one knows "
            f"version {SCHEMA_VERSION}. Install a newer pymailbox"
        )


def require_known_layout(connection: sqlite3.Connection, file: str) -> None:
    """Raises ``StorageUnavailableError`` if a newer version has upgraded the file while it was open."""
    _require_known(connection.execute("PRAGMA user_version").fetchone()[0], file)


def is_empty(connection: sqlite3.Connection, file: str) -> bool:
    """Whether the file has no tables yet; raises if it is not a mailbox file, or one that this version cannot use."""
    if has_older_layout(connection):
        raise StorageUnavailableError(
            f"the mailbox file {file} was written by an older pymailbox, and has to be upgraded before it "
            "can be read. Open it once where you may write it, or look at it with the version that wrote it"
        )
    return list(_what_is_missing(connection, file)) == [*TABLES, *_HEADER]


def as_it_is(data: bytes) -> str:
    """Text as it is, even if another program wrote something that is not text."""
    return data.decode("utf-8", "surrogateescape")


def until_unlocked(attempt: Callable[[], _T]) -> _T:
    """Tries until no other connection is in the way, for at most ``BUSY_TIMEOUT``."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    pause = 0.001
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY_CODE_MASK != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _let_shrink(connection: sqlite3.Connection) -> None:
    """Lets a file that is being created give free pages back to the disk; has no effect on one that has tables."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # if two connections set it at once, SQLite answers "locked" to one of them without waiting
    until_unlocked(lambda: connection.execute("PRAGMA journal_mode = WAL"))


def _make_what_is_missing(connection: sqlite3.Connection, file: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _what_is_missing(connection, file):  # nothing, if another process was quicker
        connection.execute(statement)
    connection.execute("COMMIT")
