"""What a handle has beside its own mailbox: the other mailboxes of its database, and what was opened for it there."""

from __future__ import annotations

import asyncio
import functools
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from .capabilities import Capability
from .errors import UnsupportedError, WrongThreadError

if TYPE_CHECKING:
    from .mailbox import Mailbox


class Unless(NamedTuple):
    """What keeps a mailbox from being deleted: a message of this id."""

    message_id: UUID
    held_only: bool = False
    """Whether only if it is inflight."""


class Nearby(Protocol):
    """The mailboxes of one database. It refers to no handle."""

    async def open(self, name: str, *, relaxed: bool = False, lease: float | None = None) -> Mailbox:
        """Opens the mailbox of that name, and makes it if there is none. Its durability is the handle's own, unless it
        is to be relaxed; so is its lease, unless one is given, in seconds."""

    async def names(self) -> list[str]:
        """The names of all mailboxes."""

    async def delete(self, name: str, unless: Unless | None = None) -> bool:
        """Deletes the mailbox of that name, in one transaction; False if there was none, or ``unless`` held."""


class Companion(ABC):
    """Something that was opened for a handle, and ends when that is closed or collected. It does not refer to it."""

    def __init__(self, nearby: Nearby) -> None:
        self._nearby = nearby
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._ending: asyncio.Future[None] | None = None

    @property
    def over(self) -> bool:
        """Whether it is of no use any more."""
        return self._ending is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left."""
        return self._ending is not None and self._ending.done()

    def end(self) -> asyncio.Future[None]:
        """Ends it, and gives what is done when it has ended: always the same, which does not fail."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        return self._ending

    @abstractmethod
    async def _end(self) -> None:
        """Ends it; does not fail."""

    @abstractmethod
    def die(self) -> None:
        """Ends it as the end of its process would; for ``pymailbox.testing``. Dying twice is fine."""

    def end_from_anywhere(self) -> None:
        """Ends it, from any thread, in a finaliser; in a forked child it has no part."""
        if os.getpid() == self._process and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.end)


_C = TypeVar("_C", bound=Companion)


async def companion_of(mailbox: Mailbox, kind: type[_C]) -> _C:
    """The companion of a handle that is of a kind; made if there is none.

    Raises:
        MailboxClosedError, WrongThreadError: the handle is closed, or of another event loop.
        UnsupportedError: it cannot open the mailboxes of its database.
    """
    found = _present(mailbox, kind)
    if found is None or found._loop is not asyncio.get_running_loop():
        await mailbox.status()  # which raises if the handle cannot be used here, and would never end a companion
        found = _present(mailbox, kind)
    if found is not None:
        return found
    if mailbox._nearby is None:
        raise UnsupportedError(
            f"{mailbox!r} cannot make a mailbox beside itself, which {Capability.ASK} needs; open it with "
            "open_mailbox()"
        )
    made = kind(mailbox._nearby)
    mailbox._companions = (*(one for one in mailbox._companions if not one.has_ended), made)
    weakref.finalize(mailbox, made.end_from_anywhere).atexit = False
    return made


def _present(mailbox: Mailbox, kind: type[_C]) -> _C | None:
    return next((one for one in mailbox._companions if type(one) is kind and not one.over), None)


def ending_companions(close: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """A ``close`` that also ends the companions of the handle, and lets its consumers acknowledge what is handled."""

    @functools.wraps(close)
    async def close_all(self: Mailbox) -> None:
        try:
            need_a_turn = [listener._before_closing() for listener in self._settling_listeners]
            if any(need_a_turn):
                await asyncio.sleep(0)  # in which the tasks begun make their calls
        finally:
            await close_both(self)

    async def close_both(self: Mailbox) -> None:
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


def killing_companions(die: Callable[[Any], None]) -> Callable[[Any], None]:
    """A ``_die`` with which the companions of the handle die too."""

    @functools.wraps(die)
    def die_all(self: Mailbox) -> None:
        die(self)
        for companion in self._companions:
            companion.die()

    return die_all


def _end(mailbox: Mailbox) -> list[asyncio.Future[None]]:
    return [companion.end() for companion in mailbox._companions]
