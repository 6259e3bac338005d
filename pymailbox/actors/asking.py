"""A question and its answer: how ``ask`` waits for what a handler replies.

A handle that asks has one reply mailbox, which is made for the first question and deleted when the handle is closed. It
is read by one task, which hands each answer to the question with its ``correlation-id`` and drops what nobody waits
for. Neither that task nor anything else here refers to the asking handle, which may still be collected.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

from ..contract.arguments import check_period, prepare_message
from ..contract.capabilities import Capability
from ..contract.companions import Companion, Nearby, Unless, companion_of
from ..contract.errors import MailboxClosedError
from ..contract.mailbox import Mailbox, check_mailbox
from ..contract.values import BytesLike, MessagePriority, MessageRecord, MessageStatus, NewMessage
from .reply_mailboxes import (
    CORRELATION_ID,
    REPLY_TO,
    logged,
    marker_of,
    may_be_left_over,
    name_of,
    new_marker,
)
from .retrying import RetryingMailbox
from .stopping import LONGEST_TIMER, Stop
from .time_limit import TimeLimit

_LOOK_AGAIN: Final = 0.005
"""Seconds after which an asker looks again whether it holds its marker."""

_LOOK_EVERY: Final = 30.0
"""Seconds after which an asker that got nothing looks whether its mailbox is still there."""

_LOOKED_LATELY: Final = 60.0
"""Seconds for which an asker that lived counts as alive: otherwise each asker would open those of all others."""

_looked_at: Final[dict[str, float]] = {}
"""When this process looked at a reply mailbox of others, by its name."""

_OWN_HEADERS: Final = (REPLY_TO, CORRELATION_ID)

_logger = logging.getLogger("pymailbox")


def ask(
    mailbox: Mailbox,
    payload: BytesLike,
    *,
    timeout: float,
    sender: BytesLike = b"",
    priority: MessagePriority = MessagePriority.NORMAL,
    headers: Mapping[str, str] | None = None,
    message_id: UUID | None = None,
) -> Coroutine[Any, Any, MessageRecord]:
    """Sends a message to whoever consumes ``mailbox``, and returns what that answers with ``Context.reply``.

        answer = await ask(prices, b"tea", timeout=5.0)
        print(answer.payload)

    The question is stored like any other message, with two more headers: ``reply-to``, the name of a mailbox of the
    same database that this handle has for its answers, and ``correlation-id``. That mailbox is made for the first
    question, shared by all questions of the handle, and deleted when the handle is closed. Nobody has to acknowledge
    answers.

    Questions that wait are in memory: they end with the program, and what is answered then is dropped. If the call is
    cancelled, or nobody answers in time, the question stays where it is and may still be handled; its answer is
    dropped.

    Args:
        mailbox: where the question goes, an open handle; that handle is the asker.
        payload: what it says; copied at the call, as in ``enqueue``.
        timeout: seconds to wait for the answer, from when this is awaited, storing the question included;
            ``math.inf`` for ever.
        sender: who asks, in the caller's own encoding.
        priority: of the question.
        headers: more headers of the question.
        message_id: the question's id. The same question asked again, by the same handle and while the first one is in
            the mailbox, is not stored again, and gets the same answer; where the first one is another handle's, or a
            dead letter, it gets none.

    Raises:
        TimeoutError: there was no answer in time.
        TypeError, ValueError: an argument is invalid, or ``headers`` have one of those two; nothing was stored.
        MailboxClosedError: the handle is closed, or was closed while this waited.
        UnsupportedError: the backend has no headers, or no way to make a mailbox beside this one.
        StorageFullError: there is no room; nothing was stored.
    """
    check_mailbox("mailbox", mailbox)
    if timeout != math.inf:
        check_period("timeout", timeout)
    checked = prepare_message(sender, payload, priority, message_id, None, headers)
    correlation_id = str(message_id or uuid4())
    texts = {} if headers is None else dict(headers)
    for name in _OWN_HEADERS:
        if name in texts:
            raise ValueError(f"headers must not have {name!r}, which ask() gives a question")
    lacking = {Capability.ASK, Capability.HEADERS}.difference(mailbox.capabilities)
    if lacking:
        mailbox._lacks(min(lacking))
    question = NewMessage(checked.sender, checked.payload, checked.priority, message_id, None, texts)
    return _ask(mailbox, question, correlation_id, float(timeout))


async def _ask(mailbox: Mailbox, question: NewMessage, correlation_id: str, seconds: float) -> MessageRecord:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    limit = TimeLimit(seconds)
    with ExitStack() as waiting:
        try:
            with limit:
                asker = await companion_of(mailbox, Asker)
                await asker.ready()
                answer = waiting.enter_context(asker.waiting(correlation_id))
                await _store(mailbox, question, correlation_id, asker)
        except asyncio.CancelledError:
            if not limit.expired or limit.cancelled_by_others:
                raise
        else:
            while not answer.done() and (left := deadline - loop.time()) > 0:
                await asyncio.wait([answer], timeout=min(left, LONGEST_TIMER))
            if answer.done():
                return answer.result()
    raise TimeoutError(f"no answer came from {mailbox!r} within {seconds:g} s; one that comes later is dropped")


async def _store(mailbox: Mailbox, question: NewMessage, correlation_id: str, asker: Asker) -> None:
    headers = {**(question.headers or {}), REPLY_TO: asker.name, CORRELATION_ID: correlation_id}
    given: dict[str, Any] = {} if question.message_id is None else {"message_id": question.message_id}
    try:
        await mailbox.enqueue(question.sender, question.payload, question.priority, headers=headers, **given)
    except MailboxClosedError:
        asker.end()  # it may have begun too late to be ended by the close
        raise


class Asker(Companion):
    """The reply mailbox of one handle, and the questions that wait."""

    def __init__(self, nearby: Nearby) -> None:
        super().__init__(nearby)
        self._marker = new_marker()
        self.name = name_of(self._marker)
        """The reply mailbox's."""
        self._waiting: dict[str, set[asyncio.Future[MessageRecord]]] = {}
        """By correlation id."""
        self._stop = Stop()
        self._has_died = False
        self._opened: asyncio.Future[Mailbox] = self._loop.create_future()
        """The reply mailbox, once it is marked."""
        self._serving = _unmissed(self._serve())

    @property
    def over(self) -> bool:
        return self._stop.asked

    @property
    def has_ended(self) -> bool:
        return self._serving.done()

    async def ready(self) -> None:
        """Sees to it that there is a mailbox for answers, and raises if there cannot be one."""
        mailbox = await asyncio.shield(self._opened)
        while not await self._is_marked(mailbox):
            # somebody has deleted it: its asker seemed to be dead, as it does while its page is frozen
            await mailbox.enqueue(b"", b"", message_id=self._marker)
            await asyncio.sleep(_LOOK_AGAIN)  # the loop takes it
        if self.over:
            raise MailboxClosedError("the mailbox was closed before the question was stored")

    @contextmanager
    def waiting(self, correlation_id: str) -> Iterator[asyncio.Future[MessageRecord]]:
        """Within this, an answer with that id is awaited."""
        answer: asyncio.Future[MessageRecord] = self._loop.create_future()
        together = self._waiting.setdefault(correlation_id, set())
        together.add(answer)
        try:
            yield answer
        finally:
            together.discard(answer)
            if not together and self._waiting.get(correlation_id) is together:
                del self._waiting[correlation_id]
            if answer.done() and not answer.cancelled():
                answer.exception()  # which nobody may have fetched

    def end(self) -> asyncio.Future[None]:
        if self._ending is None:
            self._fail(MailboxClosedError("the mailbox was closed before the answer came"))
            self._serving.cancel()
        return super().end()

    def die(self) -> None:
        self._has_died = True
        self._fail(MailboxClosedError("the mailbox died before the answer came"))
        self._serving.cancel()

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _is_marked(self, mailbox: Mailbox) -> bool:
        """Whether the marker is held: then nobody deletes the reply mailbox. If that has been deleted, so may have been
        the answers to all that wait.
        """
        marker = await mailbox.get(self._marker)
        if marker is None:
            self._answer_all(TimeoutError(f"no answer can come any more: somebody has deleted the mailbox {self.name}"))
        return isinstance(marker, MessageRecord) and marker.status is MessageStatus.INFLIGHT

    async def _end(self) -> None:
        await asyncio.wait([self._serving])

    def _fail(self, error: BaseException) -> None:
        self._stop.ask()
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # which nobody may fetch
        self._answer_all(error)

    def _answer_all(self, error: BaseException) -> None:
        for answers in self._waiting.values():
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)

    async def _serve(self) -> None:
        mailbox: Mailbox | None = None
        tidying: asyncio.Task[None] | None = None
        try:
            mailbox = await self._nearby.open(self.name, relaxed=True)
            await mailbox.enqueue(b"", b"", message_id=self._marker)
            await mailbox.dequeue()
            self._opened.set_result(mailbox)
            tidying = _unmissed(_delete_left_overs(self._nearby))
            await self._read(mailbox)
        except BaseException as error:
            if isinstance(error, GeneratorExit) or self._loop.is_closed():
                return  # and nothing can be waited for
            if self._has_died and mailbox is not None:
                mailbox._die()
                if tidying is not None:
                    tidying.cancel()
                return
            ended = MailboxClosedError("the event loop ended before the answer came")
            self._fail(error if isinstance(error, Exception) else ended)
            leaving = _unmissed(self._leave(mailbox, tidying))
            while not leaving.done():
                with suppress(asyncio.CancelledError):  # it is ending already
                    await asyncio.wait([leaving])
            if not isinstance(error, Exception):
                raise

    async def _read(self, mailbox: Mailbox) -> None:
        retrying = RetryingMailbox(mailbox, self._stop)
        handled: list[UUID] = []
        while True:
            records = await retrying.call(partial(mailbox.dequeue, wait=_LOOK_EVERY, ack=handled))
            if not records and self._waiting and not await retrying.call(partial(self._is_marked, mailbox)):
                await retrying.call(partial(mailbox.enqueue, b"", b"", message_id=self._marker))
            # the marker comes again after a page was frozen, and is held again
            answers = [record for record in records if record.id != self._marker]
            handled = [record.id for record in answers]
            for record in answers:
                self._deliver(record)

    def _deliver(self, record: MessageRecord) -> None:
        waiting = self._waiting.get(record.headers.get(CORRELATION_ID, ""), ())
        if not waiting:
            _logger.info("an answer to a question that nobody is waiting for any longer was dropped")
        for answer in waiting:
            if not answer.done():
                answer.set_result(record)

    async def _leave(self, mailbox: Mailbox | None, tidying: asyncio.Task[None] | None) -> None:
        """Closes the reply mailbox and deletes it."""
        if tidying is not None:
            tidying.cancel()
            await asyncio.wait([tidying])
        with logged("the mailbox %s is left over until somebody else asks", self.name):
            if mailbox is not None:
                await mailbox.close()
            await self._nearby.delete(self.name)


def _unmissed(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that asyncio does not report if its event loop is closed before it has ended: its handle does that."""
    task = asyncio.ensure_future(work)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return task


async def _delete_left_overs(nearby: Nearby) -> None:
    """Deletes the reply mailboxes of askers that have died, except for those that were looked at lately."""
    now = time.monotonic()
    for name in [name for name, looked in _looked_at.items() if now - looked >= _LOOKED_LATELY]:
        del _looked_at[name]
    with logged("reply mailboxes that are left over could not be deleted"):
        for name in await nearby.names():
            marker = marker_of(name)
            if marker is None or name in _looked_at or not may_be_left_over(name):
                continue
            _looked_at[name] = now
            await (await nearby.open(name, relaxed=True)).close()  # which takes back what the dead had
            if await nearby.delete(name, Unless(marker, held_only=True)):
                _logger.info("deleted %s, whose asker is gone", name)
