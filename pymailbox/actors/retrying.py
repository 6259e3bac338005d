"""The mailbox as a consumer calls it: passing errors are waited out.

A passing error (``error.passing``: a lost connection, a full storage, a file that another program keeps locked) is no
reason for an actor to end: the call is repeated, with pauses, until it works. All other errors of a mailbox are raised,
and end the consumer. When a stop is asked for, a call that fails is made once more.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from ..contract.capabilities import Capability
from ..contract.errors import MailboxClosedError, MailboxError
from ..contract.mailbox import Mailbox
from ..contract.polling import POLL_INTERVAL
from ..contract.values import MessageRecord
from .holds import Hold
from .retry import RetryPolicy
from .stopping import Stop

T = TypeVar("T")

_PAUSES = RetryPolicy(first_delay=0.1, longest_delay=10.0)
"""Between two attempts at the same call."""

_logger = logging.getLogger("pymailbox")


def is_passing(error: MailboxError) -> bool:
    """Whether the same call may work a moment later."""
    return error.passing


def _ids_of(holds: list[Hold]) -> list[UUID]:
    return [hold.record.id for hold in holds]


class PiggybackedAcks:
    """Acknowledgements that a claim makes first, in its transaction."""

    def __init__(self, holds: list[Hold]) -> None:
        self.holds = holds
        self.settled: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """How many were still held, once that is committed; None if the claim ended and nobody knows."""

    def resolve(self, settled: int | None) -> None:
        if not self.settled.done():
            self.settled.set_result(settled)

    def fail(self, error: MailboxError) -> None:
        if not self.settled.done():
            self.settled.set_exception(error)


class RetryingMailbox:
    """A mailbox whose calls are retried."""

    def __init__(self, mailbox: Mailbox, stop: Stop) -> None:
        self.mailbox = mailbox
        self.waiting_retries = 0
        """Calls that wait for their next attempt."""
        self.acknowledging: set[Hold] = set()
        """Messages whose acknowledgement is under way, and which will not be acknowledged late as well."""
        self._stop = stop
        self.can_cancel_claims = Capability.RELEASE in mailbox.capabilities
        self.can_give_back = mailbox._can_release
        self.undoes_hand_outs = mailbox._undoes_hand_outs
        self.nacks_unfailed = (
            Capability.NACK in mailbox.capabilities and "failed" in inspect.signature(mailbox.nack).parameters
        )
        """Whether ``nack`` can take a hand-out back."""
        self.most_at_once = mailbox._most_at_once
        self.acks_with_claims = mailbox._acks_if_held_with_claims
        self._takes_limit = mailbox._takes_limit

    async def call(self, verb: Callable[[], Awaitable[T]], retries: Callable[[MailboxError], bool] = is_passing) -> T:
        """Calls the verb until it works, or fails with an error that is not passing."""
        attempt = 0
        while True:
            attempt += 1
            last = self._stop.asked
            try:
                return await verb()
            except MailboxError as error:
                if last or not retries(error):
                    raise
                pause = _PAUSES.delay_after(attempt)
                _logger.warning("%r: tried again in %.1f s, attempt %d: %s", self.mailbox, pause, attempt + 1, error)
            self.waiting_retries += 1
            try:
                await self._stop.pause(pause)
            finally:
                self.waiting_retries -= 1

    async def claim(self, limit: int, piggybacked: PiggybackedAcks | None = None) -> list[MessageRecord]:
        """The next batch, of up to ``limit`` if the mailbox takes a limit, as soon as there is one.

        If it is cancelled it hands nothing out. If claims cannot be cancelled it does not wait for long, and may return
        ``[]``. It also does so if acknowledgements are ``piggybacked`` on it and their transaction fails: ``finish``
        then tries these again, before anything else is claimed.
        """
        wait = math.inf if self.can_cancel_claims else None

        def take() -> Awaitable[list[MessageRecord]]:
            if piggybacked is not None and not piggybacked.settled.done():
                return self.mailbox._ack_if_held_and_claim(_ids_of(piggybacked.holds), limit, wait, piggybacked.resolve)
            return self.mailbox.dequeue(limit, wait=wait) if self._takes_limit else self.mailbox.dequeue(wait=wait)

        def may_try_again(error: MailboxError) -> bool:
            return is_passing(error) and (piggybacked is None or piggybacked.settled.done())

        try:
            records = await self.call(take, may_try_again)
        except MailboxError as error:
            if piggybacked is None or piggybacked.settled.done():
                raise
            piggybacked.fail(error)
            return []
        if not records:
            await self._stop.pause(POLL_INTERVAL)
        return records

    def ack_with_claim(self, holds: list[Hold]) -> PiggybackedAcks:
        """Acknowledgements that are piggybacked on a claim; once that has begun, ``finish`` takes care of them."""
        self.acknowledging.update(holds)
        return PiggybackedAcks(holds)

    def acknowledges_any_of(self, ids: list[UUID]) -> bool:
        """Whether an acknowledgement of one of these messages is under way."""
        return any(hold.record.id in ids for hold in self.acknowledging)

    def finish(self, piggybacked: PiggybackedAcks) -> Coroutine[Any, Any, None] | None:
        """Completes acknowledgements that were piggybacked on a claim; None if there is nothing left to do."""
        settled = piggybacked.settled
        if settled.done() and settled.exception() is None and settled.result() == len(piggybacked.holds):
            self.acknowledging.difference_update(piggybacked.holds)
            return None
        return self._ack(piggybacked.holds, False, piggybacked)

    def ack(self, holds: list[Hold], *, in_doubt: bool = False) -> Coroutine[Any, Any, None]:
        """Acknowledges those of these messages that are still held, together if the backend can.

        With ``in_doubt`` a handler may have given them back itself: then they are never acknowledged late.
        """
        if not in_doubt:
            self.acknowledging.update(holds)  # from now on, not only once a task begins with it
        return self._ack(holds, in_doubt)

    async def _ack(self, holds: list[Hold], in_doubt: bool, piggybacked: PiggybackedAcks | None = None) -> None:
        ids = _ids_of(holds)
        late = False
        attempts = 0

        async def settle() -> int:
            nonlocal piggybacked, attempts
            attempts += 1
            if piggybacked is not None:
                outcome, piggybacked = piggybacked.settled, None
                settled = await outcome
                if settled is not None:
                    return settled
                attempts += 1
            return await self.mailbox._ack_if_held(ids)

        try:
            settled = await self.call(settle)
            late = not in_doubt and not self.acknowledging.issuperset(holds)
        except MailboxClosedError:
            _logger.warning("%r was closed before %d handled messages could be acknowledged", self.mailbox, len(ids))
            raise
        finally:
            self.acknowledging.difference_update(holds)
        # after a failed attempt nobody knows whether they were taken back or acknowledged
        if settled < len(ids) and not late and attempts < 2:
            _logger.info(
                "%d of %d handled messages had been taken back from %r, and may be handled again",
                len(ids) - settled,
                len(ids),
                self.mailbox,
            )

    async def ack_late(self, holds: list[Hold]) -> None:
        """Acknowledges messages that went back while they were handled: their work is done."""
        records = [hold.record for hold in holds]
        await self.call(lambda: self.mailbox._ack_late(records))

    async def take_back(self, message_id: UUID, delay: float) -> bool:
        """Gives back a message that is still held, as if never handed out; after ``delay`` if ``nacks_unfailed``.

        False if it is known that it was not held.
        """
        if self.nacks_unfailed:
            nack: Callable[..., Awaitable[bool]] = self.mailbox.nack  # a small backend's may lack some
            how = {"delay": delay} if delay else {}
            return await self.call(lambda: nack(message_id, failed=False, **how))
        await self.give_back([message_id])
        return True

    async def give_back(self, ids: list[UUID]) -> None:
        """Gives back those of these that are still held, as if never handed out."""
        await self.call(lambda: self.mailbox._release(ids))
