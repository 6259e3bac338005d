"""What a handle has beside its own mailbox: the other mailboxes of its database, and what was opened for it there."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from .errors import WrongThreadError

if TYPE_CHECKING:
    from .mailbox import Mailbox


class Nearby(Protocol):
    """The mailboxes of one database. It refers to no handle."""

    async def open(self, name: str) -> Mailbox:
        """Opens the mailbox of that name, and makes it if there is none."""

    async def names(self) -> list[str]:
        """The names of all mailboxes."""

    async def delete(self, name: str) -> bool:
        """Deletes the mailbox of that name; False if there was none."""


class Companion(Protocol):
    """Something that was opened for a handle, and ends with it."""

    def end(self) -> asyncio.Future[None]:
        """Ends it, and gives what is done when it has ended: always the same, which does not fail."""


def ending_companions(close: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A ``close`` that also ends the companions of the handle."""

    @functools.wraps(close)
    async def close_all(self: Mailbox) -> None:
        try:
            await close(self)
        except WrongThreadError:
            raise
        except BaseException:
            _end(self)
            raise
        for ending in _end(self):
            await asyncio.shield(ending)

    return close_all


def _end(mailbox: Mailbox) -> list[asyncio.Future[None]]:
    return [companion.end() for companion in mailbox._companions]
