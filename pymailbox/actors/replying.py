"""Where answers go: the mailboxes that the messages of a handle name in ``reply-to``.

An answer is sent in the transaction that acknowledges the question. Whether its asker is still there cannot be seen
within it, so that is looked at before, where nobody has opened the mailbox yet, and after: a mailbox whose asker has
left meanwhile would be made anew by the answer, and is deleted again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeAlias

from ..contract.companions import Companion, Nearby, companion_of
from ..contract.errors import MailboxClosedError, MailboxError
from ..contract.mailbox import Mailbox
from ..contract.values import NewMessage
from .reply_mailboxes import marker_of

MOST_IDLE: Final = 16
"""Reply mailboxes that stay open, for the next answer to the same asker."""

_logger = logging.getLogger("pymailbox")


class ReplyTo(NamedTuple):
    """The mailbox of an asker, in the database of the message that is answered."""

    name: str


Sends: TypeAlias = list[tuple[Mailbox | ReplyTo, NewMessage]]
_Opened: TypeAlias = dict[str, Mailbox]


async def _once(borrow: Callable[[], Awaitable[_Opened]]) -> _Opened:
    return await borrow()


@asynccontextmanager
async def resolved(
    mailbox: Mailbox, sends: Sends, borrowing: Callable[[Callable[[], Awaitable[_Opened]]], Awaitable[_Opened]] = _once
) -> AsyncIterator[list[tuple[Mailbox, NewMessage]]]:
    """What a handler of ``mailbox`` has sent, with open mailboxes; an answer to an asker that is gone is left out.

    To be left when it was sent, or was not. ``borrowing`` may try several times to open the mailboxes of answers.
    """
    names = {target.name for target, _ in sends if isinstance(target, ReplyTo)}
    if not names:
        yield [(target, message) for target, message in sends if isinstance(target, Mailbox)]
        return
    replies = await companion_of(mailbox, _Replies)
    targets = await borrowing(lambda: replies.borrow(names))
    try:
        open_ones = [
            (targets.get(target.name) if isinstance(target, ReplyTo) else target, one) for target, one in sends
        ]
        yield [(target, message) for target, message in open_ones if target is not None]
    finally:
        await replies.give_back(targets)


class _Replies(Companion):
    """The mailboxes that the handlers of one handle answer to."""

    def __init__(self, nearby: Nearby) -> None:
        super().__init__(nearby)
        self._open: dict[str, Mailbox] = {}
        """The one used last is the last."""
        self._users: dict[str, int] = {}
        """How many use each at present."""
        self._lock = asyncio.Lock()

    async def borrow(self, names: set[str]) -> _Opened:
        """The open mailboxes of these names, without those that there are not any more."""
        async with self._lock:
            if self.over:
                raise MailboxClosedError("the mailbox was closed before its answers were sent")
            there = set(await self._nearby.names()) if names - self._open.keys() else set()
            for name in names:
                if name in self._open:
                    self._open[name] = self._open.pop(name)
                elif name in there:
                    self._open[name] = await self._nearby.open(name)
                else:
                    _log_drop(name)
            borrowed = {name: self._open[name] for name in names & self._open.keys()}
            for name in borrowed:
                self._users[name] = self._users.get(name, 0) + 1
            return borrowed

    async def give_back(self, borrowed: _Opened) -> None:
        """After an answer was sent, or was not."""
        for name in borrowed:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
        async with self._lock:
            try:
                for name, mailbox in borrowed.items():
                    await self._delete_if_gone(name, mailbox)
                idle = [name for name in self._open if name not in self._users]
                for name in idle[:-MOST_IDLE]:
                    await self._open.pop(name).close()
            except MailboxError as error:
                _logger.info("the mailbox of an asker could not be looked after: %s", error)

    async def _delete_if_gone(self, name: str, mailbox: Mailbox) -> None:
        marker = marker_of(name)
        if marker is None or name not in self._open or name in self._users or await mailbox.get(marker) is not None:
            return
        await self._open.pop(name).close()
        await self._nearby.delete(name)
        _log_drop(name)

    async def _end(self) -> None:
        async with self._lock:
            while self._open:
                _, mailbox = self._open.popitem()
                try:
                    await mailbox.close()
                except MailboxError as error:
                    _logger.info("%r could not be closed: %s", mailbox, error)


def _log_drop(name: str) -> None:
    _logger.info("an answer was dropped, since its asker is gone: there is no mailbox %s", name)
