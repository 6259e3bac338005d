"""Synchronous handlers: an actor's loop runs in the event loop, and its handlers in threads, where they may block."""

from __future__ import annotations

import asyncio
import functools
import inspect
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from ..actors import Consumer, Context, RetryPolicy
from ..actors.handlers import _takes_context, is_async, to_call
from ..contract.arguments import check_count
from ..contract.mailbox import Mailbox
from ..contract.values import MessageRecord
from .loop import SIGNAL_CHECK, Caller

if TYPE_CHECKING:
    from .mailbox import SyncMailbox

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CUT_OFF: Final = 5.0
"""Seconds to wait until the messages of handlers that were cut off have gone back."""


def _sending(
    method: Callable[Concatenate[Context, Mailbox, _P], _T],
) -> Callable[Concatenate[SyncContext, SyncMailbox, _P], _T]:
    """A method of ``Context`` whose first argument is a mailbox."""

    def call(self: SyncContext, mailbox: SyncMailbox, /, *arguments: _P.args, **options: _P.kwargs) -> _T:
        return method(self._context, self.mailbox._target(mailbox), *arguments, **options)

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    call.__qualname__ = f"SyncContext.{method.__name__}"
    return call


def _replying(method: Callable[Concatenate[Context, _P], _T]) -> Callable[Concatenate[SyncContext, _P], _T]:
    """A method of ``Context`` that takes no mailbox."""

    @functools.wraps(method)
    def call(self: SyncContext, /, *arguments: _P.args, **options: _P.kwargs) -> _T:
        return method(self._context, *arguments, **options)

    return call


class SyncContext:
    """One delivery of one message, for the synchronous handler that works on it."""

    message: MessageRecord
    """The message itself."""
    mailbox: SyncMailbox
    """Where it came from."""

    def __init__(self, context: Context, mailbox: SyncMailbox, caller: Caller) -> None:
        self.message = context.message
        self.mailbox = mailbox
        self._context = context
        self._caller = caller

    send = _sending(Context.send)
    reply = _replying(Context.reply)

    @property
    def stopping(self) -> bool:
        """Whether the consumer has been asked to stop: a long handler should then come to an end."""
        return self._context.stopping

    def stop(self) -> None:
        """Asks the consumer to stop once the handlers that run now have ended."""
        self._caller.call_soon(self._context.stop)


SyncHandler: TypeAlias = Callable[[MessageRecord], object] | Callable[[MessageRecord, SyncContext], object]
"""``handler(message)`` or ``handler(message, context)``, not ``async``. Its result is ignored."""


class _Job:
    """One call of a handler, and its outcome."""

    __slots__ = ("_error", "_function", "_result", "ended", "future")

    def __init__(self, function: Callable[[], object], future: asyncio.Future[object]) -> None:
        self._function = function
        self._result: object = None
        self._error: BaseException | None = None
        self.future = future
        self.ended = False
        """Whether its outcome is there; then it is not run any more."""

    def run(self) -> None:
        if not self.ended:
            try:
                self._result = self._function()
            except StopIteration as stop:  # which no future takes
                self._error = RuntimeError("the handler raised StopIteration")
                self._error.__cause__ = stop
            except BaseException as raised:
                self._error = raised
            self.ended = True
        self.deliver()

    def give_up(self, error: BaseException) -> None:
        """Ends it with an error, unless it has ended."""
        if not self.ended:
            self._result, self._error, self.ended = None, error, True
        self.deliver()

    def deliver(self) -> None:
        """Gives its outcome to whoever awaits it; to do so again changes nothing."""
        with suppress(RuntimeError):  # the loop is closed
            self.future.get_loop().call_soon_threadsafe(_settle, self.future, self._result, self._error)


