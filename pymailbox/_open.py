"""From a location to a mailbox."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, TypeAlias

from .backends.registry import backend_of, parse_location
from .contract.arguments import Durability, Options, check_options
from .contract.location import Location, resolved
from .contract.mailbox import Mailbox

MailboxLocation: TypeAlias = str | os.PathLike[str]
"""A plain name, a URL, or the path of a SQLite file, whose mailbox ``default`` is meant."""


class MailboxOpening:
    """What ``open_mailbox`` gives: ``await`` it, or use it with ``async with``."""

    def __init__(self, location: Location, options: Options) -> None:
        self._location = location
        self._options = options
        self._mailbox: Mailbox | None = None

    def __await__(self) -> Generator[object, object, Mailbox]:
        return backend_of(self._location).open_at(self._location, self._options).__await__()

    async def __aenter__(self) -> Mailbox:
        self._mailbox = await self
        return self._mailbox

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._mailbox is not None:
            await self._mailbox.close()


def open_mailbox(
    location: MailboxLocation,
    *,
    batch_size: int = 32,
    max_deliveries: int | None = None,
    lease: float = 300.0,
    durability: Durability = "strict",
) -> MailboxOpening:
    """Opens a mailbox, and creates it if it does not exist.

    Use it as ``mailbox = await open_mailbox("inbox")`` or ``async with open_mailbox("inbox") as mailbox:``.

    Args:
        location: a plain name (IndexedDB in a browser, the file ``pymailbox.db`` on CPython) or a URL:
            ``indexeddb://NAME``, ``sqlite:///relative.db#NAME``, ``sqlite:////absolute.db#NAME``, ``memory://NAME``,
            ``memory://``. In a URL a name is percent-encoded. A ``pathlib.Path`` is a SQLite file, and its mailbox
            ``default``. A relative path is resolved at the call. On CPython a plain name that looks like a file
            (``app.db``, or one with a slash) is a ``ValueError``.
        batch_size: messages that ``dequeue`` and ``peek`` give when called without a limit; like all counts, at most
            2**53 - 1.
        max_deliveries: failed deliveries after which a message becomes a dead letter; None for never, else at most
            2**53 - 1.
        lease: seconds without a sign of life after which a holder counts as gone, where the platform has no other way
            to tell; at most 100 years.
        durability: ``"strict"`` waits until what is stored has reached the disk; ``"relaxed"`` leaves that to the
            system, and a power cut (not a crash of the program) may lose the last commits.

    Raises:
        TypeError, ValueError: an argument is invalid.
        StorageUnavailableError: this platform lacks the backend, or its storage cannot be opened.
        StorageCorruptError: what is stored there is not a mailbox.
    """
    return MailboxOpening(
        resolved(parse_location(location)), check_options(batch_size, max_deliveries, lease, durability)
    )


# The next two are not ``async`` either: what a relative path means is decided at the call.


def list_mailboxes(location: MailboxLocation) -> Coroutine[Any, Any, list[str]]:
    """The names of all mailboxes in the database that ``location`` is in, sorted. Creates nothing."""
    return _list(resolved(parse_location(location)))


async def _list(location: Location) -> list[str]:
    return await backend_of(location).list_at(location)


def delete_mailbox(location: MailboxLocation) -> Coroutine[Any, Any, bool]:
    """Deletes a mailbox with everything in it, in one transaction; False if there was none.

    A handle that is open on it carries on with an empty mailbox.
    """
    parsed = parse_location(location)
    if parsed.name is None:
        raise ValueError("location must name the mailbox to delete")
    return _delete(resolved(parsed))


async def _delete(location: Location) -> bool:
    return await backend_of(location).delete_at(location)
