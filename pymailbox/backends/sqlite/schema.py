"""How messages lie in the file, and how the file is opened.

All mailboxes of a file share its tables, so that one transaction can touch several. A message has two rows under one
number: ``messages`` is small and changes hands, ``bodies`` is written once. Numbers only grow, over the whole file, so
they are the order of commits. Counters are kept beside the messages, so that no status counts rows.

A message says in whose hand it is. A holder has two hands, one for what it was handed out in batches of several and one
for what came alone, and a row while there is something in them. What a holder had who is gone is put back into the
queue; if it is much, it stays in its hands for now: the row says what became of it, and each message learns its fate
when it is next handed out. So taking it back costs the same however much it was.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ..._errors import StorageCorruptError, StorageUnavailableError
from . import mounts, restored
from .errors import PRIMARY_CODE_MASK

_T = TypeVar("_T")

APPLICATION_ID: Final = 0x706D6278
"""``pmbx``: in the file's header, so that it is known for what it is."""

SCHEMA_VERSION: Final = 1

BUSY_TIMEOUT = 10.0
"""Seconds to wait while another program keeps the file locked."""

_LONGEST_PAUSE: Final = 0.02
"""Seconds between two looks at whether it is still locked."""

_WAL_LIMIT: Final = 16 * 1024 * 1024
"""Bytes to which a write-ahead log that grew large is cut once it is in the file."""

DEAD: Final = -1
"""The ``hand`` of a dead letter."""

QUEUED: Final = 0
"""The ``hand`` of a message that can be handed out."""

DELAYED: Final = 1
"""The ``hand`` of a message that is not yet due; a holder's hands are twice its own number, and one more."""

