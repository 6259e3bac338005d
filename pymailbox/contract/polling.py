"""What a backend with a plain ``dequeue`` gets: ``wait`` by polling, and ``ack`` as a step of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .arguments import check_ids, check_limit, check_wait
from .capabilities import Capability
from .values import MessageRecord

if TYPE_CHECKING:
    from .mailbox import Mailbox

POLL_INTERVAL = 0.05
"""Seconds between two polls of a mailbox that does not notify its handles of new messages."""


def with_wait_and_ack(
    dequeue: Callable[..., Awaitable[list[MessageRecord]]], waits: bool
) -> Callable[..., Coroutine[Any, Any, list[MessageRecord]]]:
    """A ``dequeue`` with what it lacks: ``ack``, and ``wait``, which polls every ``POLL_INTERVAL`` seconds."""

    @functools.wraps(dequeue)
    async def completed(
        self: Mailbox, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        arguments = () if limit is None else (limit,)
        if ack != ():
            # all of them, before anything is written
            check_limit(limit)
            check_wait(wait)
            await _ack_all(self, check_ids(ack, "ack"))
        if waits:
            return await dequeue(self, *arguments, wait=wait)
        return await poll(lambda: dequeue(self, *arguments), check_wait(wait))

    return completed


async def _ack_all(mailbox: Mailbox, ids: list[UUID]) -> None:
    if Capability.ACK_MANY in mailbox.capabilities:
        await mailbox.ack_many(ids)
    else:
        for message_id in dict.fromkeys(ids):
            await mailbox.ack(message_id)


async def poll(take: Callable[[], Awaitable[list[MessageRecord]]], wait: float | None) -> list[MessageRecord]:
    """Calls ``take`` until it gives something or ``wait`` seconds are over, but at least once."""
    deadline = asyncio.get_running_loop().time() + (wait or 0.0)
    while not (taken := await take()):
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            break
        await asyncio.sleep(min(left, POLL_INTERVAL))
    return taken
