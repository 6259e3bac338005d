"""A SQLite file as this process shares it: one connection and one thread for all handles on it.

Calls wait in a queue. The thread takes all that have arrived and commits them together, so many callers share the cost
of one write to the disk, while a single one waits for nobody. Between calls it watches: see ``watcher``. In Pyodide,
where no thread can start, every call runs at once.

Elsewhere a call that touches few messages may run inline, in its caller's thread: that takes less time than waking the
thread and being woken by it. It does so only while nothing else is going on: no call is under way, the last commit was
not shared, and there is no need to wait for another program or a write to the disk. It writes to the system's cache,
and reads from there what has just been stored; if that turns out to be slow, such calls go to the thread for a while.
Every ``TURN`` the event loop gets a turn; calls made during it go to the thread, so that they share commits, and so
does one call every ``_INLINE_PERIOD``.

For a call that has to be on the disk, everything but the commit is done inline, under the same conditions. The thread
does the commit, but the caller waits a moment for it without suspending (``_DISK_WAIT``), since most disks are quicker
than waking an event loop.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from ...contract.errors import StorageUnavailableError
from ...contract.location import IN_PYODIDE
from ...runtime.turns import take_turn, turn_is_due
from ..notifier import Notifier
from . import locks
from .engine import Access, Call, Engine
from .liveness import Holder, Liveness
from .session import Session
from .watcher import WATCH_INTERVAL, Watcher

_T = TypeVar("_T")

_logger = logging.getLogger("pymailbox")


_DURABLE_WRITE = Access.DURABLE_WRITE

_CALLS_IN_A_COMMIT = 1000
"""The most calls in one commit: uncommitted writes take memory, and other processes wait for them."""

_INLINE_SLOW = 0.004
"""Seconds that inline calls may take on average; a single one may be slow because the machine is busy."""

_DISK_WAIT_BACKOFF = 0.1
"""Seconds during which no caller waits for a disk that was mostly too slow; after that, two slow writes suffice."""

_INLINE_STALL = 0.016
"""Seconds that any longer call counts as in that average."""

_AVERAGED = 16
"""About how many calls the average covers."""

_INLINE_BACKOFF = 1.0
"""Seconds during which no call runs inline after that was too slow."""

_DISK_WAIT = 0.0005
"""Seconds that an event loop waits for the disk."""

_MOST_MISSES = 16.0
"""How many recent waits may have been too short, about every other one, before no caller waits for a while."""

_INLINE_PERIOD = 0.1
"""Seconds after which a call goes to the thread in any case, since the thread keeps the log and the file small."""

_REDELIVERY = 1.0
"""Seconds after which a call's outcome is delivered again, if the caller's event loop has not passed it on."""


class Database:
    """A file that handles of this process have open: from the first ``acquire`` until each has had its ``release``."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.notifier = Notifier()
        self.liveness = Liveness(file)
        self.engine = Engine(file, self.liveness.locks)
        self.engine.on_changed = self.notifier.changed
        self._users = 0
        watcher = Watcher(self.engine, self.notifier, self.liveness, self._on_gone)
        self._worker: _Worker = (_InlineWorker if IN_PYODIDE else _ThreadWorker)(self.engine, watcher, self.liveness)

    @staticmethod
    def acquire(file: str) -> Database:
        """The one database of a file; it is opened and checked when its first call runs."""
        path = os.path.realpath(file)
        with _registry.lock:
            database = _registry.databases.get(path)
            if database is None:
                database = _registry.databases[path] = Database(path)
                _registry.workers.add(database._worker)
            database._users += 1
        return database

    async def run(
        self,
        operation: Callable[[Session], _T],
        access: Access,
        on_commit: Callable[[_T], None] | None = None,
        inline_ok: bool = False,
    ) -> _T:
        """Runs a call. Calls run in the order in which they are made; this one takes its place at once.

        If it is cancelled, or interrupted by an exception from a signal handler, the call has run or still will;
        anything started after it runs after it. After its commit ``on_commit`` gets its result, cancelled or not, in
        the thread that ran it. With ``inline_ok`` the call may run in the caller's thread; the caller is then not
        suspended, unless the event loop is due for a turn.
        """
        loop = asyncio.get_running_loop()
        call = Call(operation, access, None, on_commit, inline_ok)
        try:
            if inline_ok and self._worker.run_inline(call, loop):
                if call.error is not None:
                    raise call.error
                if turn_is_due():
                    await self._worker.take_turn()
                result: _T = call.result
                return result
        except BaseException:
            # as if it had been in the queue already
            if self._worker.has(call):
                self._worker.wake()
            elif not call.ran and call.error is None:
                self._worker.put(call)
            raise
        future: asyncio.Future[_T] | None = call.future
        if future is None:
            future = call.future = loop.create_future()
            self._worker.put(call)
        return await future

    def work_between_calls(self, work: Callable[[Engine], _T]) -> _T:
        """Has the engine to itself for a short while, between two calls. Not for threads that run event loops."""
        with self._worker.works():
            return work(self.engine)

    @property
    def keeps_loop(self) -> bool:
        """Whether ``run`` never suspends."""
        return self._worker.keeps_loop

    def start(self, operation: Callable[[Session], _T], access: Access, on_commit: Callable[[_T], None]) -> None:
        """As ``run``, for a caller that does not wait."""
        self._worker.put(Call(operation, access, None, on_commit))

    def watch(self) -> None:
        """To be called when somebody has begun to listen."""
        self._worker.wake()

    async def release(self, holder: Holder | None = None) -> None:
        """Gives up one ``acquire``; after the last one, and after all calls, the file is closed."""
        if (holder is None or self.liveness.remove(holder)) and self._is_left_by_the_last():
            await self._worker.stop()

    def release_soon(self, holder: Holder | None = None) -> None:
        """As ``release``, for a caller that cannot wait: its coroutine may be ending."""
        if (holder is None or self.liveness.remove(holder)) and self._is_left_by_the_last():
            self._worker.stop_soon()

    def abandon(self, holder: Holder) -> None:
        """Gives up one ``acquire`` for a handle that was collected; takes no lock, for a finaliser on any thread."""
        self.liveness.abandon(holder)
        self._worker.wake()

    def _on_gone(self, holder: Holder) -> None:
        """Called by the watcher, which has removed a handle that is gone and did not release."""
        self.release_soon()

    def _is_left_by_the_last(self) -> bool:
        with _registry.lock:
            self._users -= 1
            if self._users:
                return False
            if _registry.databases.get(self.file) is self:
                del _registry.databases[self.file]
            return True


