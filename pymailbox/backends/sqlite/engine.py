"""Runs calls in transactions: one connection, for the one thread that uses it."""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from struct import Struct
from typing import Any, Final

from ...contract.errors import MailboxError, StorageCorruptError, StorageFullError, StorageUnavailableError
from .errors import is_full, mailbox_error
from .headroom import Headroom
from .locks import FileLocks
from .schema import BUSY_TIMEOUT, connect, require_known_layout, until_unlocked
from .session import OutdatedError, Session

_logger = logging.getLogger("pymailbox")


class Access(enum.IntEnum):
    """What a call needs of its transaction; calls that share one get the most that any of them needs."""

    READ = 0
    WRITE = 1
    """A crash of the program loses nothing that was committed; a power cut may lose the last commits."""
    DURABLE_WRITE = 2
    """Returns only when it is on the disk."""


_READ, _, _DURABLE_WRITE = Access
"""For code that runs with each call: looking up an enumeration member takes time."""

_LOG_PAGES: Final = 1000
"""Pages of the log after which it is moved into the file, whoever wrote them; SQLite's default."""

_LOG_INTERVAL: Final = 0.05
"""Seconds between two checks of the length of the log, while all calls may run inline."""

_MANY_FREE: Final = 16 * 1024 * 1024
"""Bytes of the file that may stay free; beyond that, free space above half of the file goes back to the disk."""

_INCREMENTAL: Final = 2
"""SQLite's number for a file that shrinks on request."""

_SHRINK_STEP: Final = 64
"""Pages that go back in one transaction: this takes 0.5 ms, or 20 if other pages have to be moved into their places."""

_SHRINK_FOR: Final = 0.01
"""Seconds after which no further step begins."""

_SHRINK_INTERVAL: Final = 0.25
"""Seconds between two checks of whether the file can be made smaller."""

_PAGES_OF_A_COMMIT: Final = 4
_CHANGES_IN_A_PAGE: Final = 8
_PAGE_SIZE: Final = 4096


@dataclass(slots=True, eq=False, weakref_slot=True)
class Call:
    """One call of a verb on its way through the engine."""

    operation: Callable[[Session], Any]
    access: Access
    future: asyncio.Future[Any] | None
    """Where the outcome goes; None if nobody waits for it."""
    on_commit: Callable[[Any], None] | None = None
    """Gets the result after the commit, in the engine's thread, whether or not the caller still waits for it."""
    inline_ok: bool = False
    """Whether it touches little."""
    result: Any = None
    error: BaseException | None = None
    ran: bool = False
    """Whether it may have been committed."""
    waiter: threading.Lock | None = None
    """Released when it is done, for a caller that waits a moment without suspending; until then it has no future."""
    done: bool = False
    """Whether its outcome is final; set before anybody checks whether it now has a future."""
    delivered: bool = False
    """Whether its caller has taken the outcome from here."""

    def notify(self) -> None:
        """Calls ``on_commit``, if the call succeeded."""
        if self.on_commit is not None and self.error is None:
            self.on_commit(self.result)

    def resolve(self) -> None:
        """Gives the caller its outcome; to be called in the caller's event loop."""
        if self.delivered:
            pass
        elif self.future is None:
            if self.error is not None and self.waiter is None:
                _logger.error("a call that nobody awaits has failed", exc_info=self.error)
        elif self.future.done():
            pass  # cancelled
        elif self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


_COMMITS: Final = Struct("=8xI")
"""How many commits the log's index counts (iChange in https://www.sqlite.org/walformat.html, 2.1)."""


class FileReplacedError(StorageUnavailableError):
    """The mailbox file was deleted or replaced while it was open."""


