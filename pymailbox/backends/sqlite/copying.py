"""Copies a mailbox file while others write into the original.

``VACUUM INTO`` copies what was committed when it began. It reads with a separate connection, so that neither this
process's calls nor others' wait for it. The copy gets its name when all of it is on the disk; until then, and if
anything goes wrong, there is nothing with that name. No connection may be open during a fork, so a fork interrupts the
copying, which then begins again.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from ...contract.errors import MailboxError, StorageFullError, StorageUnavailableError
from ...contract.location import IN_PYODIDE
from ...core import claiming
from . import rows, verbs
from .database import closed_in_forks
from .errors import PRIMARY_CODE_MASK, is_full, mailbox_error
from .read_only import Reader, may_write
from .schema import BUSY_TIMEOUT, as_it_is, has_older_layout, is_empty
from .session import Session

_T = TypeVar("_T")

_BESIDE: Final = ("-wal", "-shm", "-journal")
"""Files that SQLite keeps beside a database and treats as part of it."""

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)

_PART: Final = (".pymailbox-", ".part")
"""How the name of an unfinished copy begins and ends."""

_LEFT_BEHIND: Final = 24 * 3600.0
"""Seconds without a write after which an unfinished copy is abandoned: its process was killed."""

_INTERRUPT_INTERVAL: Final = 0.001
"""Seconds between two attempts to interrupt a statement that may not have begun yet."""


async def copy(file: str, path: str) -> None:
    """Copies the mailbox file to a path where there is nothing.

    Raises:
        ValueError: something is at the path, or a file beside it would become part of the copy.
        StorageUnavailableError: there is no mailbox file, or the path cannot be written. StorageFullError: there is no
        room for the copy.
    """
    copying = _Copying(file, path)
    await in_thread(copying.run, copying.cancel)


async def in_thread(work: Callable[[], _T], cancel: Callable[[], None] = lambda: None) -> _T:
    """Does some work in another thread, if there can be one; if cancelled, it waits until the work has ended."""
    if IN_PYODIDE:
        return work()
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        cancel()
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # nobody needs its error
        raise


def require_file(file: str) -> None:
    """Raises ``StorageUnavailableError`` if there is no file or an empty one: neither is turned into a database."""
    try:
        size = os.stat(file).st_size  # noqa: PTH116
    except OSError as error:
        raise StorageUnavailableError(
            f"there is no mailbox file {file} ({error.strerror}). Check the path in location"
        ) from error
    if not size:
        raise StorageUnavailableError(f"the mailbox file {file} is empty: no mailbox was ever made in it")


def belongs_to(path: str, file: str) -> bool:
    """Whether a path is that of a mailbox file or of what SQLite keeps beside it."""
    file = os.path.realpath(file)
    return os.path.realpath(path) in (file, *(f"{file}{end}" for end in _BESIDE)) or _is_same(path, file)


class _Copying:
    """One copy of a file. ``run`` is for a thread of its own; ``pause`` and ``go_on`` are for forks."""

    def __init__(self, file: str, path: str) -> None:
        self._file = os.path.realpath(file)
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._busy = False
        self._cancelled = False
        self._may_work = threading.Event()
        self._may_work.set()

    def run(self) -> None:
        require_file(self._file)
        self._check_path()
        with closed_in_forks(self), self._part() as part:
            while not self._cancelled:
                self._may_work.wait()
                self._busy = True  # set before the check, as `pause` clears before its check: one sees the other
                try:
                    if self._may_work.is_set():
                        self._copy_to(part)
                        _release_everything(part)
                        if not self._cancelled:
                            self._finish(part)
                        return
                except sqlite3.Error as error:
                    if not _is_interrupt(error):
                        raise self._typed(error) from error
                    os.truncate(part, 0)
                finally:
                    self._busy = False

    def cancel(self) -> None:
        """Ends it as soon as possible and leaves nothing behind."""
        self._cancelled = True
        self._interrupt()

    def pause(self) -> None:
        """Closes the connection, and keeps it closed until ``go_on``. If interrupted, it can be called again."""
        self._may_work.clear()
        while self._busy:
            self._interrupt()
            time.sleep(_INTERRUPT_INTERVAL)

    def go_on(self) -> None:
        self._may_work.set()

    def _interrupt(self) -> None:
        if (connection := self._connection) is not None:
            with suppress(sqlite3.Error):  # it has just been closed
                connection.interrupt()

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _check_path(self) -> None:
        path = self._path
        if belongs_to(path, self._file):
            raise ValueError(f"path {path} is the mailbox file itself, or belongs to it. Name another one")
        if os.path.isdir(path):  # noqa: PTH112
            raise ValueError(f"path {path} is a folder. Name the file that the copy is to be")
        if os.path.lexists(path):
            self._refuse_to_overwrite()
        for end in _BESIDE:
            if os.path.lexists(f"{path}{end}"):
                raise ValueError(
                    f"path {path}: there is a file {os.path.basename(path)}{end} in its folder, left by another "  # noqa: PTH119
                    "database. SQLite would take it for a part of the copy. Delete it, or name another path"
                )

    def _refuse_to_overwrite(self) -> NoReturn:
        raise ValueError(f"path {self._path} already exists. Name one that does not, or delete it first")

    @contextmanager
    def _part(self) -> Iterator[str]:
        """An empty file beside the path, with the permissions of the original; always removed in the end."""
        folder = Path(self._path).parent
        _remove_left_behind(folder)
        part = str(folder / secrets.token_hex(8).join(_PART))
        try:
            permissions = os.stat(self._file).st_mode & 0o777 | 0o600  # noqa: PTH116
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, permissions))
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield part
        finally:
            for end in ("", *_BESIDE):
                with suppress(OSError):
                    os.unlink(f"{part}{end}")  # noqa: PTH108

    def _copy_to(self, part: str) -> None:
        if may_write(self._file):
            self._connection = connection = sqlite3.connect(
                f"{Path(self._file).as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_TIMEOUT,
                isolation_level=None,
                check_same_thread=False,
            )
            with closing(connection):
                if not has_older_layout(connection):
                    is_empty(connection, self._file)  # raises if it is not a mailbox file
                connection.execute("VACUUM INTO ?", (part,))
        else:
            with closing(Reader(self._file)) as reader:
                self._connection = reader.connection
                reader.copy_into(part)
        self._connection = None

    def _finish(self, part: str) -> None:
        """Gives the copy its name, once all of it is on the disk."""
        try:
            _sync(part)
            try:
                os.link(part, self._path)  # unlike a rename, it never replaces anything
            except FileExistsError:
                self._refuse_to_overwrite()
            except (AttributeError, OSError):  # Pyodide, or this file system, has no links
                if os.path.lexists(self._path):
                    self._refuse_to_overwrite()
                os.rename(part, self._path)  # noqa: PTH104
            if os.name == "posix":
                _sync(str(Path(self._path).parent))
        except OSError as error:
            raise self._unwritable(error) from error

    # -- errors --------------------------------------------------------------------------------------------------------

    def _typed(self, error: sqlite3.Error) -> MailboxError:
        return self._full() if is_full(error) else mailbox_error(error, self._file)

    def _unwritable(self, error: OSError) -> MailboxError:
        folder = Path(self._path).parent
        if error.errno in _NO_ROOM:
            return self._full()
        if not folder.is_dir():
            return StorageUnavailableError(f"path {self._path}: there is no folder {folder}. Make it first")
        return StorageUnavailableError(
            f"path {self._path} cannot be written ({error.strerror}). Give yourself write permission for its folder, "
            "or name another path"
        )

    def _full(self) -> StorageFullError:
        return StorageFullError(
            f"path {self._path}: its disk has too little room for the copy, and nothing was left there. Free some "
            "space and try again, or name a path on another disk"
        )


def _remove_left_behind(folder: Path) -> None:
    """Removes what copies whose processes were killed have left in a folder."""
    begin, end = _PART
    with suppress(OSError):
        for file in folder.glob(f"{begin}*{end}*"):
            with suppress(OSError):
                if file.stat().st_mtime < time.time() - _LEFT_BEHIND:
                    file.unlink()


def _release_everything(part: str) -> None:
    """Gives back, in the copy, what was inflight in the original: its holders are not here, and nobody has died."""
    connection = sqlite3.connect(part, isolation_level=None)
    with closing(connection):
        if has_older_layout(connection):
            return  # its upgrade handles that
        connection.text_factory = as_it_is
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA synchronous = OFF")
        for name in verbs.mailbox_names(Session(connection, _reserves_nothing)):
            connection.execute("BEGIN")
            try:
                session = Session(connection, _reserves_nothing)
                if (mailbox := session.mailbox(name)) is not None:
                    for holder in list(mailbox.state.holders.by_number):
                        claiming.release_all(mailbox, holder)
                session.flush()
                connection.execute("COMMIT")
            except (rows.UnreadableError, MailboxError):
                connection.execute("ROLLBACK")  # whoever works with the copy finds the damage, as in the original


def _reserves_nothing(size: int) -> None:
    """It makes nothing larger."""


def _is_interrupt(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE_MASK == sqlite3.SQLITE_INTERRUPT


def _is_same(path: str, file: str) -> bool:
    try:
        return os.path.samefile(path, file)  # noqa: PTH121
    except OSError:
        return False


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
