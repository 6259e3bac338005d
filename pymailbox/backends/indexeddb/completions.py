"""How a task waits for what its call of the engine comes to; ``js/api/dispatcher.js`` is the other end.

Whoever waits goes on within the call in which the engine delivers completions, and not a turn of the event loop later.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, InvalidStateError
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from contextvars import Context, copy_context
from itertools import count
from typing import Any, Final, NamedTuple

from ..._location import IN_PYODIDE
from ..._suspension import suspension_is_wanted
from .engine import error_of

if IN_PYODIDE:
    from pyodide.ffi import can_run_sync
else:

    def can_run_sync() -> bool:
        return False


_ONE: Final = -1
"""What stands for the length of a value that is no array; as in JavaScript."""

_LONG: Final = -2
"""What stands for the length of an array that comes whole."""

_EACH: Final = -3
"""What stands for it where calls that crossed together have all come to something, and that comes together."""

_PENDING: Final = 0
_CANCELLED: Final = 1
_FAILED: Final = 2
_DONE: Final = 3

_LARGEST_BUFFER: Final = 8 * 1024
"""Bytes that are handed over in a buffer which is used again."""

_BUFFERS: Final = 64
"""Buffers that are kept at most."""


_LARGEST_COLLECTED: Final = 64 * 1024
"""Bytes of a call that crosses together with others, at most."""

_MOST_COLLECTED: Final = 1000
"""Calls that cross together at most."""

_Callback = Callable[[Any], object]

Cross = Callable[[int, list[bytes]], None]
"""Makes calls that were collected, of the ids from the first one on."""


class CallFuture:
    """What a call comes to, or its error.

    For asyncio it is as good as its own future, and takes a third of the time: it has what tasks, ``wait_for``,
    ``gather`` and ``shield`` ask a future for. Only its completion does not go through the event loop.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_context",
        "_convert",
        "_loop",
        "_more",
        "_outcome",
        "_state",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, convert: Callable[[Any], Any] | None = None) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._convert = convert
        self._state = _PENDING
        self._outcome: Any = None
        self._callback: _Callback | None = None
        self._context: Context | None = None
        self._more: list[tuple[_Callback, Context]] | None = None
        """Callbacks after the first; there is hardly ever one."""

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            if self._state == _PENDING:
                self._asyncio_future_blocking = True
                yield self
            if self._state == _DONE:
                return self._outcome
            return self.result()
        finally:
            del self  # which an error that is raised here would keep alive, and it the error

    __iter__ = __await__

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def done(self) -> bool:
        return self._state != _PENDING

    def cancelled(self) -> bool:
        return self._state == _CANCELLED

    def result(self) -> Any:
        if self._state == _DONE:
            return self._outcome
        error = self.exception()
        try:
            if error is not None:
                raise error
        finally:
            del self, error

    def exception(self) -> BaseException | None:
        if self._state == _PENDING:
            raise InvalidStateError("the call is still under way")
        if self._state == _CANCELLED:
            raise self._make_cancelled_error()
        return self._outcome if self._state == _FAILED else None

    def add_done_callback(self, fn: _Callback, /, *, context: Context | None = None) -> None:
        if context is None:
            context = copy_context()
        if self._state != _PENDING:
            self._loop.call_soon(fn, self, context=context)
        elif self._callback is None:
            self._callback, self._context = fn, context
        else:
            self._more = [*(self._more or ()), (fn, context)]

    def remove_done_callback(self, fn: _Callback, /) -> int:
        callbacks = self._take_callbacks()
        kept = [(callback, context) for callback, context in callbacks if callback != fn]
        if kept:
            (self._callback, self._context), *more = kept
            self._more = more or None
        return len(callbacks) - len(kept)

    def cancel(self, msg: Any | None = None) -> bool:
        if self._state != _PENDING:
            return False
        self._state, self._outcome = _CANCELLED, msg
        for fn, context in self._take_callbacks():
            self._loop.call_soon(fn, self, context=context)
        return True

    def _complete(self, state: int, outcome: Any) -> list[tuple[_Callback, Context]]:
        """Sets what the call came to; returns who is to be told."""
        self._state, self._outcome = state, outcome
        return self._take_callbacks()

    def _take_callbacks(self) -> list[tuple[_Callback, Context]]:
        if self._callback is None:
            return []
        assert self._context is not None
        callbacks = [(self._callback, self._context), *(self._more or ())]
        self._callback = self._context = self._more = None
        return callbacks

    # -- what asyncio.gather asks for that is cancelled in its hands

    @property
    def _cancel_message(self) -> Any:
        return self._outcome if self._state == _CANCELLED else None

    def _make_cancelled_error(self) -> CancelledError:
        return CancelledError() if self._outcome is None else CancelledError(self._outcome)


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
        """Whether the engine calls in the way that lets whoever goes on be suspended."""
        self._ids = count()
        self._pending: dict[int, CallFuture] = {}
        self._ready: deque[tuple[CallFuture, _Callback, Context]] = deque()
        """Who can go on."""
        self._js_buffers: dict[int, Any] = {}
        self._collecting = False
        """Whether several are being told what their calls came to, who may all make another."""
        self._collected: _Collected | None = None

    def connect(self, js_engine: Any) -> None:
        from pyodide.ffi import create_proxy

        self._js_engine = js_engine  # an id is given again when its object is gone
        self.js_dispatcher = js_engine.Dispatcher.new(create_proxy(self.on_completions))
        self._can_suspend = self.js_dispatcher.canSuspend

    def begin(self, convert: Callable[[Any], Any] | None = None) -> tuple[int, CallFuture]:
        """A call that is about to be made: its id, and what it comes to, which ``convert`` makes Python's."""
        if self._collected is not None:
            self._cross()
        call_id = next(self._ids)
        future = self._pending[call_id] = CallFuture(asyncio.get_running_loop(), convert)
        return call_id, future

    def collect(self, cross: Cross, part: bytes, convert: Callable[[Any], Any]) -> CallFuture | None:
        """As ``begin``, for a call that ``cross`` makes together with others, before any other call is made.

        None where it is to be made by itself.
        """
        if not self._collecting or len(part) > _LARGEST_COLLECTED:
            return None
        collected = self._collected
        if collected is not None and (collected.cross != cross or len(collected.parts) == _MOST_COLLECTED):
            self._cross()
            collected = None
        call_id = next(self._ids)
        if collected is None:
            collected = self._collected = _Collected(cross, call_id, [])
        collected.parts.append(part)
        future = self._pending[call_id] = CallFuture(asyncio.get_running_loop(), convert)
        return future

    def _cross(self) -> None:
        """Makes the calls that were collected."""
        collected, self._collected = self._collected, None
        if collected is None:
            return
        try:
            collected.cross(collected.first_id, collected.parts)
        except Exception as error:  # theirs, and not of whoever is calling
            for i in range(len(collected.parts)):
                self._end(collected.first_id + i, _FAILED, error)
            if self._ready:
                _soon(self._ready[-1][0]._loop, self._go_on)

    def forget(self, call_id: int) -> bool:
        """What is told of this call from now on is not heard; False if it has been."""
        return self._pending.pop(call_id, None) is not None

    def follow(self, js_promise: Any) -> CallFuture:
        """What a promise of the engine comes to."""
        call_id, future = self.begin()
        self.js_dispatcher.follow(call_id, js_promise)
        return future

    def run(self, js_function: Any, *js_args: Any) -> CallFuture:
        """What a function of the engine promises. If it were called from here, its promise would be one of Python's."""
        call_id, future = self.begin()
        self.js_dispatcher.run(call_id, js_function, *js_args)
        return future

    def js_bytes(self, data: bytes) -> Any:
        """Bytes to be given to the next call, and to nothing else: a small buffer is used again."""
        from pyodide.ffi import to_js

        self._cross()  # which may use the same buffer
        size = len(data)
        if not 0 < size <= _LARGEST_BUFFER:
            return to_js(data)
        js_buffer = self._js_buffers.get(size)
        if js_buffer is None:
            if len(self._js_buffers) == _BUFFERS:
                del self._js_buffers[next(iter(self._js_buffers))]
            js_buffer = self._js_buffers[size] = self.js_dispatcher.buffer(size)
        js_buffer.assign(data)
        return js_buffer

    def on_completions(self, *completions: Any) -> bool:
        """For the engine: what calls came to; see ``OnCompletions`` there."""
        suspendable = self._can_suspend and suspension_is_wanted()
        if suspendable is not self._suspendable:
            self.js_dispatcher.suspendable = self._suspendable = suspendable
            if suspendable:
                return True
        self._complete(completions)
        if len(self._ready) > 1:
            if can_run_sync():
                # one that is suspended before it ends must not keep the others
                _soon(self._ready[-1][0]._loop, self._go_on)
            else:
                self._collecting = True
        try:
            self._go_on()
        finally:
            self._collecting = False
            self._cross()
        return False

    def _complete(self, completions: tuple[Any, ...]) -> None:
        # a frame of its own, which is gone when anybody goes on: in theirs, an error would keep itself alive
        at, end = 0, len(completions)
        while at < end:
            call_id, js_error, length = completions[at : at + 3]
            at += 3
            if length == _EACH:
                data, items = completions[at].to_bytes(), completions[at + 1].to_py()
                at += 2
                size = len(data) // len(items)
                for i, item in enumerate(items):
                    self._end(call_id + i, _DONE, (data[i * size : (i + 1) * size], item))
                continue
            if length < 0:
                value = completions[at]
                at += 1
            else:
                value = completions[at : at + length]
                at += length
            if js_error is not None:
                self._end(call_id, _FAILED, error_of(js_error))
            else:
                self._end(call_id, _DONE, value.to_py() if length == _LONG else value)

    def _end(self, call_id: int, state: int, value: Any) -> None:
        future = self._pending.pop(call_id, None)
        if future is None or future._state != _PENDING:
            return  # it was forgotten, or cancelled
        try:
            if state == _DONE and future._convert is not None:
                value = future._convert(value)
        except Exception as error:
            state, value = _FAILED, error
        self._ready.extend((future, fn, context) for fn, context in future._complete(state, value))

    def _go_on(self) -> None:
        while self._ready:
            future, fn, context = self._ready.popleft()
            loop = future._loop
            if asyncio._get_running_loop() is not loop or asyncio.current_task(loop) is not None:
                _soon(loop, fn, future, context=context)
                continue
            try:
                context.run(fn, future)
            except BaseException as error:
                # an end of the whole program; the loop knows what to do
                _soon(loop, _raise, error)
            finally:
                del future, fn, context  # which the traceback of an error would keep


_of_engines: dict[int, Completions] = {}
"""By the ids of their JavaScript modules; there is more than one engine in tests only."""


def completions_of(js_engine: Any) -> Completions:
    completions = _of_engines.get(js_engine.js_id)
    if completions is None:
        completions = _of_engines[js_engine.js_id] = Completions()
        completions.connect(js_engine)
    return completions


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *given: Any, context: Any = None) -> None:
    with suppress(RuntimeError):  # the loop is closed, and nobody waits there any more
        loop.call_soon(callback, *given, context=context)


def _raise(error: BaseException) -> None:
    raise error
