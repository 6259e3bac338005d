"""The mailbox as a consumer calls it: what passes by itself is waited for.

A connection that is lost, or a storage that is full, is no reason for an actor to end: the call is made again, with
pauses, until it works. All other errors of a mailbox come out, and end the consumer. When a stop is asked for, a call
that fails is made once more.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from .._errors import ConnectionLostError, MailboxClosedError, MailboxError, StorageFullError
from .._mailbox import POLL_INTERVAL, Capability, Mailbox
from .._values import MessageRecord
from .retry import RetryPolicy
from .stopping import Stop

T = TypeVar("T")

PASSING = (ConnectionLostError, StorageFullError)
"""What may be over a moment later."""

_PAUSES = RetryPolicy(first_delay=0.1, longest_delay=10.0)
"""Between two attempts at the same call."""

_logger = logging.getLogger("pymailbox")


class Storage:
    """A mailbox, called with patience."""

    def __init__(self, mailbox: Mailbox, stop: Stop) -> None:
        self.mailbox = mailbox
        self.troubled = 0
        """Calls that wait for their next attempt."""
        self._stop = stop
        self.can_cancel_claims = Capability.RELEASE in mailbox.capabilities
        self.can_give_back = mailbox._can_release

    async def call(self, verb: Callable[[], Awaitable[T]], passing: tuple[type[MailboxError], ...] = PASSING) -> T:
        """Calls the verb until it works."""
        attempt = 0
        while True:
            attempt += 1
            last = self._stop.asked
            try:
                return await verb()
            except passing as error:
                if last:
                    raise
                pause = _PAUSES.delay_after(attempt)
                _logger.warning("%r: tried again in %.1f s, attempt %d: %s", self.mailbox, pause, attempt + 1, error)
            self.troubled += 1
            try:
                await self._stop.pause(pause)
            finally:
                self.troubled -= 1

    async def claim(self) -> list[MessageRecord]:
        """The next batch, as soon as there is one; cancelled, it hands nothing out.

        Where claims cannot be cancelled it does not wait for long, and may give ``[]``.
        """
        wait = math.inf if self.can_cancel_claims else None
        records = await self.call(lambda: self.mailbox.dequeue(wait=wait))
        if not records:
            await self._stop.pause(POLL_INTERVAL)
        return records

    async def ack(self, ids: list[UUID]) -> None:
        """Acknowledges messages, together if the backend can."""
        try:
            await self.call(lambda: self._ack(ids))
        except MailboxClosedError:
            _logger.warning("%r was closed before %d handled messages could be acknowledged", self.mailbox, len(ids))
            raise

    async def give_back(self, ids: list[UUID]) -> None:
        """Gives back what is still held of these, as if it had not been handed out."""
        await self.call(lambda: self.mailbox._release(ids))

    async def _ack(self, ids: list[UUID]) -> None:
        if Capability.ACK_MANY in self.mailbox.capabilities:
            await self.mailbox.ack_many(ids)
        else:
            await asyncio.gather(*map(self.mailbox.ack, ids))
