"""One message: handed to the handler, and settled by how that ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import TypeAlias

from .._errors import ConnectionLostError, Reject
from .._mailbox import Capability
from .._values import MessageRecord
from .context import Context
from .errors import shortened, traceback_of
from .hand import Hand
from .retry import RetryPolicy
from .stopping import Stop
from .storage import Storage

Call: TypeAlias = Callable[[MessageRecord, Context], Awaitable[None]]

_logger = logging.getLogger("pymailbox")


@dataclass(frozen=True, slots=True)
class Deliveries:
    """How messages are handed to a handler, and what becomes of them."""

    handler: Call
    retry: RetryPolicy
    in_order: bool
    """Whether a failed message holds back what came from its sender after it."""
    hand: Hand
    storage: Storage
    stop: Stop
    without_claims: Callable[[], AbstractAsyncContextManager[None]]
    """While it is entered no claim is under way."""

    async def deliver(self, context: Context, free_place: Callable[[], None]) -> bool:
        """Runs the handler and settles the message, except for the acknowledgement of one that was simply handled.

        Args:
            context: the delivery.
            free_place: called when the message only waits any more, so that another can be handled meanwhile.

        Returns:
            Whether the message is still to be acknowledged.

        Raises:
            CancelledError: the handler was ended because its consumer is to stop; the message is still held.
            BaseException: what must end the consumer; the message is still held.
        """
        record = context.message
        failure: Exception
        try:
            await self.handler(record, context)
        except Reject as rejection:
            await self._reject(record, rejection)
            return False
        except asyncio.CancelledError as error:
            # if all tasks are ended, as asyncio.run() does, the consumer hears of it a moment later than its handler
            await asyncio.sleep(0)
            if self.stop.asked:
                raise
            failure = RuntimeError("the handler ended with CancelledError, but nobody had stopped its consumer")
            failure.__cause__ = error
        except Exception as error:
            failure = error
        else:
            sends = context._end()
            if not sends:
                return True
            try:
                held = await self.storage.call(
                    lambda: self.storage.mailbox.ack_and_send(record.id, sends), passing=(ConnectionLostError,)
                )
            except Exception as error:
                failure = error
            else:
                if not held:
                    _logger.info("message %s was taken back while it was handled; nothing was sent", record.id)
                return False
        finally:
            context._end()
        await self._fail(record, failure, free_place)
        return False

    async def _reject(self, record: MessageRecord, rejection: Reject) -> None:
        reason = str(rejection)
        if rejection.__cause__ is not None:
            reason += f"\n\n{traceback_of(rejection.__cause__)}"
        _logger.warning("message %s was rejected: %s", record.id, rejection)
        await self._bury(record, reason, rejection)

    async def _fail(self, record: MessageRecord, failure: Exception, free_place: Callable[[], None]) -> None:
        count, most = record.delivery_count, self.retry.max_deliveries
        error = traceback_of(failure)
        if most is not None and count >= most:
            from ..backends._reasons import failed_reason  # not before: importing pymailbox loads no backend

            _logger.error("message %s failed for good, at delivery %d", record.id, count, exc_info=failure)
            await self._bury(record, f"{failed_reason(count, most)}\n\n{error}", failure)
            return
        delay = self.retry.delay_after(count)
        _logger.warning(
            "message %s failed at delivery %d; given back for %.1f s", record.id, count, delay, exc_info=failure
        )
        mailbox = self.storage.mailbox
        if {Capability.NACK, Capability.DELAY} <= mailbox.capabilities and not self.in_order:
            await self.storage.call(lambda: mailbox.nack(record.id, delay=delay, error=error))
            return
        free_place()
        await self.stop.pause(delay)
        if Capability.NACK not in mailbox.capabilities:
            # the failure cannot be written down, nor the message given to others: it is handed out again from here, or
            # stays with the mailbox's handle where a stop means to finish what is in the hand
            if not self.stop.asked or self.storage.can_give_back:
                self.hand.put_back(replace(record, delivery_count=count + 1))
            return
        async with self.without_claims():
            behind = [waiting.id for waiting in self.hand.take_behind(record)]
            await self.storage.call(lambda: mailbox.nack(record.id, error=error))
            if behind:
                await self.storage.give_back(behind)

    async def _bury(self, record: MessageRecord, reason: str, failure: Exception) -> None:
        mailbox = self.storage.mailbox
        if Capability.DEAD_LETTERS not in mailbox.capabilities:
            failure.add_note(
                f"{type(mailbox).__name__} has no dead letters: message {record.id} stays in it, and its consumer ends"
            )
            raise failure
        await self.storage.call(lambda: mailbox.dead_letter(record.id, shortened(reason)))