_TABLES: Final = (
    """
    CREATE TABLE mailboxes (
        mailbox INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        id_base BLOB NOT NULL, -- 16 bytes; with a priority and a number it makes a message's id
        queued_normal INTEGER NOT NULL DEFAULT 0, -- these two count delayed messages too, and what holders gave back
        queued_high INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0,
        last_stored INTEGER NOT NULL DEFAULT 0, -- the number of the message that was stored last
        next_due INTEGER, -- no delayed message is due before; milliseconds since 1970, UTC
        foreseen INTEGER NOT NULL DEFAULT 0 -- whether a sender ever gave an id that this mailbox may yet make
    )
    """,
    # a holder is a handle that holds something; or one that is gone and left much, which is still in its hands
    """
    CREATE TABLE holders (
        mailbox INTEGER NOT NULL,
        holder INTEGER NOT NULL,
        state INTEGER NOT NULL, -- 0: it has its messages; 1: it gave them back; 2: it died with them
        max_deliveries INTEGER,
        lease INTEGER, -- milliseconds; NULL if a lock on a file tells whether it lives
        beats INTEGER NOT NULL, -- with a lease: a number that changes while it lives and has something
        together_normal INTEGER NOT NULL, -- what it was handed in batches of several
        together_high INTEGER NOT NULL,
        alone_normal INTEGER NOT NULL, -- what it was handed in batches of one
        alone_high INTEGER NOT NULL,
        PRIMARY KEY (mailbox, holder)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE last_number (number INTEGER NOT NULL)",  # none that is larger was given to a message
    "INSERT INTO last_number VALUES (0)",
    """
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY,
        mailbox INTEGER NOT NULL,
        hand INTEGER NOT NULL, -- -1 dead, 0 queued, 1 delayed; else twice the holder's number, and one more if alone
        priority INTEGER NOT NULL,
        delivery_count INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0, -- how many of the deliveries failed
        suspect INTEGER NOT NULL DEFAULT 0, -- 1: a holder died with it, so it is handed out alone
        own_id BLOB, -- 16 bytes, of a message that came with an id; the others' is made from their number
        due INTEGER, -- of a delayed one: milliseconds since 1970, UTC
        error TEXT -- what the last nack said
    )
    """,
    # dequeue order, of the queued messages as of each hand's: an index ends with the number
    "CREATE INDEX messages_in_order ON messages (mailbox, hand, priority DESC)",
    "CREATE UNIQUE INDEX messages_by_own_id ON messages (mailbox, own_id) WHERE own_id IS NOT NULL",
    "CREATE INDEX messages_by_due ON messages (mailbox, due) WHERE due IS NOT NULL",
    "CREATE INDEX messages_failed ON messages (mailbox, hand, failures) WHERE failures > 0",
    """
    CREATE TABLE bodies (
        number INTEGER PRIMARY KEY,
        sender BLOB NOT NULL,
        payload BLOB NOT NULL,
        created_at INTEGER NOT NULL -- milliseconds since 1970, UTC
    )
    """,
    """
    CREATE TRIGGER body_of_deleted_message AFTER DELETE ON messages
    BEGIN DELETE FROM bodies WHERE number = OLD.number; END
    """,
    # why a message is a dead letter
    """
    CREATE TABLE letters (
        letter INTEGER PRIMARY KEY, -- the newest has the largest
        mailbox INTEGER NOT NULL,
        number INTEGER NOT NULL UNIQUE, -- the message's
        reason TEXT NOT NULL,
        died_at INTEGER NOT NULL -- milliseconds since 1970, UTC
    )
    """,
    "CREATE INDEX letters_by_mailbox ON letters (mailbox)",
)


_HEADER: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_LAST_NUMBER_ANEW: Final = "INSERT INTO last_number SELECT coalesce(max(number), 0) FROM messages"


def connect(file: str) -> sqlite3.Connection:
    """Opens a mailbox file, made if it is not there. Transactions are explicit.

    Raises:
        sqlite3.Error: SQLite cannot open it, or it is no database.
        StorageUnavailableError: it is no file, it is mounted without its folder, or a newer version wrote it.
        StorageCorruptError: it is another program's database, or some of its tables are missing.
        RuntimeWarning: it is on a network file system, and warnings are errors.
    """
    # checked before SQLite may make anything beside it
    if os.path.exists(file) and not os.path.isfile(file):  # noqa: PTH110, PTH113 (a path as the user gave it)
        raise StorageUnavailableError(f"{file} is a folder or a device, not a file to keep mailboxes in. Name a file")
    mounts.check(file)
    # a thread that forks closes the connection of the thread that works with it
    connection = sqlite3.connect(file, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        if _what_is_missing(connection, file):
            until_unlocked(lambda: _let_shrink(connection))
            _use_write_ahead_log(connection)
            _make_what_is_missing(connection, file)
        else:
            _use_write_ahead_log(connection)
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        # some systems build SQLite to overwrite what is deleted, which would write every message twice
        connection.execute("PRAGMA secure_delete = OFF")
        connection.text_factory = as_it_is
    except BaseException:
        connection.close()
        raise
    return connection


def _what_is_missing(connection: sqlite3.Connection, file: str) -> Sequence[str]:
    """The statements that make a mailbox file of it; raises if it is none, or one that this version cannot use."""
    in_transaction = connection.in_transaction
    if not in_transaction:
        connection.execute("BEGIN")  # so that the answers are of one moment
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = restored.definitions(connection)
    is_numbered = "last_number" in found and connection.execute("SELECT 1 FROM last_number").fetchone() is not None
    if not in_transaction:
        connection.execute("COMMIT")
    if not (application_id or version or found):
        return [*_TABLES, *_HEADER]
    if not (application_id == APPLICATION_ID or (application_id == 0 and restored.is_ours(found, _TABLES))):
        raise StorageCorruptError(
            f"{file} is a SQLite database of another program, no mailbox file. Choose another path"
        )
    if version > SCHEMA_VERSION:
        raise StorageUnavailableError(
            f"the mailbox file {file} has schema version {version}, written by a newer pymailbox; this one knows "
            f"version {SCHEMA_VERSION}. Install a newer pymailbox"
        )
    missing = restored.missing(found, _TABLES, file)
    if not is_numbered:
        missing = [*missing, _LAST_NUMBER_ANEW]
    if application_id == APPLICATION_ID:
        return missing
    restored.require_same(found, _TABLES, file, f"{_HEADER[0]}; PRAGMA user_version = N")
    return [*missing, *_HEADER]


def is_empty(connection: sqlite3.Connection, file: str) -> bool:
    """Whether the file has no tables yet; raises if it is no mailbox file, or one that this version cannot use."""
    return list(_what_is_missing(connection, file)) == [*_TABLES, *_HEADER]


def as_it_is(data: bytes) -> str:
    """Text as it is, even if another program wrote it and it is none."""
    return data.decode("utf-8", "surrogateescape")


def until_unlocked(attempt: Callable[[], _T]) -> _T:
    """Tries until no other connection is in the way, for ``BUSY_TIMEOUT`` at most."""
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
    """Lets a file that is made now give free pages back to the disk; it does nothing to one that has tables."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # while two connections set it at once, SQLite answers "locked" to one of them without waiting
    until_unlocked(lambda: connection.execute("PRAGMA journal_mode = WAL"))


def _make_what_is_missing(connection: sqlite3.Connection, file: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _what_is_missing(connection, file):  # nothing, if another process was quicker
        connection.execute(statement)
    connection.execute("COMMIT")
