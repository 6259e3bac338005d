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

from ..contract.companions import Companion, Nearby, Unless, companion_of
from ..contract.errors import MailboxClosedError
from ..contract.mailbox import Mailbox
from ..contract.values import NewMessage
from .reply_mailboxes import logged, marker_of

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
        with logged("the mailboxes of askers could not be looked after"):  # the answers may be sent all the same
            await replies.give_back(targets)


class _Target:
    """The mailbox of one asker, as one handle answers to it."""

    def __init__(self) -> None:
        self.mailbox: Mailbox | None = None
        self.users = 0
        """How many use it at present, or are about to."""
        self.lock = asyncio.Lock()
        """For whoever opens or closes it."""


class _Replies(Companion):
    """The mailboxes that the handlers of one handle answer to."""

    def __init__(self, nearby: Nearby) -> None:
        super().__init__(nearby)
        self._targets: dict[str, _Target] = {}
        """The one used last is the last."""

    async def borrow(self, names: set[str]) -> _Opened:
        """The open mailboxes of these names, without those that no longer exist."""
        borrowed: _Opened = {}
        try:
            for name in names:
                if mailbox := await self._borrow(name):
                    borrowed[name] = mailbox
        except BaseException:
            await self.give_back(borrowed)
            raise
        return borrowed

    async def _borrow(self, name: str) -> Mailbox | None:
        target = self._targets.pop(name) if name in self._targets else _Target()
        self._targets[name] = target
        target.users += 1
        borrowed: Mailbox | None = None
        try:
            async with target.lock:
                if self.over:
                    raise MailboxClosedError("the mailbox was closed before its answers were sent")
                if target.mailbox is None and name in await self._nearby.names():
                    target.mailbox = await self._nearby.open(name, relaxed=marker_of(name) is not None)
                if target.mailbox is None:
                    _log_drop(name)
                borrowed = target.mailbox
                return borrowed
        finally:
            if borrowed is None:
                target.users -= 1
                self._forget(name, target)

    async def give_back(self, borrowed: _Opened) -> None:
        """After an answer was sent, or was not."""
        targets = {name: target for name in borrowed if (target := self._targets.get(name))}
        for target in targets.values():
            target.users -= 1
        for name, target in targets.items():
            with logged("the mailbox of an asker could not be looked after"):
                async with target.lock:
                    await self._delete_if_gone(name, target)
            self._forget(name, target)
        while len(idle := self._idle()) > MOST_IDLE:  # others may borrow and close while one is closed
            await _close(self._targets.pop(idle[0]))

    def _idle(self) -> list[str]:
        """Those that nobody uses, opens or closes."""
        return [name for name, target in self._targets.items() if not (target.users or target.lock.locked())]

    def _forget(self, name: str, target: _Target) -> None:
        """Forgets a target that nobody uses, if it has no mailbox."""
        if not target.users and target.mailbox is None and self._targets.get(name) is target:
            del self._targets[name]

    async def _delete_if_gone(self, name: str, target: _Target) -> None:
        marker = marker_of(name)
        if marker is None or target.mailbox is None or target.users or await target.mailbox.get(marker) is not None:
            return
        mailbox, target.mailbox = target.mailbox, None
        await mailbox.close()
        if await self._nearby.delete(name, Unless(marker)):
            _log_drop(name)

    def die(self) -> None:
        if self._ending is None:
            self._ending = self._loop.create_future()
            self._ending.set_result(None)
        while self._targets:
            _, target = self._targets.popitem()
            if target.mailbox is not None:
                target.mailbox._die()

    async def _end(self) -> None:
        while self._targets:
            _, target = self._targets.popitem()
            await _close(target)


async def _close(target: _Target) -> None:
    async with target.lock:
        mailbox, target.mailbox = target.mailbox, None
        with logged("%r could not be closed", mailbox):
            if mailbox is not None:
                await mailbox.close()


def _log_drop(name: str) -> None:
    _logger.info("an answer was dropped, since its asker is gone: there is no mailbox %s", name)
