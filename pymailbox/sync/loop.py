"""Calls of coroutines from threads that have no event loop.

All of ``pymailbox.sync`` shares one event loop, which a daemon thread runs. To hand each call to that thread, and to be
woken by it, would take several times as long as most verbs. So only one thread at a time has the *baton*: the loop's
own thread gives it up while it waits in its selector, and a caller that finds it free takes the first step of its
coroutine in its own thread, as the loop would. Most verbs are done then. If not, the loop's thread takes the other
steps, and while the baton is taken the first one too: calls of many threads come together there, and share commits.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import inspect
import logging
import os
import selectors
import threading
from asyncio import _get_running_loop, _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from threading import get_ident
from typing import Any, Final, Generic, TypeVar

from ..contract.errors import MailboxClosedError, StorageUnavailableError, WrongThreadError
from ..runtime.turns import begin_turn

_T = TypeVar("_T")

Work = Callable[[], Coroutine[Any, Any, _T]]
"""Makes a coroutine; called where the event loop runs."""

_OnLost = Callable[[_T], Coroutine[Any, Any, object]]

_END: Final = 5.0
"""Seconds that a call which was interrupted, or the end of the process, waits for what is still under way."""

SIGNAL_CHECK: Final = 0.2
"""Seconds after which the main thread looks for signals while it waits: one that came just before does not wake it, and
on Windows none does."""

_NOT_BEGUN: Final = (inspect.CORO_CREATED, inspect.CORO_CLOSED)

_logger = logging.getLogger("pymailbox")

_generation = 0
"""How many forks are between the process that imported this and this one."""


class Call(Generic[_T]):
    """A coroutine that one thread waits for. All but ``wait`` and ``outcome`` is for whoever runs the event loop.

    An exception from a signal handler may be raised between any two steps of what the waiting thread does; ``abandon``
    then finds out how far it had got.
    """

    __slots__ = ("_abandoned", "_context", "_coroutine", "_error", "_finished", "_on_lost", "_task", "_work", "done")

    def __init__(self, work: Work[_T]) -> None:
        self._work: Work[_T] | None = work
        self._on_lost: _OnLost[_T] | None = None
        self._context: contextvars.Context | None = None
        """The calling thread's, where another one begins it."""
        self._coroutine: Coroutine[Any, Any, _T] | None = None
        self._task: asyncio.Task[_T] | None = None
        self._error: BaseException | None = None
        self._finished: threading.Lock | None = None
        """Released when it is done; there is none if nobody has to wait."""
        self._abandoned = False
        self.done = False
        """Whether its outcome is there."""

    def expect(self) -> None:
        """Prepares for somebody who waits, in the calling thread."""
        self._finished = threading.Lock()
        self._finished.acquire()

    def take_context(self) -> None:
        """Notes the calling thread's, for whoever begins it."""
        self._context = contextvars.copy_context()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Makes it a task of the loop."""
        if self._abandoned:
            return
        try:
            assert self._context is not None
            self._task = loop.create_task(self._context.run(self._make), context=self._context)
        except BaseException as error:  # an argument is invalid
            self._error = error
            self._finish()
        else:
            self._task.add_done_callback(self._on_done)

    def begin_now(self, loop: SharedLoop) -> None:
        """The same, and takes its first step."""
        task = self._task = loop.captured_task(self._make())
        loop.run_captured()
        if task.done():
            self.done = True
        else:
            self.expect()
            task.add_done_callback(self._on_done)

    def _make(self) -> Coroutine[Any, Any, _T]:
        work, self._work = self._work, None  # nothing that it refers to is kept alive by a call that is over
        assert work is not None
        coroutine = self._coroutine = work()
        return coroutine

    def _on_done(self, task: asyncio.Task[_T]) -> None:
        if self._abandoned:
            self._give_back()
        self._finish()

    def _finish(self) -> None:
        self.done = True
        if self._finished is not None:
            self._finished.release()

    def wait(self, timeout: float = -1) -> None:
        """Waits for the outcome; an exception from a signal handler ends this."""
        if self.done or self._finished is None:
            return
        if timeout < 0 and get_ident() == threading.main_thread().ident:
            while not self._finished.acquire(timeout=SIGNAL_CHECK):
                pass
        else:
            self._finished.acquire(timeout=timeout)

    def outcome(self) -> _T:
        """Its result or its exception, when it is done."""
        if self._error is not None:
            raise self._error
        assert self._task is not None
        return self._task.result()

    def abandon(self, on_lost: _OnLost[_T] | None) -> None:
        """Nobody wants the outcome any more: cancels it, or undoes what came of it."""
        self._abandoned, self._on_lost = True, on_lost
        coroutine, task = self._coroutine, self._task
        if coroutine is not None and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED and self._is_captured:
            coroutine.close()  # its first step was not taken, and never will be
            self._finish()
        elif task is None:
            if not self.done:  # it has not begun
                self._finish()
        elif not task.cancel():
            self._give_back()

    @property
    def _is_captured(self) -> bool:
        """Whether the loop knows nothing of it: its first step was for the calling thread to take."""
        return self._finished is None

    def _give_back(self) -> None:
        task, on_lost, self._on_lost = self._task, self._on_lost, None
        if task is not None and not task.cancelled() and task.exception() is None and on_lost is not None:
            _keep(task.get_loop().create_task(_logged(on_lost(task.result()))))


_kept: set[asyncio.Task[None]] = set()
"""Tasks that nobody waits for."""


def _keep(task: asyncio.Task[None]) -> None:
    _kept.add(task)
    task.add_done_callback(_kept.discard)


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except MailboxClosedError:
        pass  # which has given everything back
    except Exception:
        _logger.exception("what a call or an iterator had taken, and nobody got, could not be given back")


class Caller:
    """Runs coroutines in an event loop, for other threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.generation = _generation
        self._ending = False
        """Whether the process is ending."""

    @property
    def is_inherited(self) -> bool:
        """Whether the process that has the loop has been forked, and this is the child."""
        return self.generation != _generation

    def run(self, work: Work[_T], on_lost: _OnLost[_T] | None = None) -> _T:
        """Runs a coroutine and waits for it.

        If an exception from a signal handler (``KeyboardInterrupt``) ends the wait, the coroutine is cancelled; if it
        had a result by then, that goes to ``on_lost``.

        Raises:
            WrongThreadError: this thread runs the event loop at this moment: it would wait for itself.
        """
        call = Call(work)
        try:
            self._begin(call)
            call.wait()
            return call.outcome()
        except (MailboxClosedError, asyncio.CancelledError):
            if self._ending and threading.current_thread() is not threading.main_thread():
                threading.Event().wait()  # a daemon: it is about to be stopped wherever it is
            raise
        except BaseException as error:
            if not call.done or not isinstance(error, Exception):
                self._abandon(call, on_lost)
            raise

    def start(self, work: Work[object]) -> None:
        """Runs a coroutine, before whatever is called after this, and does not wait. For finalisers too."""
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(lambda: _keep(self.loop.create_task(_logged(work()))))

    def call_soon(self, function: Callable[[], object]) -> None:
        """Calls a function where the event loop runs, and does not wait."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(function)

    def _begin(self, call: Call[Any]) -> None:
        if _get_running_loop() is self.loop:
            raise self._would_wait_for_itself()
        self._hand_over(call)

    def _hand_over(self, call: Call[Any]) -> None:
        call.expect()
        call.take_context()
        try:
            self.loop.call_soon_threadsafe(call.begin, self.loop)
        except RuntimeError as error:
            raise StorageUnavailableError("this process is ending, and takes no more calls") from error

    def _abandon(self, call: Call[_T], on_lost: _OnLost[_T] | None) -> None:
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(call.abandon, on_lost)
            call.wait(_END)

    def _would_wait_for_itself(self) -> WrongThreadError:
        return WrongThreadError(
            "a verb of pymailbox.sync was called where the event loop runs: in a depth observer or an async "
            "function. It would wait for itself. Call it in a thread of its own"
        )


class _Selector(selectors.DefaultSelector):
    """Gives the baton up while it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.baton = threading.Lock()
        self.wants_baton = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.baton.release()
        try:
            return super().select(timeout)
        finally:
            self.wants_baton = True  # so that callers who are quicker do not keep it for ever
            self.baton.acquire()
            self.wants_baton = False


