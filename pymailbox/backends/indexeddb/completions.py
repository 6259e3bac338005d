"""How a task waits for the outcome of its call into the engine; ``js/api/dispatcher.js`` is the other end.

A waiting task resumes within the call in which the engine delivers completions, not a turn of the event loop later.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, _get_running_loop, current_task
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from itertools import count
from typing import Any, Final, NamedTuple

from ...contract.location import IN_PYODIDE
from ...runtime.suspension import suspension_is_wanted
from .loader import error_of

if IN_PYODIDE:
    from pyodide.ffi import can_run_sync
else:

    def can_run_sync() -> bool:
        return False


_ONE: Final = -1
"""Stands for the length of a value that is not an array; as in JavaScript."""

_LONG: Final = -2
"""Stands for the length of an array that is passed whole."""

_EACH: Final = -3
"""Used if calls that crossed together have all succeeded and their outcomes come together."""

_SHARED: Final = 64 * 1024
"""Bytes of the memory that both ends share to pass data, in either direction; larger data is passed separately."""

_LARGEST_COLLECTED: Final = 64 * 1024
"""The most bytes of a call that crosses together with others."""

_MOST_COLLECTED: Final = 1000
"""The most calls that cross together."""

_Callback = Callable[[Any], object]

Convert = Callable[[Any], Any]

CallFuture = Future[Any]
"""The outcome of a call, or its error. Only its completion does not go through the event loop."""

Cross = Callable[[int, list[bytes]], None]
"""Makes the collected calls; their ids count up from the first."""


def held_by_claim(value: Any) -> Any:
    """The outcome of a claim, unconverted; if it was cancelled at that moment, see ``Completions.end_of_claim``."""
    return value


class _Collected(NamedTuple):
    """Calls that cross together, each with an id and an outcome of its own."""

    cross: Cross
    first_id: int
    parts: list[bytes]


class Completions:
    """The calls of one engine that are under way."""

    def __init__(self) -> None:
        self.js_dispatcher: Any = None
        self._can_suspend = False
        self._suspendable = False
        """Whether the engine calls in a way in which a resuming task can be suspended."""
        self._ids = count()
        self._pending: dict[int, tuple[CallFuture, Convert | None]] = {}
        self._ready: deque[tuple[CallFuture, _Callback, Context]] = deque()
        """Tasks that can resume."""
        self.shared = memoryview(bytearray(_SHARED))
        """Where bytes are passed; they stay until the other end is called or returns."""
        self.going_on = -1
        """The call whose task is resuming; nothing has happened since it completed."""
        self._dropped: dict[int, Any] = {}
        """Outcomes of cancelled claims, until their tasks notice the cancellation."""
        self.collecting = False
        """Whether the outcomes of several calls are being delivered; each of their tasks may then make another."""
        self._collected: _Collected | None = None

    def connect(self, js_engine: Any) -> None:
        from pyodide.ffi import create_proxy, to_js

        self._to_js = to_js
        self._js_engine = js_engine  # an id is reused when its object is gone
        self.js_dispatcher = js_engine.newDispatcher(
            create_proxy(self.on_completions), create_proxy(self.on_completion), create_proxy(self.shared)
        )
        self._can_suspend = self.js_dispatcher.canSuspend

    def begin(self, convert: Convert | None = None) -> tuple[int, CallFuture]:
        """A call that is about to be made: its id, and its outcome, which ``convert`` turns into Python's values."""
        if self._collected is not None:
            self._cross()
        call_id = next(self._ids)
        future: CallFuture = Future()
        self._pending[call_id] = future, convert
        return call_id, future

    def collect(self, cross: Cross, part: bytes, convert: Convert | None = None) -> CallFuture | None:
        """As ``begin``, for a call that ``cross`` makes together with others, before any other call is made.

        None if it has to be made separately.
        """
        if not self.collecting or len(part) > _LARGEST_COLLECTED:
            return None
        collected = self._collected
        if collected is not None and (collected.cross != cross or len(collected.parts) == _MOST_COLLECTED):
            self._cross()
            collected = None
        call_id = next(self._ids)
        if collected is None:
            collected = self._collected = _Collected(cross, call_id, [])
        collected.parts.append(part)
        future: CallFuture = Future()
        self._pending[call_id] = future, convert
        return future

    def _cross(self) -> None:
        """Makes the collected calls."""
        collected, self._collected = self._collected, None
        if collected is None:
            return
        try:
            collected.cross(collected.first_id, collected.parts)
        except Exception as error:  # an error of those calls, not of the caller
            for i in range(len(collected.parts)):
                self._end(collected.first_id + i, error, None)
            if self._ready:
                _soon(self._ready[-1][0].get_loop(), self._go_on)

    def forget(self, call_id: int) -> bool:
        """Ignores the outcome of this call; False if that has already been delivered."""
        return self._pending.pop(call_id, None) is not None

    def follow(self, js_promise: Any) -> CallFuture:
        """The outcome of one of the engine's promises."""
        call_id, future = self.begin()
        self.js_dispatcher.follow(call_id, js_promise)
        return future

    def run(self, js_function: Any, *js_args: Any) -> CallFuture:
        """The outcome of one of the engine's functions. If it were called from here, its promise would become a Python
        future."""
        call_id, future = self.begin()
        self.js_dispatcher.run(call_id, js_function, *js_args)
        return future

    def begin_with(self, data: bytes, convert: Convert | None = None) -> tuple[int, CallFuture, Any]:
        """As ``begin``, for a call that takes bytes; also returns how many are in the shared memory, or the bytes.

        No other call may be made before it.
        """
        if self._collected is not None:
            self._cross()  # it needs the same memory
        size: Any = len(data)
        if size > _SHARED:
            size = self._to_js(data)
        else:
            self.shared[:size] = data
        call_id = next(self._ids)
        future: CallFuture = Future()
        self._pending[call_id] = future, convert
        return call_id, future, size

    def end_of_claim(self, call_id: int, future: CallFuture) -> Any:
        """The outcome of a cancelled claim; None if there is none yet, in which case it will be ignored."""
        if self.forget(call_id):
            return None
        if call_id in self._dropped:
            return self._dropped.pop(call_id)
        return None if future.cancelled() or future.exception() is not None else future.result()

    def on_completion(self, call_id: int, size: int, value: Any, more: int = 0) -> bool:
        """As ``on_completions``, for one call that did not fail, with its bytes in the shared memory."""
        if self._can_suspend and suspension_is_wanted() is not self._suspendable and self._changes_way():
            return True
        if size >= 0:
            value = bytes(self.shared[:size]), value, more
        future, convert = self._pending.get(call_id, _NOBODY)
        if (
            future is None
            or self._ready  # they continue first
            or (convert is not None and convert is not held_by_claim)
            or len(callbacks := future._callbacks or []) != 1
            or _get_running_loop() is not (loop := future.get_loop())
            or current_task(loop) is not None
        ):
            self._end(call_id, None, value)
            self._go_on()
            return False
        del self._pending[call_id]
        ((fn, context),) = callbacks
        future.remove_done_callback(fn)
        future.set_result(value)
        self.going_on = call_id
        # what is in this frame would keep an error alive
        del callbacks, loop, value
        try:
            context.run(fn, future)
        except BaseException as error:
            # the end of the whole program; the loop knows what to do
            _soon(future.get_loop(), _raise, error)
        finally:
            self.going_on = -1
            del future, fn, context
        return False

    def _changes_way(self) -> bool:
        """Changes the way in which the engine calls; returns whether it has to repeat this call in the new way."""
        self.js_dispatcher.suspendable = self._suspendable = not self._suspendable
        return self._suspendable

    def on_completions(self, *completions: Any) -> bool:
        """For the engine: the outcomes of calls; see ``OnCompletions`` there."""
        if self._can_suspend and suspension_is_wanted() is not self._suspendable and self._changes_way():
            return True
        self._complete(completions)
        if len(self._ready) > 1:
            if can_run_sync():
                # a task that is suspended before it ends must not hold up the others
                _soon(self._ready[-1][0].get_loop(), self._go_on)
            else:
                self.collecting = True
        try:
            self._go_on()
        finally:
            self.collecting = False
            self._cross()
        return False

    def _complete(self, completions: tuple[Any, ...]) -> None:
        # in a separate frame, which is gone when tasks resume: in theirs, an error would keep itself alive
        at, end = 0, len(completions)
        while at < end:
            call_id, js_error, length = completions[at : at + 3]
            at += 3
            if length == _EACH:
                data, items = completions[at].to_bytes(), completions[at + 1].to_py()
                at += 2
                size = len(data) // len(items)
                for i, item in enumerate(items):
                    self._end(call_id + i, None, (data[i * size : (i + 1) * size], item, 0))
                continue
            if length < 0:
                value = completions[at]
                at += 1
            else:
                value = completions[at : at + length]
                at += length
            if js_error is not None:
                self._end(call_id, error_of(js_error), None)
            else:
                self._end(call_id, None, value.to_py() if length == _LONG else value)

    def _end(self, call_id: int, error: Exception | None, value: Any) -> None:
        future, convert = self._pending.pop(call_id, _NOBODY)
        if future is None:
            return  # it was forgotten
        if future.done():  # it was cancelled
            if convert is held_by_claim and error is None:
                self._dropped[call_id] = value
            return
        try:
            if error is None and convert is not None:
                value = convert(value)
        except Exception as failure:
            error = failure
        for fn, context in future._callbacks or ():
            future.remove_done_callback(fn)
            self._ready.append((future, fn, context))
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
            future._log_traceback = False  # an error that nobody retrieves need not be logged

    def _go_on(self) -> None:
        while self._ready:
            future, fn, context = self._ready.popleft()
            loop = future.get_loop()
            if _get_running_loop() is not loop or current_task(loop) is not None:
                _soon(loop, fn, future, context=context)
                continue
            try:
                context.run(fn, future)
            except BaseException as error:
                # the end of the whole program; the loop knows what to do
                _soon(loop, _raise, error)
            finally:
                del future, fn, context  # otherwise the traceback of an error would keep it


_NOBODY: Final = (None, None)

_of_engines: dict[int, Completions] = {}
"""By the ids of their JavaScript objects; only tests have more than one engine."""


def completions_of(js_engine: Any) -> Completions:
    completions = _of_engines.get(js_engine.js_id)
    if completions is None:
        completions = _of_engines[js_engine.js_id] = Completions()
        completions.connect(js_engine)
    return completions


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *given: Any, context: Any = None) -> None:
    with suppress(RuntimeError):  # nobody waits in a closed loop
        loop.call_soon(callback, *given, context=context)


def _raise(error: BaseException) -> None:
    raise error
