"""Mailboxes seen without write permission for their file or its folder, as the command line may have to.

SQLite reads a file with a write-ahead log through an index in shared memory, a file ``-shm`` beside it. So how to read
depends on what is there:

- With a log and its index, somebody has the file open, or died with it open: they are read as they are, with
  ``mode=ro``.
- Without a log everything is in the file, and nobody uses it. ``mode=ro`` might now create a log and an index, which
  would belong to a process that only looks and get in the way of those that work. So it is read with ``immutable=1``,
  which creates and locks nothing. SQLite would not notice if somebody wrote into the file meanwhile, so that is checked
  here after each look.
- A log without its index cannot be read: ``immutable=1`` would leave out what was committed last.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn, TypeVar
from uuid import UUID

from ...contract.archive import Adopted, Archive, Page, Remembered, Section
from ...contract.capabilities import Capability
from ...contract.errors import StorageCorruptError, StorageUnavailableError
from ...contract.mailbox import Mailbox
from ...contract.values import DeadLetter, MailboxStats, MessageRecord, MessageStatus
from . import rows, verbs
from .errors import mailbox_error
from .headroom import size_of
from .schema import BUSY_TIMEOUT, as_it_is, is_empty, is_write_protected
from .session import Session

_T = TypeVar("_T")

_VERSIONS_AT: Final = 18
_HAS_LOG: Final = b"\x02\x02"
"""What the file's header says there of a database with a write-ahead log."""

_ATTEMPTS: Final = 5
"""How often to try again to open a file whose log appears or disappears at that moment."""

_PAUSE: Final = 0.005
"""Seconds after which the log, too, is gone when somebody closes the file, who deletes the index first."""

_SHOWN: Final = 32
"""How many messages are shown without a limit."""

_Identity = tuple[int, int, int, int]


def may_write(file: str) -> bool:
    """Whether this process may write the file and what belongs to it, and create files beside it."""
    folder = os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120
    return not any(map(is_write_protected, (file, f"{file}-wal", f"{file}-shm", folder)))


def names_in(file: str) -> list[str]:
    """The names of all mailboxes in a file that may not be written.

    Raises:
        MailboxError: as ``Reader``, and StorageUnavailableError: it cannot be read.
    """
    try:
        with closing(Reader(file)) as reader:
            return reader.names()
    except OSError as error:
        raise StorageUnavailableError(
            f"the mailbox file {file}: it cannot be read ({error.strerror}). Give yourself permission for it"
        ) from error


