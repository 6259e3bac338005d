"""The loop: claims, handlers and acknowledgements, and how it ends.

One task supervises. Whatever takes time is a task of its own that reports back: a claim, a handler with its message, an
acknowledgement. So cancelling the supervisor interrupts none of them, and it decides what becomes of each.

Acknowledgements are collected: while one is being committed, those that come in wait for the next. A new batch is
claimed when a handler has nothing to do, and the claim is made in the same step as the last acknowledgements, so that a
backend which shares commits makes one of both.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .._arguments import check_count
from .._errors import MailboxClosedError
from .._mailbox import Mailbox
from .._values import MessageRecord
from .context import Context
from .delivery import Deliveries
from .hand import Hand, HandBySender
from .handlers import Handler, to_call
from .retry import RetryPolicy
from .stopping import Stop
from .storage import Storage

if TYPE_CHECKING:
    Task = asyncio.Task[None]

LOOK_AHEAD = 256
"""Claimed messages that may wait in the hand, behind others of their senders or for their next attempt, before no more
are claimed."""

AFTER_DEPARTURE = 1.0
"""Seconds without a claim after the page was left: if it is really going, its messages are for whoever comes next."""

_logger = logging.getLogger("pymailbox")


class Consumer(Coroutine[Any, Any, None]):
    """A running ``Mailbox.consume``: await it, or make it a task; ``stop`` ends it."""

    def __init__(
        self, mailbox: Mailbox, handler: Handler, concurrency: int, ordered_by_sender: bool, retry: RetryPolicy | None
    ) -> None:
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {type(retry).__name__}")
        self._mailbox = mailbox
        self._concurrency = check_count("concurrency", concurrency)
        self._stop = Stop()
        self._hand = HandBySender() if ordered_by_sender else Hand()
        self._storage = Storage(mailbox, self._stop)
        self._deliveries = Deliveries(
            to_call(handler),
            retry or RetryPolicy(),
            ordered_by_sender,
            self._hand,
            self._storage,
            self._stop,
            self._without_claims,
        )
        self._news = asyncio.Event()
        """Set when the supervisor may have something to do."""
        self._handling: set[Task] = set()
        """Messages that have one of the ``concurrency`` places."""
        self._waiting: set[Task] = set()
        """Messages that failed and wait for their next attempt."""
        self._claims: set[Task] = set()
        self._writes: set[Task] = set()
        """Acknowledgements and releases under way."""
        self._handled: list[UUID] = []
        """To be acknowledged."""
        self._unhandled: list[UUID] = []
        """To be given back."""
        self._pauses = 0
        """Reasons to claim nothing."""
        self._closed = False
        self._error: BaseException | None = None
        self._interruptions = 0
        self._coroutine = self._supervise()

    def stop(self) -> None:
        """Asks for a clean stop: handlers that run finish, and what was claimed beyond that goes back to the queue.

        It returns at once; awaiting the consumer ends when all of that is done. Cancelling a consumer asks for the
        same; cancelling it after either ends the handlers that still run, with ``CancelledError``, and gives their
        messages back. Stopping twice is fine.
        """
        self._stop.ask()
        self._end_claims()
        self._news.set()

    @property
    def stopping(self) -> bool:
        """Whether a stop has been asked for, or has come about."""
        return self._stop.asked

    # -- supervising ---------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        # an error if the mailbox is closed, or another loop's; if it is closed later that is an end like any other
        await self._storage.call(self._mailbox.status)
        cancelled: asyncio.CancelledError | None = None
        self._loop = asyncio.get_running_loop()
        forget = self._mailbox._when_left(self._left)
        try:
            while self._go_on():
                try:
                    await self._news.wait()
                except asyncio.CancelledError as error:
                    cancelled = error
                    self._interrupt()
                self._news.clear()
        except BaseException:
            self._cancel(self._handling, self._waiting, self._claims, self._writes)
            raise
        finally:
            forget()
        if self._error is not None:
            raise self._error
        if cancelled is not None:
            raise cancelled

    def _go_on(self) -> bool:
        """Begins what can be begun; False if all has come to its end."""
        if self._stop.asked and (self._storage.can_give_back or self._interruptions > 1 or self._closed):
            self._unhandled += [record.id for record in self._hand.take_all()]
        else:
            self._hand_out()
        claims = self._may_claim()
        if self._unhandled:
            ids, self._unhandled = self._unhandled, []
            if not self._closed:
                self._begin(self._storage.give_back(ids), self._writes)
        if self._handled and (claims or not self._writes):
            ids, self._handled = self._handled, []
            self._begin(self._storage.ack(ids), self._writes)
        if claims:
            self._begin(self._claim(), self._claims)
        under_way = self._handling or self._waiting or self._claims or self._writes
        return bool(under_way or self._handled or self._hand) or not self._stop.asked

    def _hand_out(self) -> None:
        while len(self._handling) < self._concurrency and (record := self._hand.take()):
            self._begin(self._handle(record), self._handling, at_once=False)

    def _may_claim(self) -> bool:
        return not (
            self._stop.asked
            or self._claims
            or self._pauses
            or self._storage.troubled
            or len(self._handling) >= self._concurrency
            or len(self._hand) + len(self._waiting) >= LOOK_AHEAD
        )

    async def _claim(self) -> None:
        # nothing may suspend between the two: a cancelled claim strands nothing
        self._hand.add(await self._storage.claim())

    async def _handle(self, record: MessageRecord) -> None:
        task = asyncio.current_task()
        assert task is not None

        def free_place() -> None:
            self._handling.discard(task)
            self._waiting.add(task)
            self._news.set()

        try:
            if await self._deliveries.deliver(Context(self._mailbox, record, self), free_place):
                self._handled.append(record.id)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._unhandled.append(record.id)
            # a KeyboardInterrupt must not get out of this task: it would tear down the loop with all that is under way
            if not isinstance(error, asyncio.CancelledError):
                self._end(error)
        finally:
            self._hand.finished(record)

    def _begin(self, work: Coroutine[Any, Any, None], among: set[Task], *, at_once: bool = True) -> None:
        task = start(work) if at_once else self._loop.create_task(work)
        among.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: Task) -> None:
        for tasks in (self._handling, self._waiting, self._claims, self._writes):
            tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)
        self._news.set()

    # -- ending --------------------------------------------------------------------------------------------------------

    def _end(self, error: BaseException) -> None:
        """Ends with an error, the first one that comes; the mailbox's being closed is none."""
        if isinstance(error, MailboxClosedError):
            self._closed = True
        elif self._error is None:
            self._error = error
        elif error is not self._error:
            _logger.error("one more error while %r ended its consumer", self._mailbox, exc_info=error)
        self.stop()

    def _interrupt(self) -> None:
        """The consumer was cancelled: first for a clean stop, then to end the handlers too, then to drop everything."""
        self._interruptions = max(self._interruptions + 1, 1 + self._stop.asked)
        self.stop()
        if self._interruptions > 1:
            self._cancel(self._handling, self._waiting)
        if self._interruptions > 2:
            self._cancel(self._writes)

    def _left(self) -> None:
        """The page is being left or frozen, and all that this handle held has been given back; it may come back."""
        self._hand.take_all()
        self._end_claims()
        self._pauses += 1
        self._loop.call_later(AFTER_DEPARTURE, self._resume)

    def _resume(self) -> None:
        self._pauses -= 1
        self._news.set()

    @asynccontextmanager
    async def _without_claims(self) -> AsyncIterator[None]:
        self._pauses += 1
        try:
            self._end_claims()
            if self._claims:
                await asyncio.wait(self._claims)
            yield
        finally:
            self._resume()

    def _end_claims(self) -> None:
        if self._storage.can_cancel_claims:
            self._cancel({claim for claim in self._claims if not claim.cancelling()})

    def _cancel(self, *tasks: set[Task]) -> None:
        for task in set().union(*tasks):
            task.cancel()

    # -- a coroutine, so that it can be awaited and made a task --------------------------------------------------------

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        return self._coroutine.throw(typ if val is None else val)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()


def start(work: Coroutine[Any, Any, None]) -> Task:
    """A task whose first step is made now where Python can do that: calls made in one step share a commit."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
