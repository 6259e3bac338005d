"""One message: handed to the handler, and settled according to how that ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from ..contract.arguments import storable
from ..contract.capabilities import Capability
from ..contract.errors import MailboxError, Reject, StorageFullError
from ..contract.mailbox import Mailbox
from ..contract.reasons import failed_reason
from ..contract.values import MessageRecord, NewMessage
from .context import Context
from .holds import Hold, Holds
from .prefetch import PrefetchBuffer
from .replying import Sends, resolved
from .retry import Retry, RetryPolicy
from .retrying import RetryingMailbox
from .stopping import Stop
from .tracebacks import shortened, traceback_of

Call: TypeAlias = Callable[[MessageRecord, Context], Awaitable[None]]

LONGEST_LINE = 500
"""Characters of a failure's text in a line of the log."""

_MOST_LOOKED_AT = 10 * LONGEST_LINE

_logger = logging.getLogger("pymailbox")


@dataclass(frozen=True, slots=True)
class Deliveries:
    """How messages are handed to a handler, and what becomes of them."""

    handler: Call
    retry: RetryPolicy
    in_order: bool
    """Whether a failed message holds back later ones from its sender."""
    buffer: PrefetchBuffer
    holds: Holds
    retrying: RetryingMailbox
    stop: Stop
    without_claims: Callable[[], AbstractAsyncContextManager[None]]
    """While it is entered no claim is under way."""
    write: Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
    """Does work that has to be finished even if the handler's task is cancelled."""

    async def deliver(self, hold: Hold, context: Context, free_place: Callable[[], None]) -> bool:
        """Runs the handler and settles the message, except for the acknowledgement of one that was simply handled.

        Args:
            hold: the message.
            context: the delivery.
            free_place: called when the message only has to wait, so that another can be handled meanwhile.

        Returns:
            Whether the message is still to be acknowledged.

        Raises:
            CancelledError: the handler was ended because its consumer is to stop; the message is still held.
            BaseException: what must end the consumer; the message is still held.
        """
        record = hold.record
        failure: Exception | None = None
        try:
            await self.handler(record, context)
        except asyncio.CancelledError as error:
            # when all tasks are cancelled, as asyncio.run() does, the consumer learns of it a moment after its handler
            await asyncio.sleep(0)
            if self.stop.asked:
                raise
            failure = RuntimeError("the handler ended with CancelledError, but nobody had stopped its consumer")
            failure.__cause__ = error
        except Exception as error:
            failure = error
        finally:
            sends = context._end()
        await hold.calls_ended()
        if failure is None:
            if not (sends or hold.over or hold.doubtful):
                return True
            failure = await self._finish(hold, sends)
        elif hold.over:
            await self._respect(hold, [], failure)
            return False
        if isinstance(failure, Reject):
            await self._reject(hold, failure)
        elif failure is not None:
            await self._fail(hold, failure, free_place)
        return False

    async def _finish(self, hold: Hold, sends: Sends) -> Exception | None:
        """Acknowledges a handled message and sends what its handler sent; returns what went wrong."""
        async with self._last_word(hold) as open_yet:
            if not open_yet:
                await self._respect(hold, sends)
                return None
            record = hold.record
            if not sends:
                await self.retrying.ack([hold], in_doubt=True)
                return None
            try:
                held = await self.retrying.call(lambda: self._ack_and_send(record.id, sends), _is_passing_unless_full)
            except Exception as error:
                return error
            if not held:
                _logger.warning("message %s was taken back while it was handled; nothing was sent", record.id)
            return None

    async def _ack_and_send(self, message_id: UUID, sends: Sends) -> bool:
        mailbox = self.retrying.mailbox
        async with resolved(mailbox, sends) as messages:
            return await mailbox.ack_and_send(message_id, messages)

    async def _respect(self, hold: Hold, sends: Sends, failure: Exception | None = None) -> None:
        """Leaves a message as its handler has settled it; that also decides what becomes of what was sent."""
        record = hold.record
        if failure is not None:
            log(logging.WARNING, failure, "message %s was settled already when its handler failed", record.id)
        if hold.acked:
            if sends:
                await self._send_apart(record, sends)
            return
        if sends:
            how = f"settled by {hold.settled_by}" if hold.settled_by else "taken back and handed out again"
            _logger.warning("message %s was %s while it was handled; nothing was sent", record.id, how)
        if self.in_order:
            # as after a failure: later messages from its sender must not overtake it
            async with self.without_claims():
                await self._give_back_successors(record)

    async def _send_apart(self, record: MessageRecord, sends: Sends) -> None:
        """Sends what was sent by a handler that has acknowledged its message itself."""
        _logger.info("message %s was acknowledged by its handler; what it sent is stored separately", record.id)
        await self.write(self._send_all(record, sends))

    async def _send_all(self, record: MessageRecord, sends: Sends) -> None:
        try:
            async with resolved(self.retrying.mailbox, sends, self.retrying.call) as messages:
                await self._enqueue_apart(record, messages)
                return
        except MailboxError as error:  # an asker's mailbox could not be opened
            others = [(target, message) for target, message in sends if isinstance(target, Mailbox)]
            text = "%d answers are lost; the handler that sent them had acknowledged message %s itself"
            log(logging.ERROR, error, text, len(sends) - len(others), record.id)
        await self._enqueue_apart(record, others)

    async def _enqueue_apart(self, record: MessageRecord, sends: list[tuple[Mailbox, NewMessage]]) -> None:
        by_mailbox: dict[Mailbox, list[NewMessage]] = {}
        for mailbox, message in sends:
            by_mailbox.setdefault(mailbox, []).append(_repeatable(mailbox, message))
        cancelled: asyncio.CancelledError | None = None
        for mailbox, messages in by_mailbox.items():
            try:
                if cancelled is None:
                    await self._enqueue(record, mailbox, messages)
                    continue
                error: BaseException = cancelled
            except asyncio.CancelledError as failure:  # from now on nothing is waited for
                error = cancelled = failure
            except Exception as failure:
                error = failure
            log(
                logging.ERROR,
                error,
                "%d messages to %r are lost; the handler that sent them had acknowledged message %s itself",
                len(messages),
                mailbox,
                record.id,
            )
        if cancelled is not None:
            raise cancelled

    async def _enqueue(self, record: MessageRecord, mailbox: Mailbox, messages: list[NewMessage]) -> None:
        if Capability.ENQUEUE_MANY in mailbox.capabilities:
            comes_back = mailbox._place == self.retrying.mailbox._place
            enqueue = partial(mailbox._enqueue_sent_on, record.id) if comes_back else mailbox.enqueue_many
            await self.retrying.call(lambda: enqueue(messages))
            return
        for one in messages:
            # a backend that lacks an option may lack its keyword
            names = ("message_id", "delay", "headers", "dedupe_for")
            given = {name: value for name in names if (value := getattr(one, name)) is not None}
            await self.retrying.call(
                lambda one=one, given=given: mailbox.enqueue(  # type: ignore[misc]
                    one.sender, one.payload, one.priority, **given
                )
            )

    async def _reject(self, hold: Hold, rejection: Reject) -> None:
        reason = _text_of(rejection) or type(rejection).__name__
        if rejection.__cause__ is not None:
            reason += f"\n\n{traceback_of(rejection.__cause__)}"
        await self._bury(hold, reason, rejection)

    async def _fail(self, hold: Hold, failure: Exception, free_place: Callable[[], None]) -> None:
        record = hold.record
        count, most = record.delivery_count, self.retry.max_deliveries
        wish = failure if isinstance(failure, Retry) else Retry()
        if wish.failed and most is not None and count >= most:
            await self._bury(hold, f"{failed_reason(count, most)}\n\n{traceback_of(failure)}", failure)
            return
        delay = self.retry.delay_after(count) if wish.delay is None else wish.delay
        can, retrying = self.retrying.mailbox.capabilities, self.retrying
        can_nack = Capability.NACK in can if wish.failed else retrying.nacks_unfailed
        give_back = self._nack if wish.failed else self._take_back
        if can_nack and Capability.DELAY in can and not self.in_order:
            await give_back(hold, failure, delay)
            return
        free_place()
        if can_nack or (not wish.failed and retrying.undoes_hand_outs):
            await self.stop.pause(delay)
            async with self.without_claims():
                await give_back(hold, failure, 0.0, waited=delay)
                await self._give_back_successors(record)
            return
        _log_retry(record, failure, delay)
        await self.stop.pause(delay)
        # what became of it cannot be recorded, nor can others get it: it is handed out again from here, or stays with
        # the mailbox's handle if a stop has to finish what was prefetched
        if not hold.over and (not self.stop.asked or self.retrying.can_give_back):
            again = replace(record, delivery_count=count + wish.failed)
            self.holds.add([again])
            self.buffer.put_back(again)

    async def _nack(self, hold: Hold, failure: Exception, delay: float, waited: float = 0.0) -> None:
        record, mailbox = hold.record, self.retrying.mailbox
        error = traceback_of(failure)
        how: dict[str, Any] = {"delay": delay} if delay else {}
        nacked: bool | str = False
        async with self._last_word(hold) as open_yet:
            if open_yet:
                nacked = await self.retrying.call(lambda: mailbox._nack_with_reason(record.id, error=error, **how))
        if not nacked:
            log(logging.INFO, failure, "message %s had already been taken back when its handler failed", record.id)
        elif isinstance(nacked, str):
            _log_death(record, nacked, failure)
        elif mailbox._tells_of_dead_letters or Capability.DEAD_LETTERS not in mailbox.capabilities:
            _log_retry(record, failure, delay or waited)
        else:  # it may be a dead letter
            log(logging.INFO, failure, "message %s failed at delivery %d", record.id, record.delivery_count)

    async def _take_back(self, hold: Hold, failure: Exception, delay: float, waited: float = 0.0) -> None:
        """Gives a message back whose delivery has not failed: its hand-out is undone."""
        async with self._last_word(hold) as open_yet:
            taken_back = open_yet and await self.retrying.take_back(hold.record.id, delay)
        if taken_back:
            _log_retry(hold.record, failure, delay or waited)
        else:
            log(logging.INFO, failure, "message %s had already been taken back by others", hold.record.id)

    async def _bury(self, hold: Hold, reason: str, failure: Exception) -> None:
        record, mailbox = hold.record, self.retrying.mailbox
        if Capability.DEAD_LETTERS not in mailbox.capabilities:
            failure.add_note(
                f"{type(mailbox).__name__} has no dead letters: message {record.id} stays in it, and its consumer ends"
            )
            raise failure
        async with self._last_word(hold) as open_yet:
            buried = open_yet and await self.retrying.call(lambda: mailbox.dead_letter(record.id, shortened(reason)))
        if buried:
            _log_death(record, reason, failure)
        else:
            log(logging.INFO, failure, "message %s had already been taken back when its handler gave it up", record.id)

    async def _give_back_successors(self, record: MessageRecord) -> None:
        """Gives back the messages that wait for this one, while no claim is under way."""
        successors = [one.id for one in self.buffer.successors(record) if self.holds.of(one)]
        if successors:
            # they stay in the buffer until they are back: if this fails or is cancelled, the stop gives them back
            await self.retrying.give_back(successors)
        self.holds.drop(self.buffer.take_successors(record))

    @asynccontextmanager
    async def _last_word(self, hold: Hold) -> AsyncIterator[bool]:
        """Whether the message still has to be settled; the answer stays true while this is entered."""
        if not (hold.doubtful or hold.given_back):
            yield not hold.over
            return
        # it may have gone back, and a claim under way may have fetched it again
        async with self.without_claims():
            yield not hold.over


