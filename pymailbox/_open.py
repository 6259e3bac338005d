"""From a location to a mailbox."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Coroutine, Generator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from .backends.registry import backend_of, parse_location
from .contract.arguments import Durability, Options, check_options
from .contract.companions import Unless
from .contract.location import Location, check_connect, check_name, check_path, resolved
from .contract.mailbox import Mailbox

_NOT_OPEN: Final = (
    "await it, as in 'mailbox = await open_mailbox(...)', or use 'async with open_mailbox(...) as mailbox'"
)

MailboxLocation: TypeAlias = str | os.PathLike[str]
"""A plain name, a URL, or the path of a SQLite file, whose mailbox ``default`` is meant."""


_SYNC: Final = "pymailbox.sync."


class MailboxOpening:
    """What ``open_mailbox`` gives: ``await`` it, or use it with ``async with``. By itself it is not a mailbox yet."""

    def __init__(self, location: Location, options: Options, called_at: tuple[str, int]) -> None:
        self._location = location
        self._options = options
        self._called_at = called_at
        """File and line."""
        self._is_used = False
        """Whether it is awaited, or nobody has to be told that it is not."""
        self._any_thread = False
        """Whether any thread may run the event loop, one at a time."""
        self._mailbox: Mailbox | None = None

    def __await__(self) -> Generator[object, object, Mailbox]:
        self._is_used = True
        return self._open().__await__()

    async def _open(self) -> Mailbox:
        mailbox = await backend_of(self._location).open_at(self._location, self._options)
        mailbox._any_thread = self._any_thread
        mailbox._nearby = _SameDatabase(self._location, self._options, self._called_at, self._any_thread)
        mailbox._opened_at = self._called_at
        return mailbox

    async def __aenter__(self) -> Mailbox:
        self._mailbox = await self
        return self._mailbox

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._mailbox is not None:
            await self._mailbox.close()

    if not TYPE_CHECKING:  # which finds these mistakes by itself

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}: {_NOT_OPEN}")

        def __enter__(self) -> NoReturn:
            raise TypeError(
                f"'with' needs 'async' here: {_NOT_OPEN}. pymailbox.sync.open_mailbox() is for a plain 'with'"
            )

        def __exit__(self, *_: object) -> None: ...

    def __del__(self) -> None:
        if self.__dict__.get("_is_used", True):
            return
        file, line = self._called_at
        warnings.warn_explicit(f"{self._described} was never awaited: {_NOT_OPEN}", RuntimeWarning, file, line)

    def __repr__(self) -> str:
        return f"<{self._described}>"

    @property
    def _described(self) -> str:
        scheme, database, name, _ = self._location
        return f"open_mailbox() of {scheme}://{database}{'#' if database else ''}{name or ''}"


class _SameDatabase:
    """The mailboxes of the database that a location is in, for what a handle opens beside itself."""

    def __init__(self, location: Location, options: Options, called_at: tuple[str, int], any_thread: bool) -> None:
        self._location = location
        self._options = options
        self._called_at = called_at
        self._any_thread = any_thread

    async def open(self, name: str, *, relaxed: bool = False, lease: float | None = None) -> Mailbox:
        durability = "relaxed" if relaxed else self._options.durability
        options = Options(lease=self._options.lease if lease is None else lease, durability=durability)
        opening = MailboxOpening(self._at(name), options, self._called_at)
        opening._any_thread = self._any_thread
        mailbox = await opening
        mailbox._is_beside_another = True
        return mailbox

    async def names(self) -> list[str]:
        return await _list(self._location)

    async def delete(self, name: str, unless: Unless | None = None) -> bool:
        return await backend_of(self._location).delete_at(self._at(name), unless)

    def _at(self, name: str) -> Location:
        return self._location._replace(name=check_name(name))


def _line_of_caller() -> tuple[str, int]:
    """File and line of who called ``open_mailbox``, of this module or of ``pymailbox.sync``."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith((__name__, _SYNC)):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def open_mailbox(
    location: MailboxLocation,
    *,
    batch_size: int = 32,
    max_deliveries: int | None = None,
    lease: float = 300.0,
    durability: Durability = "strict",
    connect: Mapping[str, Any] | None = None,
) -> MailboxOpening:
    """Opens a mailbox, and creates it if it does not exist.

    Use it as ``mailbox = await open_mailbox("inbox")`` or ``async with open_mailbox("inbox") as mailbox:``.

    Args:
        location: a plain name (IndexedDB in a browser, the file ``pymailbox.db`` on CPython) or a URL:
            ``indexeddb://NAME``, ``sqlite:///relative.db#NAME``, ``sqlite:////absolute.db#NAME``, ``memory://NAME``,
            ``memory://``, ``nats://HOST:PORT/NAME`` (also ``tls://``, ``ws://``, ``wss://``, and
            ``?stream=STREAM&replicas=3``). A name has 1 to 200 characters, no control characters; in a URL it is
            percent-encoded. A ``pathlib.Path`` is a SQLite file, and its mailbox ``default``. A relative path is
            resolved at the call. On CPython a plain name that looks like a file (``app.db``, or one with a slash) is a
            ``ValueError``.
        batch_size: messages that ``dequeue`` and ``peek`` give when called without a limit; like all counts, at most
            2**53 - 1.
        max_deliveries: failed deliveries after which a message becomes a dead letter; None for never, else at most
            2**53 - 1.
        lease: seconds without a sign of life after which a holder counts as gone, where the platform has no other way
            to tell; at most 100 years.
        durability: ``"strict"`` waits until what is stored has reached the disk; ``"relaxed"`` leaves that to the
            system, and a power cut (not a crash of the program) may lose the last commits.
        connect: for ``nats://`` and its kin, what nats-py's ``connect`` takes, such as ``{"user": ..., "password":
            ...}``, ``{"token": ...}``, ``{"user_credentials": FILE}`` or ``{"tls": CONTEXT}``. It is in no ``repr``,
            log or error.

    Raises:
        TypeError, ValueError: an argument is invalid.
        StorageUnavailableError: this platform lacks the backend, or its storage cannot be opened.
        StorageCorruptError: what is stored there is not a mailbox.
    """
    options = check_options(batch_size, max_deliveries, lease, durability)
    return MailboxOpening(_location_with(location, connect), options, _line_of_caller())