class _Worker(ABC):
    """Runs the calls of one file."""

    keeps_loop = False
    """Whether a call blocks its event loop until it has run."""

    def __init__(self, engine: Engine, watcher: Watcher, liveness: Liveness) -> None:
        self.engine = engine
        self.watcher = watcher
        self.liveness = liveness
        self.lock = threading.Lock()
        """Held while the engine works for the worker or must not work."""
        self._paused = False
        self._counting = threading.Lock()
        """Taken before taking the lock, and held by an inline call, which never waits for the holder of the lock.

        Those calls take it with a plain ``with``: a signal handler may raise between any two steps, and no lock must
        stay held then.
        """

    @abstractmethod
    def put(self, call: Call) -> None:
        """Takes a call; its outcome comes through its future."""

    def has(self, call: Call) -> bool:
        """Whether a call is in the queue and has not run yet. When it has left the queue, its outcome is set."""
        return False

    def run_inline(self, call: Call, loop: asyncio.AbstractEventLoop) -> bool:
        """Runs a call before returning, if that needs no wait, or only a moment's wait for the disk. False if it has
        not run: then it already has a future, or nothing was done.
        """
        return False

    async def take_turn(self) -> None:
        """Gives the event loop a turn."""
        await take_turn()

    @abstractmethod
    def wake(self) -> None:
        """Makes the watcher poll at once, or with the next call. May run in a finaliser."""

    @abstractmethod
    async def stop(self) -> None:
        """Returns when all calls have run and the file is closed; nothing may be put in the queue after it."""

    @abstractmethod
    def stop_soon(self) -> None:
        """As ``stop``, without waiting for it."""

    @contextmanager
    def works(self) -> Iterator[None]:
        """Keeps all others away from the engine. Not for threads that run signal handlers."""
        with self._counting:
            self.lock.acquire()
        try:
            yield
        finally:
            self.lock.release()

    def pause(self) -> None:
        """Closes the file, and keeps it closed until ``go_on``. If interrupted, it can be called again."""
        if not self._paused:
            with self._counting:
                self._paused = self.lock.acquire()
        self.engine.close()

    def go_on(self) -> None:
        if self._paused:
            self._paused = False
            self.lock.release()

    def reap(self) -> None:
        """When the process ends, takes back what its gone handles held."""
        if self.liveness.gone():
            with self._counting, self.lock:  # as ``works``, where a signal handler may raise
                self.watcher.find_gone()
            self.watcher.report_gone()

    def _close(self) -> None:
        with self.works():
            self.engine.close()
            self.liveness.close()
        with _registry.lock:  # never while the other one is held: a fork takes them in this order
            _registry.workers.discard(self)