def _settle(future: asyncio.Future[object], result: object, error: BaseException | None) -> None:
    if future.done():
        return  # cut off
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class HandlerThreads:
    """Threads that run handlers; a handler that is cut off keeps its thread until it ends by itself."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._under_way: set[_Job] = set()
        """Those whose outcome has not arrived."""
        self._threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        for number in range(count):
            # a daemon: what was cut off must not keep the interpreter from exiting
            thread = threading.Thread(target=self.serve, name=f"pymailbox handler {number + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def handler(
        self, function: SyncHandler, mailbox: SyncMailbox, caller: Caller, *, awaits: bool = False
    ) -> Callable[..., Any]:
        """An asynchronous handler that has the threads call a synchronous one.

        Where that gives something to await all the same, as an async function behind a plain decorator does, it is
        awaited in the event loop, or, unless ``awaits``, the handler has failed: its work is not done.

        Raises:
            TypeError: it is not a synchronous handler.
        """
        to_call(function)  # which checks it
        if is_async(function):
            raise TypeError("handler must not be async here: consume() of a mailbox that is awaited takes those")
        takes_context = _takes_context(function)

        async def call(message: MessageRecord, context: Context) -> None:
            future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            arguments = (message, SyncContext(context, mailbox, caller)) if takes_context else (message,)
            job = _Job(lambda: function(*arguments), future)
            self._under_way.add(job)
            self._jobs.put(job)
            try:
                result = await future
            finally:
                self._under_way.discard(job)
            if not inspect.isawaitable(result):
                return
            if awaits:
                await result
                return
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError("the handler returned an awaitable, which is awaited only where consume() is")

        return call

    def serve(self) -> None:
        """Runs handlers in this thread, until the end."""
        while (job := self._next()) is not None:
            job.run()

    def _next(self) -> _Job | None:
        while threading.current_thread() is threading.main_thread():
            with suppress(queue.Empty):
                return self._jobs.get(timeout=SIGNAL_CHECK)
        return self._jobs.get()

    def give_up(self, error: BaseException) -> None:
        """To be called where ``serve`` raised, if no other thread serves: a signal handler may raise between any two
        steps, also when a job was taken and nobody knows of it yet.
        """
        for job in list(self._under_way):
            job.give_up(error)

    def end(self) -> None:
        """Ends all that serve."""
        for _ in range(max(1, len(self._threads))):
            self._jobs.put(None)


def consume(
    owner: SyncMailbox,
    handle: Callable[[], tuple[Caller, Mailbox]],
    stops: set[Callable[[], None]],
    handler: SyncHandler,
    concurrency: int,
    ordered_by_sender: bool,
    retry: RetryPolicy | None,
) -> None:
    """As ``SyncMailbox.consume``, of the mailbox that ``handle`` gives."""
    threads = HandlerThreads()
    count = check_count("concurrency", concurrency)
    running = _Running(threads)
    interruptions: list[BaseException] = []
    """Exceptions from signal handlers, which may come between any two steps."""
    try:
        try:
            stops.add(running.stop)  # first: whoever asks for it may be quicker than what follows
            caller, mailbox = handle()
            call = threads.handler(handler, owner, caller)
            if count > 1:
                threads.start(count)
            running.begin_in(
                caller,
                lambda: mailbox.consume(call, concurrency=count, ordered_by_sender=ordered_by_sender, retry=retry),
            )
        except BaseException as error:  # an argument is invalid; or it comes out of a signal handler
            if not running.give_up():
                threads.end()
                raise
            interruptions.append(error)
        while not running.over.is_set():
            try:
                if len(interruptions) > 1:
                    break
                if interruptions:
                    running.stop()
                    if count == 1:
                        threads.give_up(_as_no_failure(interruptions[0]))
                if count == 1:
                    threads.serve()
                else:
                    running.over.wait(SIGNAL_CHECK)
            except BaseException as error:
                interruptions.append(error)
    finally:
        stops.discard(running.stop)
        if running.begun and not running.over.is_set():
            running.cut_off()
            running.over.wait(_CUT_OFF)
    if interruptions:
        raise interruptions[0]
    running.raise_its_error()


def _as_no_failure(error: BaseException) -> BaseException:
    """What ends a handler so that its message goes back as if it had not been handed out."""
    return KeyboardInterrupt() if isinstance(error, Exception) else error


class _Running:
    """A consumer, for the thread that waits for it."""

    def __init__(self, threads: HandlerThreads) -> None:
        self._caller: Caller | None = None
        self._threads = threads
        self._consumer: Consumer | None = None
        self._ending: asyncio.Task[BaseException | None] | None = None
        self.begun = False
        self._given_up = False
        self._stop_asked = False
        self.over = threading.Event()

    def begin_in(self, caller: Caller, make: Callable[[], Consumer]) -> None:
        """Begins it in the event loop, which makes it."""
        self._caller = caller
        caller.run(lambda: self._begin(make))

    async def _begin(self, make: Callable[[], Consumer]) -> None:
        # the rest in the event loop's own thread, in which no signal handler raises between two steps
        await asyncio.sleep(0)
        self.begun = True  # first: either this sees that it was given up, or who gives it up sees that it has begun
        try:
            if self._given_up:
                self._end(None)
                return
            self._consumer = make()
            if self._stop_asked:
                self._consumer.stop()
            self._ending = asyncio.ensure_future(end_of(self._consumer))
            self._ending.add_done_callback(self._end)
        except BaseException:
            self.begun = False
            self._end(None)
            raise

    def give_up(self) -> bool:
        """Begins nothing any more; whether it has begun already, so that its end has to be waited for."""
        self._given_up = True
        return self.begun

    def _end(self, _: object) -> None:
        self.over.set()
        self._threads.end()

    def stop(self) -> None:
        """Asks for a clean stop, also of what has not begun."""
        self._stop_asked = True
        if self._consumer is not None:
            self._call_soon(self._consumer.stop)

    def cut_off(self) -> None:
        """After that, ends the handlers that still run, as far as the consumer is concerned."""
        if self._ending is not None:
            self._call_soon(self._ending.cancel)

    def _call_soon(self, function: Callable[[], object]) -> None:
        if self._caller is not None and not self._caller.is_inherited:
            self._caller.call_soon(function)

    def raise_its_error(self) -> None:
        """Raises what ended it, if it was an error."""
        if self._ending is not None and not self._ending.cancelled() and (error := self._ending.result()) is not None:
            raise error


async def end_of(consumer: Consumer) -> BaseException | None:
    """The exception that it ends with; in the event loop, a ``KeyboardInterrupt`` would end that."""
    try:
        await consumer
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return error
    return None