def _location_with(location: MailboxLocation, connect: Mapping[str, Any] | None) -> Location:
    parsed = resolved(parse_location(location))
    return parsed if connect is None else parsed._replace(connect=check_connect(connect, parsed.scheme))


# The next two are not ``async`` either: what a relative path means is decided at the call.


def list_mailboxes(
    location: MailboxLocation, *, connect: Mapping[str, Any] | None = None
) -> Coroutine[Any, Any, list[str]]:
    """The names of all mailboxes in the database that ``location`` is in, sorted. Creates nothing.

    ``connect`` is as in ``open_mailbox``.
    """
    return _list(_location_with(location, connect))


async def _list(location: Location) -> list[str]:
    return await backend_of(location).list_at(location)


def delete_mailbox(location: MailboxLocation, *, connect: Mapping[str, Any] | None = None) -> Coroutine[Any, Any, bool]:
    """Deletes a mailbox with everything in it, in one transaction; False if there was none.

    A handle that is open on it carries on with an empty mailbox. ``connect`` is as in ``open_mailbox``.
    """
    if parse_location(location).name is None:
        raise ValueError("location must name the mailbox to delete")
    return _delete(_location_with(location, connect))


async def _delete(location: Location) -> bool:
    return await backend_of(location).delete_at(location)


def backup(location: MailboxLocation, path: str | os.PathLike[str]) -> Coroutine[Any, Any, None]:
    """Copies a SQLite file with all its mailboxes while others use it, as it is at one moment.

    The copy is a mailbox file: open it, or replace the original with it when nobody has that open. What was inflight is
    queued in the copy, as if it had never been handed out. The copy appears at ``path`` when all of it is on the disk;
    if the call fails or is cancelled, nothing is there. Other calls do not wait for it.

    Args:
        location: any mailbox of the file.
        path: where to put the copy. Nothing may be there yet.

    Raises:
        TypeError, ValueError: an argument is invalid; ``path`` is the file itself, or already exists.
        UnsupportedError: the location is not in a SQLite file; ``export`` works everywhere.
        StorageUnavailableError: there is no such file, the folder of ``path`` is missing, or something may not be
            read or written.
        StorageFullError: there is no room for the copy.
        StorageCorruptError: the file is damaged, or is not a mailbox file.
    """
    return _backup(resolved(parse_location(location)), check_path("path", path))


async def _backup(location: Location, path: str) -> None:
    await backend_of(location).backup_at(location, path)


def compact(location: MailboxLocation) -> Coroutine[Any, Any, int]:
    """Gives unused space in a SQLite file back to the disk; returns how many bytes smaller the files became.

    Others may use the file meanwhile; their calls run in between. pymailbox does the same by itself if more than half
    of the file is free. A file of an early version, or a restored dump, is rewritten, which needs as much room again,
    and others cannot write meanwhile. If the call is cancelled, it has done part of the work.

    Raises:
        TypeError, ValueError: the location is invalid.
        UnsupportedError: it is not in a SQLite file.
        StorageUnavailableError: there is no such file, or it may not be written.
        StorageFullError: the file has to be rewritten, and there is no room for that.
    """
    return _compact(resolved(parse_location(location)))


async def _compact(location: Location) -> int:
    return await backend_of(location).compact_at(location)
