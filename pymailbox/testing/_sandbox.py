"""Where a check works: its own mailboxes in the database under test, and handles that are closed for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote
from uuid import uuid4

from .._open import open_mailbox
from ..contract.mailbox import Mailbox
from ..contract.values import MessageRecord
from ._death import let_be_collected, let_die
from ._expect import PATIENCE, eventually, expect

if TYPE_CHECKING:
    from ..actors import Consumer
    from ..relaying import Relayer

T = TypeVar("T")

MailboxFactory: TypeAlias = Callable[..., Awaitable[Mailbox]]
"""``factory(name, **options)`` opens a handle on the mailbox with that name; all are in one database."""


def factory_at(location: str) -> MailboxFactory:
    """A factory of mailboxes whose URLs begin with ``location``, such as ``memory://`` or ``sqlite:///file.db#``."""

    async def open_named(name: str, **options: Any) -> Mailbox:
        return await open_mailbox(location + quote(name, safe=""), **options)

    return open_named


class Sandbox:
    """What one check works with.

    Every sandbox has mailboxes of its own, whose real names were never used before. A check knows them by short labels.
    """

    def __init__(self, factory: MailboxFactory) -> None:
        self._factory = factory
        self._prefix = f"check-{uuid4().hex[:12]}"
        self._handles: list[Mailbox] = []

    async def open(self, label: str = "", **options: Any) -> Mailbox:
        """Opens one more handle on the mailbox that this sandbox calls ``label``."""
        handle = await self._factory(self.name_of(label), **options)
        self._handles.append(handle)
        return handle

    def name_of(self, label: str) -> str:
        """The real name of the mailbox that this sandbox calls ``label``."""
        return self._prefix + label

    async def beside(self, mailbox: Mailbox, name: str) -> Mailbox:
        """Opens a handle on another mailbox of the same database, by its real name."""
        assert mailbox._nearby is not None
        handle = await mailbox._nearby.open(name)
        self._handles.append(handle)
        return handle

    async def let_die(self, handles: list[Mailbox]) -> None:
        """Lets handles of this sandbox die as if their process had ended, and empties the list. Others may notice a
        moment later.
        """
        self._forget(handles)
        let_die(handles)

    async def let_be_collected(self, handles: list[Mailbox]) -> None:
        """Lets handles of this sandbox be collected without being closed, and empties the list, which must hold the
        only references to them besides the sandbox's own. Others may notice a moment later.
        """
        self._forget(handles)
        await let_be_collected(handles)

    def _forget(self, handles: list[Mailbox]) -> None:
        self._handles = [kept for kept in self._handles if not any(kept is handle for handle in handles)]

    async def die_after(self, use: Callable[[Mailbox], Awaitable[T]], label: str = "", **options: Any) -> T:
        """Opens a handle, lets ``use`` work with it, and then lets it die; returns what ``use`` returned."""
        dying = [await self.open(label, **options)]
        result = await use(dying[0])
        await self.let_die(dying)
        return result

    async def close_all(self) -> None:
        """Closes every handle that was opened, in any state; raises the first error after trying all of them."""
        errors = []
        while self._handles:
            try:
                await self._handles.pop().close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


async def send(mailbox: Mailbox, payloads: Iterable[bytes], **arguments: Any) -> None:
    """Enqueues the payloads one after the other, each awaited."""
    for payload in payloads:
        await mailbox.enqueue(b"sender", payload, **arguments)


async def drain(mailbox: Mailbox) -> list[MessageRecord]:
    """Dequeues until nothing is left, and leaves everything inflight."""
    records: list[MessageRecord] = []
    while batch := await mailbox.dequeue():
        records += batch
    return records


async def recover_until(mailbox: Mailbox, inflight: int = 0) -> int:
    """Recovers until only ``inflight`` messages are inflight, and returns how many came back in these calls."""
    recovered = 0

    async def look() -> int:
        nonlocal recovered
        recovered += await mailbox.recover()
        return (await mailbox.status()).inflight_messages

    await eventually(look, inflight, "inflight messages after the death of a holder")
    return recovered


async def outcome_of(call: Awaitable[T]) -> T | Exception:
    """What a call returns or raises. (Some event loops report a task that fails before anybody awaits it.)"""
    try:
        return await call
    except Exception as error:
        return error


def payloads_of(records: Iterable[MessageRecord]) -> list[bytes]:
    return [record.payload for record in records]


def numbered(count: int, prefix: str = "m") -> list[bytes]:
    """Payloads that differ: ``[b"m0", b"m1", ...]``."""
    return [f"{prefix}{number}".encode() for number in range(count)]


@asynccontextmanager
async def at_work(one: Consumer | Relayer, what: str) -> AsyncIterator[asyncio.Task[None]]:
    """Runs it; at the end it is stopped and has to end by itself. Failures on purpose are not logged."""
    logger = logging.getLogger("pymailbox")
    was_disabled, logger.disabled = logger.disabled, True
    task: asyncio.Task[None] = asyncio.ensure_future(one)
    try:
        yield task
    finally:
        try:
            one.stop()
            await asyncio.wait([task], timeout=PATIENCE)
            ended = task.done()
            task.cancel()
            await asyncio.wait([task], timeout=PATIENCE)
        finally:  # a check that takes too long is cancelled here
            logger.disabled = was_disabled
    expect(ended, f"the {what} had not ended {PATIENCE:.0f} seconds after it was stopped")
    if not task.cancelled():
        task.result()