class Engine:
    """The connection to a file, opened when it is first needed."""

    def __init__(self, file: str, locks: FileLocks) -> None:
        self.replaced = 0
        """How often the file was found deleted or replaced."""
        self.last_stored: dict[str, int] = {}
        """By mailbox, the number of the last message that this process has stored or seen."""
        self.unannounced = False
        """Whether others may have committed something that no listener in this process has been notified of."""
        self.on_changed: Callable[[list[str]], None] = lambda names: None
        """Called after each commit, with the mailboxes that it changed."""
        self.file = file
        self._locks = locks
        self._connection: sqlite3.Connection | None = None
        self._headroom = Headroom(file)
        self._made_room = False
        """Whether a call is being tried again after making room for it."""
        self._session: Session | None = None
        self._prepared: tuple[Call, Session] | None = None
        """A call whose transaction is done except for the commit, and the session at that point."""
        self._header: bytes | None = None
        """What the log's index says while the session is valid; None if unknown."""
        self._begun: bytes | None = None
        """What it said after the transaction had begun."""
        self._late_access = Access.READ
        """What a transaction that has not begun yet needs."""
        self._version: int | None = None
        """What SQLite says about others' commits; the session knows the file as of that moment."""
        self._durable: bool | None = None
        self._identity: tuple[int, int] | None = None
        self._size = 0
        self._has_log = False
        """Whether there is a write-ahead log; some file systems have none, and a commit waits for readers."""
        self._changes = 0
        """Rows changed by this connection, as of its last commit."""
        self._log_pages = 0
        """About how many pages this connection wrote to the log since it may last have been moved into the file."""
        self._shortens_log: bool | None = None
        """Whether a commit may move the log into the file, which waits for the disk."""
        self._looks_at_log = 0.0
        """When a commit has to check how long the log is."""
        self._log_begins = True
        """Whether the next commit writes the log from its start, which makes SQLite wait for the disk."""
        self._shrinks = False
        """Whether the file can give free pages back to the disk; files from older versions cannot."""
        self._shrinks_at = 0.0
        """When to check again whether it should."""

    def run(self, calls: Sequence[Call]) -> None:
        """Runs calls in order, and sets each one's ``result`` or ``error``.

        They share one transaction. If it fails, each runs again in a transaction of its own, so that none fails because
        of another.
        """
        connection, prepared, left = self._connection, self._prepared, calls
        self._prepared = session = None
        try:
            if prepared and prepared[0] is calls[0] and connection is not None and connection.in_transaction:
                session, left = prepared[1], calls[1:]
            else:
                access = max(call.access for call in calls)
                connection = self._open()
                self._let_shorten_log(connection, self._is_to_look_at_log(calls))
                version = until_unlocked(partial(self._begin, connection, access))
        except BaseException as error:
            self._fail(calls, error)
            return
        try:
            if session is None:
                session = self._session_of(connection, version)
            for call in left:
                call.result = call.operation(session)
            if left:
                session.flush()
            connection.execute("COMMIT")
            self._session = session
            self._note_header(session)
        except BaseException as error:
            self._roll_back(connection)
            if len(calls) == 1:
                if is_full(error) and not self._made_room and self._make_room():
                    self._made_room = True
                    self.run(calls)
                    self._made_room = False
                else:
                    self._fail(calls, error)
                return
        else:
            self._after_commit(connection, session, calls)
            self._shrink_if_much_is_free()
            if self._log_pages >= _LOG_PAGES and self._shortens_log:
                self._log_pages, self._log_begins = 0, True
            return
        for call in calls:
            self.run([call])

    def run_inline(self, call: Call) -> bool:
        """Runs a call if it need not wait for another program or for the disk, and sets its outcome. If it has to be on
        the disk, everything is done except the commit, and ``run`` must follow.

        False if it would have to wait or failed: then nothing was done, and ``run`` does it or reports what is wrong. A
        signal handler may raise anywhere in here. What was committed then stays committed and never runs again.
        """
        connection, session = self._connection, self._session
        if connection is None or session is None or self._log_pages >= _LOG_PAGES or not self._has_log:
            return False
        durable = call.access is _DURABLE_WRITE
        if (self._log_begins and not durable) or self._durable is None:
            return False
        self._session = None  # not to be trusted until everything is done
        changes = connection.total_changes
        try:
            if self._shortens_log:
                self._let_shorten_log(connection, False)
            if not durable and self._header is not None and self._locks.index_header() == self._header:
                if self._durable and call.access is not _READ:
                    self._set_durable(connection, False)
                self._begun, self._late_access, session.begin = self._header, call.access, self._begin_late
            elif self._begin(connection, call.access) != self._version:  # what others did has to be read
                connection.execute("ROLLBACK")
                return False
            call.result = call.operation(session)
            session.flush()
            if durable:
                self._prepared = call, session
                return True
            if session.begin is None:
                connection.execute("COMMIT")
            session.begin = None
            self._session = session
            call.ran = True
            self._note_header(session)
        except BaseException as error:
            committed = connection.total_changes != changes and not connection.in_transaction
            call.ran = call.ran or (committed and not isinstance(error, sqlite3.Error))
            self._roll_back(connection)
            if call.ran or not isinstance(error, Exception):
                raise
            return False
        self._after_commit(connection, session, (call,))
        return True

    def drop_prepared(self) -> None:
        """Undoes what was prepared, if its call did not follow; if that comes later, it runs from the beginning."""
        self._prepared = None
        if self._connection is not None:
            self._roll_back(self._connection)

    @property
    def has_prepared(self) -> bool:
        """Whether a transaction waits for its commit."""
        return self._prepared is not None

    def others_committed(self) -> bool:
        """Whether another connection may have committed since the last call; cheap, and it makes no file.

        Raises:
            MailboxError: the file has been replaced or damaged.
        """
        if self._connection is None:
            return self._identity is not None or self.unannounced
        try:
            self._check_file()
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise self._typed(error) from error
        return self.unannounced or bool(version != self._version)

    def close(self) -> None:
        """Closes the file; a later call opens it again."""
        self._session = self._prepared = self._header = None
        if self._connection is not None:
            # while any statement of it is alive, close() neither closes a connection nor ends its transaction
            with suppress(sqlite3.Error):
                self._connection.rollback()
            self._locks.unprotect()
            self._connection.close()
            self._connection = None
            self._locks.let_index_go()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._check_names()
            self._connection = connect(self.file)
            (mode,) = self._connection.execute("PRAGMA journal_mode").fetchone()
            self._has_log = mode == "wal"
            if self._has_log:  # calls that may wait for others do so in `until_unlocked`
                self._connection.execute("PRAGMA busy_timeout = 0")
            self._shortens_log = None
            # without a log each step would wait for the disk several times
            self._shrinks = self._has_log and self._ask("auto_vacuum") == _INCREMENTAL
            self._durable, self._changes, self._log_begins = None, self._connection.total_changes, True
            self.unannounced = True
            self._note_file()
            if self._has_log:  # otherwise a commit needs the whole file to itself
                with suppress(OSError):  # this system has no such locks
                    self._locks.protect()
        return self._connection

    def _begin(self, connection: sqlite3.Connection, access: Access) -> int:
        """Begins a transaction; returns the version of the file that it sees."""
        if connection.in_transaction:  # left behind by an exception from a signal handler
            self._roll_back(connection)
        if access is _READ:
            connection.execute("BEGIN")
        else:
            durable = access is _DURABLE_WRITE
            if durable is not self._durable:
                self._set_durable(connection, durable)
            connection.execute("BEGIN IMMEDIATE")
        try:
            # nobody else can commit now, unless it only reads
            self._begun = None if access is _READ else self._locks.index_header()
            if self._begun is not None and self._begun == self._header and self._version is not None:
                return self._version
            version: int = connection.execute("PRAGMA data_version").fetchone()[0]
        except BaseException:
            self._roll_back(connection)
            raise
        return version

    def _begin_late(self) -> None:
        """Begins the transaction of a call that has used the session already."""
        assert self._connection is not None
        if self._begin(self._connection, self._late_access) != self._version:
            raise OutdatedError

    def _note_header(self, session: Session) -> None:
        """After a commit: records what the log's index says, if nobody else has committed since."""
        begun = self._begun
        wrote, session.wrote = session.wrote, False
        if begun is None:
            return
        header = self._locks.index_header()
        if header is not None and header != begun:
            (before,), (after,) = _COMMITS.unpack_from(begun), _COMMITS.unpack_from(header)
            if not wrote or after != (before + 1) & 0xFFFF_FFFF:
                header = None
        self._header = header

    def _set_durable(self, connection: sqlite3.Connection, durable: bool) -> None:
        if durable is not self._durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _session_of(self, connection: sqlite3.Connection, version: int) -> Session:
        """The session for the file at that version."""
        if version != self._version:
            self.unannounced = True
            self._header = None
        if self._session is None or version != self._version:
            reserve = partial(self._headroom.reserve, connection)
            self._session = Session(connection, reserve, lacks_headroom=self._made_room)
            self._version = version
        return self._session

    def _after_commit(self, connection: sqlite3.Connection, session: Session, calls: Sequence[Call]) -> None:
        for call in calls:
            call.ran = True
        if session.stored:
            self.last_stored |= session.stored
            session.stored.clear()
        if session.changed:
            changed, session.changed = session.changed, []
            self.on_changed(changed)
        total = connection.total_changes
        changes, self._changes = total - self._changes, total
        if changes:
            changes &= 0xFFFF_FFFF  # SQLite counts in 32 bits
            self._log_begins = False
            self._log_pages += _PAGES_OF_A_COMMIT + changes // _CHANGES_IN_A_PAGE + self._headroom.taken // _PAGE_SIZE
            self._headroom.taken = 0
        try:
            self._check_file()
        except BaseException as error:
            self._fail(calls, error)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        self._session = self._prepared = self._header = None
        if connection.in_transaction:  # some errors end the transaction by themselves
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()  # this rolls back too

    def _is_to_look_at_log(self, calls: Sequence[Call]) -> bool:
        """Whether the log may be too long after these calls, including what others have written."""
        now = time.monotonic()
        if self._log_pages < _LOG_PAGES and now < self._looks_at_log and all(call.inline_ok for call in calls):
            return False
        self._looks_at_log = now + _LOG_INTERVAL
        return True

    def _let_shorten_log(self, connection: sqlite3.Connection, may: bool) -> None:
        if self._has_log and may is not self._shortens_log:
            connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES if may else 0}")
            self._shortens_log = may

    # -- room ----------------------------------------------------------------------------------------------------------

    def shrink(self) -> bool:
        """Gives some of the file's free pages back to the disk; returns whether there may be more.

        Raises:
            MailboxError: it could not, and nothing was changed.
        """
        if self.has_prepared:
            return True  # its commit comes first
        try:
            connection = self._open()
            if not self._shrinks:
                return self._rebuild(connection)
            self._let_shorten_log(connection, True)
            until = time.monotonic() + _SHRINK_FOR
            while free := self._ask("freelist_count"):
                until_unlocked(partial(self._shrink, connection))
                if self._ask("freelist_count") >= free:
                    return False
                if time.monotonic() > until:
                    return True
        except sqlite3.Error as error:
            raise self._typed(error) from error
        return False

    def _rebuild(self, connection: sqlite3.Connection) -> bool:
        """Rewrites a file that cannot give pages back so that it can. Others cannot write meanwhile."""
        self._roll_back(connection)
        try:
            connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
            until_unlocked(partial(connection.execute, "VACUUM"))
        except sqlite3.Error as error:
            if is_full(error):
                raise StorageFullError(
                    f"the mailbox file {self.file} has to be rewritten to become smaller, and its disk has too "
                    "little room left for that. Free some space and try again"
                ) from error
            raise
        self._shrinks = self._has_log and self._ask("auto_vacuum") == _INCREMENTAL
        return False

    def empty_log(self) -> bool:
        """Moves the log into the file, which then has its real size; False if others are in the way at present.

        Raises:
            MailboxError: it could not be done at all.
        """
        if self.has_prepared:
            return False
        try:
            emptied = self._empty_log(self._open())
        except sqlite3.Error as error:
            raise self._typed(error) from error
        self._header = None
        self._log_begins, self._log_pages = self._log_begins or emptied, 0 if emptied else self._log_pages
        return emptied

    def _make_room(self) -> bool:
        """Moves the log into the file, so that it can be written from its start again, and gives free pages back to the
        disk if that makes room for what was refused. False if the log cannot be moved.
        """
        connection = self._connection
        if connection is None:
            return False
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
            if not self._empty_log(connection):
                return False
            until = time.monotonic() + BUSY_TIMEOUT
            while self._shrinks and self._headroom.would_come_of_free_pages(connection) and time.monotonic() < until:
                self._shrink(connection)
                if not self._empty_log(connection):
                    break
        except sqlite3.Error:
            return False
        finally:
            if self._has_log:
                connection.execute("PRAGMA busy_timeout = 0")
        self._log_begins = True
        return True

    def _empty_log(self, connection: sqlite3.Connection) -> bool:
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def _shrink_if_much_is_free(self) -> None:
        """Gives some of the file's free pages back to the disk, if there are many and nothing is in the way."""
        connection, now = self._connection, time.monotonic()
        if connection is None or not self._shrinks or now < self._shrinks_at:
            return
        self._shrinks_at = now + _SHRINK_INTERVAL
        try:
            while self._much_is_free() and time.monotonic() < now + _SHRINK_FOR:
                self._shrink(connection)
        except sqlite3.Error:
            pass  # another program is working: try next time

    def _much_is_free(self) -> bool:
        free = self._ask("freelist_count")
        return free * self._ask("page_size") > _MANY_FREE and 2 * free > self._ask("page_count")

    def _shrink(self, connection: sqlite3.Connection) -> None:
        self._set_durable(connection, False)
        connection.executescript(f"PRAGMA incremental_vacuum({_SHRINK_STEP})")  # `execute` would do one page
        self._log_pages += _SHRINK_STEP

    def _ask(self, what: str) -> int:
        assert self._connection is not None
        answer: int = self._connection.execute(f"PRAGMA {what}").fetchone()[0]
        return answer

    # -- the file ------------------------------------------------------------------------------------------------------

    def _note_file(self) -> None:
        status = os.stat(self.file)  # noqa: PTH116 (quicker than a Path's)
        identity = (status.st_dev, status.st_ino)
        if self._identity is not None and identity != self._identity:
            self._identity, self._size = identity, status.st_size
            raise self._replaced("was deleted or replaced")
        self._identity, self._size = identity, status.st_size

    def _check_names(self) -> None:
        """Raises if the file is open under another of its names: whoever stores in one overwrites what others store."""
        with suppress(OSError):  # it is not there yet, or this system has no such locks
            if self._locks.is_open_by_another_name():
                self._locks.unprotect()
                raise StorageUnavailableError(
                    f"the mailbox file {self.file} is open under another of its names (hard links). Log and locks are "
                    "files beside each name, so messages would be lost or handed out twice. Use one name everywhere; "
                    "backup() makes a copy"
                )

    def _check_file(self) -> None:
        """Raises if the open file is no longer the one at its path or has lost content: SQLite would not notice."""
        try:
            status = os.stat(self.file)  # noqa: PTH116 (quicker than a Path's)
        except (FileNotFoundError, NotADirectoryError):
            self._identity = None
            raise self._replaced("was deleted") from None
        except OSError:
            return  # this cannot be known, but what was committed can
        if (status.st_dev, status.st_ino) != self._identity:
            self._identity = None
            raise self._replaced("was replaced by another")
        size = status.st_size
        if size < self._size and not self._holds_all_pages(size):
            self._check_content(size)
        self._size = size

    def _holds_all_pages(self, size: int) -> bool:
        """Whether a file that became smaller still has room for all its pages: then free ones were given back."""
        return size >= until_unlocked(lambda: self._ask("page_count")) * self._ask("page_size") > 0

    def _check_content(self, size: int) -> None:
        """Another program has made the file smaller: it has either vacuumed or damaged it."""
        self.close()
        if not size:
            raise self._replaced("was emptied")
        connection = connect(self.file)
        try:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
        if verdict != "ok":
            raise StorageCorruptError(
                f"the mailbox file {self.file}: another program has truncated it ({verdict}). Restore it from a backup"
            )

    def _replaced(self, what: str) -> FileReplacedError:
        self.close()
        self.last_stored.clear()
        self.replaced += 1
        return FileReplacedError(
            f"the mailbox file {self.file} {what} while it was open, and its messages are gone from here. "
            "The next call works with the file that is there then, or makes a new one if there is none"
        )

    # -- errors --------------------------------------------------------------------------------------------------------

    def _fail(self, calls: Sequence[Call], error: BaseException) -> None:
        if isinstance(error, sqlite3.Error) and self._connection is not None:
            try:
                self._check_file()
                if self._connection is not None:
                    require_known_layout(self._connection, self.file)
            except (OSError, sqlite3.Error):
                pass  # the first error says as much
            except MailboxError as reason:
                reason.__cause__, error = error, reason
        for call in calls:
            call.error = self._typed(error)

    def _typed(self, error: BaseException) -> BaseException:
        return mailbox_error(error, self.file) if isinstance(error, sqlite3.Error) else error
