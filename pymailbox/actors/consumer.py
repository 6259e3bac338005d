"""The loop: claims, handlers and acknowledgements, and how it ends.

One task supervises. Whatever takes time is a task of its own that reports back: a claim, a handler with its message, an
acknowledgement. So cancelling the supervisor interrupts none of them, and it decides what becomes of each.

Acknowledgements are collected: while one is being committed, those that come in wait for the next, and while
asynchronous handlers work through a batch they wait for the end of it, but not for long. They wait neither for a
synchronous handler, which may block, nor when a message that is being handled is settled in another way, nor when the
mailbox is closed. A new batch is claimed when a handler has nothing to do, together with the acknowledgements that are
due: one transaction acknowledges and claims. If a backend cannot do that, both are begun in the same step, so that a
backend with shared commits makes a single one. A claim takes what can begin soon, and what then does not begin goes
back: a prefetched message can neither be overtaken by a more urgent one nor be handled by another consumer.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..contract.arguments import check_count, check_flag, check_period
from ..contract.errors import MailboxClosedError
from ..contract.mailbox import Mailbox
from ..runtime.suspension import suspension_is_wanted
from .context import Context
from .delivery import Deliveries
from .handlers import Handler, is_async, to_call
from .holds import Hold, Holds
from .pace import SOON, Pace
from .prefetch import PrefetchBuffer, SenderOrderedBuffer
from .retry import RetryPolicy
from .retrying import PiggybackedAcks, RetryingMailbox
from .stopping import Interruptions, Running, Stop

if TYPE_CHECKING:
    Task = asyncio.Task[None]

MOST_WAITING = 256
"""The most failed messages that wait in memory for their next attempt, where the mailbox cannot keep them meanwhile;
beyond that, nothing is claimed."""

LINGER = 0.01
"""Seconds that an acknowledgement waits at most for the next claim, to be made in its transaction; longer only if a
handler blocks the event loop, or while another acknowledgement is being committed."""

AT_ONCE = 0.002
"""Seconds in one turn of the event loop for which asynchronous handlers that do not suspend follow each other."""

PAUSE_AFTER_UNLOAD = 1.0
"""Seconds without a claim after the page was left: if it is really going away, its messages are for others."""

_logger = logging.getLogger("pymailbox")


class Consumer(Running):
    """A running ``Mailbox.consume``: await it, or make it a task; ``stop`` ends it."""

    def __init__(
        self,
        mailbox: Mailbox,
        handler: Handler,
        concurrency: int,
        ordered_by_sender: bool,
        retry: RetryPolicy | None,
        timeout: float | None,
    ) -> None:
        if timeout is not None:
            check_period("timeout", timeout)
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {type(retry).__name__}")
        self._mailbox = mailbox
        self._concurrency = check_count("concurrency", concurrency)
        self._stop = Stop()
        self._ordered = check_flag("ordered_by_sender", ordered_by_sender)
        self._is_async = is_async(handler)
        """Otherwise the handler may block the event loop, or wait with ``run_sync``."""
        self._buffer = SenderOrderedBuffer() if ordered_by_sender else PrefetchBuffer()
        self._holds = Holds()
        self._retrying = RetryingMailbox(mailbox, self._stop)
        self._deliveries = Deliveries(
            to_call(handler, timeout),
            retry or RetryPolicy(),
            ordered_by_sender,
            self._buffer,
            self._holds,
            self._retrying,
            self._stop,
            self._without_claims,
            self._write,
        )
        self._wakeup = asyncio.Event()
        """Set when the supervisor may have something to do."""
        self._is_starting = False
        self._until: float | None = None
        """When it is the turn of other tasks; None if no handler has run in this one."""
        self._handling: set[Task] = set()
        """Messages that occupy one of the ``concurrency`` places."""
        self._scheduled: set[Task] = set()
        """Those whose handlers begin in a later turn of the event loop: no handler may overtake them."""
        self._waiting: set[Task] = set()
        """Messages that failed and wait for their next attempt."""
        self._claims: set[Task] = set()
        self._acks: set[Task] = set()
        """Acknowledgements under way: further ones wait for them."""
        self._writes: set[Task] = set()
        """Releases, late acknowledgements and separate sends under way. Like acknowledgements, they outlive a handler
        that is cancelled."""
        self._handled: list[Hold] = []
        """To be acknowledged."""
        self._linger: asyncio.TimerHandle | None = None
        """Runs while some of them wait for the next claim."""
        self._acks_are_due = False
        self._handled_late: list[Hold] = []
        """To be acknowledged, whoever holds them: they went back while they were handled."""
        self._unhandled: list[UUID] = []
        """To be given back."""
        self._pauses = 0
        """Reasons to claim nothing."""
        self._closed = False
        self._error: BaseException | None = None
        self._interruptions = 0
        self._cancellations = Interruptions()
        self._pace = Pace(time.monotonic)
        self._reach = 1
        """How many messages to claim if all that was claimed waits for its senders."""
        self._claimed_at = 0.0
        self._buffer_timer: asyncio.TimerHandle | None = None
        super().__init__(self._supervise())

    def stop(self) -> None:
        """Asks for a clean stop: running handlers finish, and what else was claimed goes back to the queue.

        It returns at once; awaiting the consumer ends when all of that is done. Cancelling a consumer asks for the
        same; cancelling it after either of these ends the handlers that still run, with ``CancelledError``, and gives
        their messages back. Stopping twice is fine. Any thread may call this, and any signal handler.
        """
        self._stop.reach(self._begin_to_stop)

    def _begin_to_stop(self) -> None:
        self._stop.ask()
        self._end_claims()
        self._wakeup.set()

    @property
    def stopping(self) -> bool:
        """Whether a stop has been asked for, or has come about."""
        return self._stop.asked

    # -- supervising ---------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        self._stop.begin()
        # raises if the mailbox is closed, or belongs to another loop; if it is closed later, the loop just ends
        await self._retrying.call(self._mailbox.status)
        cancelled: asyncio.CancelledError | None = None
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        forget = self._mailbox._on_life_over(self._on_life_over)
        self._mailbox._settling_listeners += (self,)
        try:
            while self._go_on():
                try:
                    if self._wakeup.is_set():
                        await asyncio.sleep(0)  # others have a turn too
                    else:
                        await self._wakeup.wait()
                except asyncio.CancelledError as error:
                    cancelled = error
                    self._interrupt()
                self._wakeup.clear()
        except BaseException:
            self._stop.ask()  # a handler that ends in spite of its cancellation begins no other
            self._buffer.take_all()
            self._cancel(self._handling, self._waiting, self._claims, self._acks, self._writes)
            raise
        finally:
            forget()
            listeners = self._mailbox._settling_listeners
            self._mailbox._settling_listeners = tuple(one for one in listeners if one is not self)
            for timer in (self._buffer_timer, self._linger):
                if timer is not None:
                    timer.cancel()
        if self._error is not None:
            raise self._error
        if cancelled is not None:
            raise cancelled

    def _go_on(self) -> bool:
        """Begins what can be begun; False if all has ended."""
        if self._gives_back:
            self._unhandled += self._holds.drop(self._buffer.take_all())
        else:
            self._start_handlers()
        claims = self._may_claim()
        if self._unhandled:
            ids, self._unhandled = self._unhandled, []
            if not self._closed:
                self._begin(self._retrying.give_back(ids), self._writes)
        self._begin_late_acks()
        piggybacked: PiggybackedAcks | None = None
        if self._handled and claims and self._retrying.acks_with_claims:
            piggybacked = self._retrying.ack_with_claim(self._take_handled())
        elif self._handled and (claims or not (self._acks_can_wait() or self._acks)):
            self._begin_acks()
        if claims:
            self._begin_claim(piggybacked)
        under_way = self._handling or self._waiting or self._claims or self._acks or self._writes
        return bool(under_way or self._handled or self._buffer) or not self._stop.asked

    def _go_on_soon(self) -> None:
        """Makes the next claim in this step if all that was claimed is handled; otherwise the supervisor goes on, in a
        turn of the event loop of its own, in which a page would have nothing under way.
        """
        if self._is_starting or self._handling or self._buffer or self._stop.asked:
            self._wakeup.set()
        else:
            self._go_on()

    @property
    def _gives_back(self) -> bool:
        """Whether what has not begun goes back."""
        return self._stop.asked and (self._retrying.can_give_back or self._interruptions > 1 or self._closed)

    def _start_handlers(self) -> None:
        if self._is_starting:  # the handler that has ended was begun here
            return
        self._is_starting = True
        try:
            while len(self._handling) < self._concurrency and not self._gives_back and (record := self._buffer.take()):
                hold = self._holds.of(record)
                if hold is None:  # it has been settled already
                    self._holds.drop([record])
                    self._buffer.finished(record)
                    continue
                self._pace.begins()
                self._begin_handler(hold)
        finally:
            self._is_starting = False
        if self._buffer and self._buffer_timer is None and self._retrying.undoes_hand_outs:
            self._buffer_timer = self._loop.call_later(SOON, self._return_stale)

    def _return_stale(self) -> None:
        """Gives back what was to begin soon but did not: handlers have become slow."""
        self._buffer_timer = None
        # a claim is made when nothing prefetched can begin, so that what can begin now has waited since the last one
        still = SOON - (self._loop.time() - self._claimed_at)
        if still > 0:
            self._buffer_timer = self._loop.call_later(still, self._return_stale)
        elif self._ordered and self._claims:
            if self._buffer.has_free:  # or a claim that takes longer would be cancelled for nothing, again and again
                self._begin(self._give_back_free(), self._writes)
        elif unbegun := self._holds.drop(self._buffer.take_free()):
            self._unhandled += unbegun
            self._wakeup.set()

    async def _give_back_free(self) -> None:
        """Gives back what could begin but did not, while no claim is under way that may have got later messages."""
        async with self._without_claims():
            if unbegun := self._holds.drop(self._buffer.take_free()):
                await self._retrying.give_back(unbegun)

    def _may_claim(self) -> bool:
        return not (
            self._stop.asked
            or self._claims
            or self._pauses
            or self._retrying.waiting_retries
            or len(self._handling) >= self._concurrency
            or (len(self._waiting) >= MOST_WAITING and not self._ordered)
        )

    def _acks_can_wait(self) -> bool:
        """Whether the next claim comes soon, and takes the acknowledgements along."""
        if not self._is_async or self._stop.asked or self._claims or self._acks_are_due or not self._buffer:
            return False
        if self._linger is None and self._retrying.acks_with_claims:
            self._linger = self._loop.call_later(LINGER, self._on_lingered)
        return self._linger is not None

    def _on_lingered(self) -> None:
        self._acks_are_due = True
        self._wakeup.set()

    def _take_handled(self) -> list[Hold]:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self._acks_are_due = False
        holds, self._handled = self._handled, []
        return holds

    def _begin_acks(self) -> None:
        if self._handled:
            self._begin(self._retrying.ack(self._take_handled()), self._acks)

    def _begin_late_acks(self) -> None:
        if self._handled_late:
            holds, self._handled_late = self._handled_late, []
            self._begin(self._retrying.ack_late(holds), self._writes)

    def _need(self) -> int:
        """How many messages can begin soon; more where all that was prefetched waits for its senders."""
        self._reach = min(2 * self._reach, self._retrying.most_at_once) if self._buffer else 1
        free = self._concurrency - len(self._handling)
        return min(max(free, self._pace.soon(), self._reach), self._retrying.most_at_once)

    def _begin_claim(self, piggybacked: PiggybackedAcks | None) -> None:
        claim = self._begin(self._claim(self._need(), piggybacked), self._claims)
        if piggybacked is not None:
            if sys.version_info < (3, 12):  # it may be cancelled before it begins
                claim.add_done_callback(lambda _: piggybacked.resolve(None))
            if work := self._retrying.finish(piggybacked):
                self._begin(work, self._acks)

    async def _claim(self, limit: int, piggybacked: PiggybackedAcks | None) -> None:
        try:
            records = await self._retrying.claim(limit, piggybacked)
        finally:
            if piggybacked is not None:
                piggybacked.resolve(None)
        # nothing may suspend in between, so that a cancelled claim strands nothing
        self._claimed_at = self._loop.time()
        self._buffer.add(self._holds.add(records))
        task = asyncio.current_task()
        if records and task in self._claims:  # otherwise it is in its first step, and the supervisor goes on
            # what these handlers leave to be acknowledged goes along with the next claim
            self._leave_behind(task)
            self._start_handlers()
            self._go_on_soon()

    async def _handle(self, hold: Hold) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._scheduled.discard(task)
        self._handling.add(task)
        if self._buffer:
            self._begin_turn()
        record = hold.record

        def free_place() -> None:
            self._handling.discard(task)
            self._pace.ends()
            self._waiting.add(task)
            self._wakeup.set()

        try:
            if await self._deliveries.deliver(hold, Context(self._mailbox, record, self), free_place):
                (self._handled_late if hold.given_back else self._handled).append(hold)
        except BaseException as error:
            if not hold.over:
                self._unhandled.append(record.id)
            if isinstance(error, GeneratorExit):  # unless its handler raised it, this coroutine is being closed
                raise
            # a KeyboardInterrupt must not get out of this task: it would tear down the loop with all that is under way
            if not isinstance(error, asyncio.CancelledError):
                self._end(error)
        finally:
            self._holds.drop([record])
            self._buffer.finished(record)
        # in the step in which the message is to be acknowledged, so that the next claim can do that
        self._leave_behind(task)
        self._start_handlers()
        self._go_on_soon()

    async def _write(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.shield(self._begin(work, self._writes))

    def _begin(self, work: Coroutine[Any, Any, None], among: set[Task]) -> Task:
        task = start(work)
        among.add(task)
        task.add_done_callback(self._ended)
        return task

    def _begin_handler(self, hold: Hold) -> None:
        context = self._context.copy()  # not that of another handler, whose end may begin this one
        if sys.version_info >= (3, 12) and self._may_begin_at_once():
            task: Task = asyncio.Task(self._handle(hold), loop=self._loop, context=context, eager_start=True)
        else:  # whatever the loop's task factory does
            task = asyncio.Task(self._handle(hold), loop=self._loop, context=context)
            self._handling.add(task)
            self._scheduled.add(task)
        if task.done():
            self._ended(task)
        else:
            task.add_done_callback(self._ended)

    def _may_begin_at_once(self) -> bool:
        """Whether a handler may begin in this turn of the event loop: another turn costs a page more than all else that
        is done for a message. One that waits with ``run_sync`` may not: it would suspend whoever began it, too.
        """
        if not self._is_async or self._scheduled or suspension_is_wanted():
            return False
        return self._loop.time() < self._begin_turn()

    def _begin_turn(self) -> float:
        if self._until is None:
            self._until = self._loop.time() + AT_ONCE
            self._loop.call_soon(self._end_turn)
        return self._until

    def _end_turn(self) -> None:
        self._until = None

    def _leave_behind(self, task: Task) -> None:
        """Of a task that is in its last step, when nothing of it is left to do."""
        task.remove_done_callback(self._ended)
        self._discard(task)

    def _discard(self, task: Task) -> None:
        if task in self._handling:
            self._pace.ends()
        for tasks in (self._handling, self._scheduled, self._waiting, self._claims, self._acks, self._writes):
            tasks.discard(task)

    def _ended(self, task: Task) -> None:
        self._discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)
        self._wakeup.set()

    # -- told by the mailbox -------------------------------------------------------------------------------------------

    def _settling(self, verb: str, ids: list[UUID]) -> Callable[[Any], None]:
        return self._holds.settling(verb, ids)

    async def _before_settling(self, ids: list[UUID]) -> None:
        if not self._holds.any_of(ids) or self._retrying.acknowledges_any_of(ids):
            return
        self._begin_acks()
        if (self._ordered or self._concurrency == 1) and self._acks:
            # if only the later of two messages were committed, a death would bring the earlier one back after it
            await asyncio.wait(self._acks)

    def _before_closing(self) -> bool:
        if asyncio.get_running_loop() is not self._loop:
            return False
        self._closed = True
        self._stop.ask()  # claims under way are not cancelled: they may have acknowledgements with them
        self._begin_acks()
        return sys.version_info < (3, 12) and bool(self._acks)

    # -- ending --------------------------------------------------------------------------------------------------------

    def _end(self, error: BaseException) -> None:
        """Ends with an error, the first one that occurs; a closed mailbox is not an error."""
        if isinstance(error, MailboxClosedError):
            self._closed = True
        elif self._error is None:
            self._error = error
        elif error is not self._error:
            _logger.error("one more error while %r ended its consumer", self._mailbox, exc_info=error)
        self.stop()

    def _interrupt(self) -> None:
        """The consumer was cancelled: first to stop cleanly, then to end the handlers too, then to drop everything."""
        if not self._cancellations.is_new():
            return
        self._interruptions = max(self._interruptions + 1, 1 + self._stop.asked)
        self.stop()
        if self._interruptions > 1:
            self._cancel(self._handling, self._waiting)
        if self._interruptions > 2:
            self._cancel(self._acks, self._writes)

    def _on_life_over(self) -> None:
        """The page is being left or frozen, and all that this handle held has been given back; it may come back."""
        self._holds.drop(self._buffer.take_all())
        for hold in self._holds:
            hold.given_back = True
        # an acknowledgement under way may come too late: it settles only what is still held
        self._handled_late += [*self._take_handled(), *self._retrying.acknowledging]
        self._retrying.acknowledging.clear()
        self._begin_late_acks()  # a page that is left may have no other turn
        self._end_claims()
        self._pauses += 1
        self._loop.call_later(PAUSE_AFTER_UNLOAD, self._resume)
        self._wakeup.set()

    def _resume(self) -> None:
        self._pauses -= 1
        self._wakeup.set()

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
        if self._retrying.can_cancel_claims:
            self._cancel({claim for claim in self._claims if not claim.cancelling()})

    def _cancel(self, *tasks: set[Task]) -> None:
        for task in set().union(*tasks):
            task.cancel()


def start(work: Coroutine[Any, Any, None]) -> Task:
    """A task whose first step runs now, if Python can do that: calls made in one step share a commit."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