class _InlineWorker(_Worker):
    """Runs each call at once."""

    keeps_loop = True

    def put(self, call: Call) -> None:
        self.watcher.reap()
        self.engine.run([call])
        call.notify()
        call.resolve()

    def wake(self) -> None:
        pass  # the next call reaps

    async def stop(self) -> None:
        self._close()

    def stop_soon(self) -> None:
        self._close()


class _ThreadWorker(_Worker):
    """Runs calls in a thread; those that wait together share a transaction."""

    def __init__(self, engine: Engine, watcher: Watcher, liveness: Liveness) -> None:
        super().__init__(engine, watcher, liveness)
        self._calls: deque[Call] = deque()
        """Calls that have not run yet."""
        self._alarm: SimpleQueue[None] = SimpleQueue()
        """Wakes the thread: something was put in the queue."""
        self._stopped: deque[asyncio.Future[None]] = deque()
        """Futures of callers that wait for the end."""
        self._stops = False
        self._delivered: list[weakref.ref[Call]] = []
        """Calls whose outcome was delivered but may not have been noticed; callers that still wait keep them alive."""
        self._deliver_again_at = 0.0
        self._served: asyncio.AbstractEventLoop | None = None
        """The loop whose call was the last one in the thread: it has had its turn."""
        self._inline_until = self._not_inline_until = self._average = 0.0
        self._wakes_at = 0.0
        """When the thread polls next if no call arrives."""
        self._resting: list[object] = []
        """Inline calls that are giving their event loop its turn."""
        self._missed = 0.0
        """How often the wait for the disk has been too short lately."""
        self._no_disk_wait_until = 0.0
        try:
            # a daemon: a handle that nobody closed must not keep the interpreter from exiting
            threading.Thread(target=self._work, name=f"pymailbox {engine.file}", daemon=True).start()
        except RuntimeError as error:
            raise StorageUnavailableError(
                f"the mailbox file {engine.file}: the thread that works on it cannot be started ({error}). In an "
                "isolated subinterpreter none can: open the mailbox in the main interpreter. Otherwise end other "
                "threads first"
            ) from error

    @property
    def _under_way(self) -> int:
        """Calls that were put and have not run yet."""
        return len(self._calls)

    def put(self, call: Call) -> None:
        self._calls.append(call)
        self._alarm.put(None)

    def has(self, call: Call) -> bool:
        return call in self._calls

    def run_inline(self, call: Call, loop: asyncio.AbstractEventLoop) -> bool:
        start = time.monotonic()
        if start > self._inline_until or loop is not self._served or self._resting:
            return False
        waits = call.access is _DURABLE_WRITE
        if waits and start < self._no_disk_wait_until:
            return False
        engine = self.engine
        with self._counting:
            # no other call of this loop arrives meanwhile; for those of other loops the order does not matter
            if self.lock.locked() or self._calls or self._stops:
                return False
            others_committed, engine.unannounced = engine.unannounced, True
            if not engine.run_inline(call):
                engine.unannounced = others_committed
                return False
            if waits:
                call.waiter = threading.Lock()
                call.waiter.acquire()
                self.put(call)
            else:
                call.notify()  # if a signal handler prevents this, the watcher does it
            engine.unannounced = others_committed
        now = time.monotonic()
        self._average += (min(now - start, _INLINE_STALL) - self._average) / _AVERAGED
        if self._average > _INLINE_SLOW:
            self._average, self._inline_until, self._not_inline_until = 0.0, 0.0, now + _INLINE_BACKOFF
        if waits:
            return self._wait_for_disk(call, loop, now)
        # a waiter begins to listen with a call like this one; everything else to be watched began in the thread
        if self.watcher.listens:
            timeout = self.watcher.timeout()
            if timeout is not None and now + timeout < self._wakes_at - WATCH_INTERVAL / 2:
                self._wakes_at = 0.0
                self.wake()
        return True

    def _wait_for_disk(self, call: Call, loop: asyncio.AbstractEventLoop, now: float) -> bool:
        """Whether the thread has committed a call within a moment; otherwise the call has a future."""
        assert call.waiter is not None
        if call.waiter.acquire(timeout=_DISK_WAIT):
            self._missed *= 1 - 1 / _AVERAGED
            call.delivered = True
            return True
        self._missed += 1
        if self._missed > _MOST_MISSES:
            self._missed, self._no_disk_wait_until = _MOST_MISSES - 1, now + _DISK_WAIT_BACKOFF
        call.future = loop.create_future()
        call.delivered = call.done  # if so, the thread may not have seen the future
        return call.delivered

    async def take_turn(self) -> None:
        resting = object()
        try:
            self._resting.append(resting)
            await super().take_turn()
        finally:
            if resting in self._resting:  # otherwise a signal handler raised before that
                self._resting.remove(resting)

    def wake(self) -> None:
        self._alarm.put(None)

    async def stop(self) -> None:
        stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopped.append(stopped)
        self.stop_soon()
        await stopped

    def stop_soon(self) -> None:
        self._stops = True
        self._alarm.put(None)

    def _work(self) -> None:
        while self._calls or not self._stops:
            self._wait()
            ran = self._run_what_waits()
            if not ran or self.watcher.is_late or self.liveness.some_abandoned:
                self._watch()
            self._deliver_again()
        self._close()
        for stopped in self._stopped:
            _call_in(stopped.get_loop(), _finish, stopped)

    def _wait(self) -> None:
        """Until something arrives or it is time to poll."""
        timeout = self.watcher.timeout()
        if self._delivered:
            timeout = min(_REDELIVERY, math.inf if timeout is None else timeout)
        self._wakes_at = math.inf if timeout is None else time.monotonic() + timeout
        with suppress(Empty):
            if not self._calls:
                self._alarm.get(timeout=timeout)
            while not self._alarm.empty():
                self._alarm.get_nowait()

    def _run_what_waits(self) -> bool:
        """Commits what has arrived; returns whether there was anything."""
        calls = [self._calls[index] for index in range(min(len(self._calls), _CALLS_IN_A_COMMIT))]
        if not calls:
            if self.engine.has_prepared:  # by a caller that a signal handler kept from putting it
                with self.works():
                    if not self._calls:
                        self.engine.drop_prepared()
            return False
        with self._counting:  # as ``works``, in less time
            self.lock.acquire()
        try:
            self.engine.run(calls)
            for _ in calls:
                self._calls.popleft()
        finally:
            self.lock.release()
        now = time.monotonic()
        for call in calls:
            call.notify()
            call.done = True
        if len(calls) == 1 and calls[0].waiter is not None and calls[0].future is None:
            calls[0].waiter.release()  # its event loop has not had its turn
            if calls[0].future is None:
                return True
        for call in calls:
            if call.waiter is not None and call.future is None:
                call.waiter.release()
        future = calls[-1].future
        self._served = None if future is None else future.get_loop()
        # if several call at a time, sharing commits is cheaper
        alone = len(calls) == 1 and now > self._not_inline_until
        self._inline_until = now + _INLINE_PERIOD if alone else 0.0
        _deliver(call for call in calls if call.waiter is None or call.future is not None)  # the others see it
        if not self._delivered:
            self._deliver_again_at = now + _REDELIVERY
        self._delivered += map(weakref.ref, calls)
        self._delivered = list(map(weakref.ref, _undelivered(self._delivered)))
        return True

    def _deliver_again(self) -> None:
        """An exception from a signal handler may have kept an event loop from passing an outcome on."""
        now = time.monotonic()
        if self._delivered and now >= self._deliver_again_at:
            self._deliver_again_at = now + _REDELIVERY
            calls = _undelivered(self._delivered)
            self._delivered = list(map(weakref.ref, calls))
            _deliver(call for call in calls if call.future and call.future.get_loop().is_running())

    def _watch(self) -> None:
        try:
            with self.works():
                self.watcher.poll()
            self.watcher.report_gone()
        except Exception:  # whatever it is, calls must go on
            _logger.exception("watching %s failed", self.engine.file)