class Reader:
    """A file opened only for reading. Nothing is changed, made or recovered.

    Raises:
        OSError: it cannot be read.
        StorageUnavailableError: it has a log that cannot be read here, or a newer version wrote it.
        StorageCorruptError: it is not a mailbox file.
    """

    def __init__(self, file: str) -> None:
        self.file = os.path.realpath(file)
        self._seen: _Identity | None = None
        """The file as it was when it was opened, if it is read as one that nobody changes."""
        self.connection = self._open()
        try:
            self.connection.execute("PRAGMA query_only = ON")
            self.connection.text_factory = as_it_is
            self._is_empty = self._within(lambda: is_empty(self.connection, self.file))
        except BaseException:
            self.connection.close()
            raise

    def names(self) -> list[str]:
        """The names of all mailboxes in it."""
        return [] if self._is_empty else self.read(verbs.mailbox_names)

    def read(self, operation: Callable[[Session], _T]) -> _T:
        """Runs an operation that only reads, at one moment."""

        def run() -> _T:
            self.connection.execute("BEGIN")
            try:
                return operation(Session(self.connection, _reserves_nothing))
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

        return self._within(run)

    def copy_into(self, path: str) -> None:
        """Copies the database to a path where there is nothing, or an empty file.

        Raises:
            sqlite3.Error: reading or writing failed.
        """
        self.connection.execute("PRAGMA query_only = OFF")  # it would apply to the copy too
        try:
            self.connection.execute("VACUUM INTO ?", (path,))
        finally:
            self._check_unchanged()

    def close(self) -> None:
        self.connection.close()

    def _within(self, run: Callable[[], _T]) -> _T:
        try:
            result = run()
        except sqlite3.Error as error:
            self._check_unchanged()
            raise mailbox_error(error, self.file) from error
        except rows.UnreadableError as error:
            raise StorageCorruptError(
                f"the mailbox file {self.file}: one of its rows is not a message and can't be shown. If somebody with "
                "write permission for the file looks, it becomes a dead letter"
            ) from error
        self._check_unchanged()
        return result

    def _open(self) -> sqlite3.Connection:
        uri = Path(self.file).as_uri()
        for attempt in range(_ATTEMPTS):
            with open(self.file, "rb") as opened:  # noqa: PTH123 (whether it may be read, and what it is)
                has_log = opened.read(_VERSIONS_AT + 2)[_VERSIONS_AT:] == _HAS_LOG
            log, index = (Path(f"{self.file}-{kind}") for kind in ("wal", "shm"))
            query = "mode=ro"
            if has_log and not (log.exists() and index.exists()):
                if size_of(str(log)):
                    if attempt < _ATTEMPTS - 1:
                        time.sleep(_PAUSE)
                        continue
                    raise StorageUnavailableError(
                        f"the mailbox file {self.file} has a log beside it, {log.name}, that nobody has open and that "
                        "can't be read without writing. Copy both into a folder of your own and look there"
                    )
                query, self._seen = "mode=ro&immutable=1", self._identity()
            connection = sqlite3.connect(f"{uri}?{query}", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
            try:
                connection.execute("PRAGMA schema_version").fetchone()
            except sqlite3.Error as error:
                connection.close()
                self._seen = None
                if attempt == _ATTEMPTS - 1 or index.exists():
                    raise mailbox_error(error, self.file) from error
            else:
                return connection
        raise AssertionError("the last attempt returns or raises")

    def _check_unchanged(self) -> None:
        if self._seen is not None and self._identity() != self._seen:
            raise StorageUnavailableError(
                f"somebody began to use the mailbox file {self.file} while it was read. Look again"
            )

    def _identity(self) -> _Identity:
        status = os.stat(self.file)  # noqa: PTH116
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class ReadOnlyMailbox(Mailbox):
    """A mailbox opened for looking only. What dead holders held stays inflight: taking it back would be a write."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.PEEK, Capability.GET})

    def __init__(self, file: str, name: str) -> None:
        self.name = name
        self._reader = Reader(file)

    def _refuse(self) -> NoReturn:
        raise StorageUnavailableError(
            f"the mailbox file {self._reader.file} is open for reading only. Give yourself write permission for the "
            "file and its folder"
        )

    async def enqueue(self, *arguments: Any, **keywords: Any) -> UUID:
        self._refuse()

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        self._refuse()

    async def ack(self, message_id: UUID) -> bool:
        self._refuse()

    async def status(self) -> MailboxStats:
        return self._reader.read(lambda session: verbs.count(session, self.name))

    async def peek(
        self, limit: int | None = None, *, status: MessageStatus | None = None, offset: int = 0
    ) -> list[MessageRecord]:
        return self._reader.read(lambda session: verbs.peek(session, self.name, limit or _SHOWN, status, offset))

    async def get(self, message_id: UUID) -> MessageRecord | DeadLetter | None:
        return self._reader.read(lambda session: verbs.get(session, self.name, message_id))

    async def dead_letters(self, limit: int | None = None, *, offset: int = 0) -> list[DeadLetter]:
        return self._reader.read(lambda session: verbs.list_dead_letters(session, self.name, limit or _SHOWN, offset))

    def _archive(self) -> Archive:
        return _ReadOnlyArchive(self._reader, self.name)

    async def close(self) -> None:
        self._reader.close()


class _ReadOnlyArchive(Archive):
    def __init__(self, reader: Reader, name: str) -> None:
        self._reader = reader
        self._name = name

    async def page(self, section: Section, after: int, until: int | None) -> Page:
        return self._reader.read(lambda session: verbs.read_section(session, self._name, section, after, until))

    async def adopt(self, messages: Any) -> list[Adopted]:
        raise NotImplementedError

    async def remembered(self, after: UUID | None) -> list[Remembered]:
        return self._reader.read(lambda session: verbs.read_remembered(session, self._name, after))


def _reserves_nothing(size: int) -> None:
    """Nothing is stored."""