class SharedLoop(asyncio.SelectorEventLoop):
    """An event loop whose first steps of tasks other threads may take, while they have the baton."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        self.selector = selector
        self._process = os.getpid()
        self._nobodys = asyncio.Handle(_nothing, (), self)
        self.captures = False
        """Whether the next thing that is scheduled is kept for ``run_captured``."""
        self._captured: tuple[Callable[..., object], tuple[Any, ...], contextvars.Context | None] | None = None
        self.has_work = False
        """Whether something was scheduled since it was last set to False."""

    def captured_task(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """A task whose first step is left to ``run_captured``."""
        self._captured, self.captures = None, True
        task = asyncio.Task(coroutine, loop=self)
        self.captures = False
        return task

    def run_captured(self) -> None:
        """Takes that step."""
        captured, self._captured = self._captured, None
        if captured is not None:
            callback, arguments, context = captured
            if context is None:
                callback(*arguments)
            else:
                context.run(callback, *arguments)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if self.captures:
            self.captures, self._captured = False, (callback, args, context)
            return self._nobodys  # tasks do not look at it
        self.has_work = True
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        self.has_work = True
        return super().call_at(when, callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        task = context.get("task")
        coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
        # a pending one that is destroyed: an exception from a signal handler came before its first step
        if not inspect.iscoroutine(coroutine) or inspect.getcoroutinestate(coroutine) not in _NOT_BEGUN:
            super().call_exception_handler(context)

    def __del__(self, _warn: Any = None) -> None:
        if not self.is_closed() and os.getpid() == self._process:  # it is its parent's in a forked child
            super().__del__()


class SharedCaller(Caller):
    """The one event loop of ``pymailbox.sync``, with its thread."""

    loop: SharedLoop

    def __init__(self) -> None:
        super().__init__(SharedLoop())
        self._selector = self.loop.selector
        self._baton = self._selector.baton
        self._stopped = False
        self._stepping: int | None = None
        """The thread that takes a first step."""
        self._starts: deque[Work[object]] = deque()
        """What was started and has not begun: no later call may overtake it."""
        self._thread = threading.Thread(target=self._work, name="pymailbox.sync", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise StorageUnavailableError(
                f"the thread that pymailbox.sync works in cannot be started ({error}). End other threads first"
            ) from error

    def _work(self) -> None:
        with self._baton:
            while not self._stopped:
                try:
                    self.loop.run_forever()
                except BaseException:  # SystemExit out of a callback, for example
                    _logger.exception("an exception got out of the event loop of pymailbox.sync, which goes on")

    def start(self, work: Work[object]) -> None:
        self._starts.append(work)
        self.call_soon(self._begin_what_was_started)

    def _begin_what_was_started(self) -> None:
        while self._starts:
            try:
                _keep(self.loop.captured_task(_logged(self._starts[0]())))
                self.loop.run_captured()
            finally:
                self._starts.popleft()

    def _begin(self, call: Call[Any]) -> None:
        loop, me = self.loop, get_ident()
        if me in (self._thread.ident, self._stepping):
            raise self._would_wait_for_itself()
        if (
            self._baton.locked()
            or self._selector.wants_baton
            or self._starts
            or not loop.is_running()
            or _get_running_loop() is not None  # somebody else's, of which this is a blocking call
            or loop.get_debug()  # which would notice that this is another thread
        ):
            self._hand_over(call)
            return
        try:
            with self._baton:
                try:
                    self._stepping = me
                    loop.has_work = False
                    begin_turn()  # the loop's own thread sees to its tasks
                    _set_running_loop(loop)
                    call.begin_now(loop)
                finally:
                    self._put_back(call)
        except BaseException:  # an exception from a signal handler may have kept that from its end
            self._put_back(call)
            raise

    def _put_back(self, call: Call[Any]) -> None:
        """Leaves this thread and the loop as they were before a first step."""
        loop = self.loop
        loop.captures = False
        _set_running_loop(None)
        self._stepping = None
        if loop.has_work or not call.done:
            loop.call_soon_threadsafe(_nothing)

    def end(self, closing: Work[object]) -> None:
        """Runs a last coroutine, for a few seconds at most, and then ends the loop and its thread."""

        async def close() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_END):
                    await closing()
                    # consumers of what is closed, for example, which end a few turns later
                    while left := asyncio.all_tasks() - {asyncio.current_task()}:
                        for task in left:
                            task.cancel()
                        await asyncio.wait(left)

        self._ending = True
        with suppress(Exception):
            self.run(close)
        self._stopped = True
        self.call_soon(self.loop.stop)
        self._thread.join(_END)
        if not self._thread.is_alive():
            self.loop.close()


def _nothing() -> None:
    """Wakes the loop."""


_lock = threading.Lock()
_current: SharedCaller | None = None
_inherited: list[object] = []
"""What a forked process got of its parent and must not touch."""

_closing: Work[object] | None = None


def shared_caller(closing: Work[object]) -> SharedCaller:
    """The one of this process; ``closing`` is what is left to do when the process ends."""
    global _current, _closing
    with _lock:
        if _current is None:
            _current = SharedCaller()
            if _closing is None:
                atexit.register(_end)
            _closing = closing
        return _current


def _end() -> None:
    global _current
    caller, _current = _current, None
    if caller is not None and _closing is not None:
        caller.end(_closing)


def _forget() -> None:
    """In a forked process: the thread is not there, and somebody may have held the lock."""
    global _current, _lock, _generation
    _generation += 1
    _lock = threading.Lock()
    _inherited.append(_current)
    _kept.clear()
    _current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