def _undelivered(calls: Iterable[weakref.ref[Call]]) -> list[Call]:
    """Those whose callers are still waiting."""
    return [
        call
        for reference in calls
        if (call := reference()) and (future := call.future) and not (future.done() or future.get_loop().is_closed())
    ]


def _deliver(calls: Iterable[Call]) -> None:
    """Wakes each event loop once for all of its calls."""
    by_loop: defaultdict[asyncio.AbstractEventLoop | None, list[Call]] = defaultdict(list)
    for call in calls:
        by_loop[call.future.get_loop() if call.future else None].append(call)
    for loop, its_calls in by_loop.items():
        if loop is None:
            _resolve(its_calls)
        else:
            _call_in(loop, _resolve, its_calls)


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[_T], None], argument: _T) -> None:
    with suppress(RuntimeError):  # nobody waits in a closed loop
        loop.call_soon_threadsafe(function, argument)


def _resolve(calls: Iterable[Call]) -> None:
    for call in calls:
        call.resolve()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Pausable(Protocol):
    """Something that may have a connection, but has none while the process forks."""

    def pause(self) -> None:
        """Closes it, and keeps it closed until ``go_on``. If interrupted, it can be called again."""

    def go_on(self) -> None: ...


@contextmanager
def closed_in_forks(pausable: _Pausable) -> Iterator[None]:
    """Keeps it paused while this process forks. Must not be entered by anything that a pause waits for."""
    with _registry.lock:
        _registry.others.add(pausable)
    try:
        yield
    finally:
        with _registry.lock:
            _registry.others.discard(pausable)


class _Registry:
    """What this process has open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.databases: dict[str, Database] = {}
        """By resolved path."""
        self.workers: set[_Worker] = set()
        """Those that may have a connection."""
        self.others: set[_Pausable] = set()
        """Anything else that may have one."""


_registry = _Registry()


def _before_fork() -> None:
    """Closes all connections; calls reopen them. In a child that inherits one, even unused, SQLite takes the parent's
    locks for its own, and commits can be lost.
    """
    _registry.lock.acquire()
    for worker in (*_registry.workers, *_registry.others):
        paused = False
        while not paused:
            with suppress(BaseException):  # from a signal handler; the fork would happen anyway
                worker.pause()
                paused = True


def _after_fork_in_parent() -> None:
    for worker in (*_registry.workers, *_registry.others):
        worker.go_on()
    _registry.lock.release()


def _after_fork_in_child() -> None:
    global _registry
    _registry = _Registry()
    locks.forget_all()


def _reap_all() -> None:
    """When the process ends: releases what handles held whose event loop was closed just before."""
    for worker in list(_registry.workers):
        try:
            worker.reap()
        except Exception:
            _logger.exception("what some handles on %s held will come back as after a crash", worker.engine.file)


atexit.register(_reap_all)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