def log(level: int, failure: BaseException, text: str, *values: object) -> None:
    """One line, and the traceback if the log is at ``DEBUG``."""
    _log(level, failure, f"{text}: %s", *values, _in_short(failure))


def _log(level: int, failure: BaseException, text: str, *values: object) -> None:
    _logger.log(level, text, *values, exc_info=failure if _logger.isEnabledFor(logging.DEBUG) else None)


def _in_short(failure: BaseException) -> str:
    """Its type, and the first line of what it says."""
    return ": ".join(filter(None, [type(failure).__name__, _first_line(_text_of(failure))]))


def _text_of(failure: BaseException) -> str:
    try:
        return str(failure)
    except Exception:
        return ""  # what a handler raises may have no usable text


def _first_line(text: str) -> str:
    """As a log can hold it, whatever it is written to: a failure may quote a payload of 64 MiB."""
    line = (text[:_MOST_LOOKED_AT].strip().splitlines() or [""])[0]
    return storable(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…")


def _log_death(record: MessageRecord, reason: str, failure: Exception) -> None:
    first_line = _first_line(reason)
    if isinstance(failure, Reject) and first_line:  # which is the text of the failure
        _log(logging.WARNING, failure, "message %s is a dead letter: %s", record.id, first_line)
    else:
        log(logging.WARNING, failure, "message %s is a dead letter: %s", record.id, first_line)


def _log_retry(record: MessageRecord, failure: Exception, delay: float) -> None:
    is_put_off = isinstance(failure, Retry) and not failure.failed
    text = f"message %s {'was put off' if is_put_off else 'failed'} at delivery %d, again after %.1f s"
    values = (record.id, record.delivery_count, delay)
    if not isinstance(failure, Retry):
        log(logging.INFO, failure, text, *values)
    elif failure.__cause__ is not None:
        _log(logging.INFO, failure, f"{text}: %s", *values, _in_short(failure.__cause__))
    else:  # it says no more than that
        _log(logging.INFO, failure, text, *values)


def _is_passing_unless_full(error: MailboxError) -> bool:
    """Passing errors, except for a full storage: waiting for room there would hold the handler up."""
    return error.passing and not isinstance(error, StorageFullError)


def _repeatable(mailbox: Mailbox, message: NewMessage) -> NewMessage:
    """A message that is stored only once, however often it is sent again because no answer came."""
    if message.message_id is not None or Capability.MESSAGE_ID not in mailbox.capabilities:
        return message
    return replace(message, message_id=uuid4())
