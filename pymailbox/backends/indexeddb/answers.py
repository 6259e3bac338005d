"""How a task waits for what the engine answers; ``js/answers.js`` is the other end.

Whoever waits goes on within the call in which the engine tells of the answers, and not a turn of the event loop later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from itertools import count
from typing import Any

from .engine import error_of


class Answer(asyncio.Future[Any]):
    """What a call is answered, or its error."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._waiters: list[tuple[_Callback, Context]] = []

    def add_done_callback(self, fn: _Callback, /, *, context: Context | None = None) -> None:
        if self.done():
            super().add_done_callback(fn, context=context)
        else:
            self._waiters.append((fn, copy_context() if context is None else context))

    def remove_done_callback(self, fn: _Callback, /) -> int:
        before = len(self._waiters)
        self._waiters = [waiter for waiter in self._waiters if waiter[0] != fn]
        return before - len(self._waiters) + super().remove_done_callback(fn)

    def cancel(self, msg: Any | None = None) -> bool:
        if not super().cancel(msg):
            return False
        for fn, context in self._waiters:
            super().add_done_callback(fn, context=context)
        self._waiters.clear()
        return True


_Callback = Callable[[Answer], object]

_tickets = count()
_unanswered: dict[int, Answer] = {}
_going_on: deque[tuple[Answer, _Callback, Context]] = deque()
"""Who can go on."""


def unanswered() -> tuple[int, Answer]:
    """An answer to come, and its ticket."""
    ticket = next(_tickets)
    answer = _unanswered[ticket] = Answer(asyncio.get_running_loop())
    return ticket, answer


def forget(ticket: int) -> bool:
    """What is told of this ticket from now on is not heard; False if it has been."""
    return _unanswered.pop(ticket, None) is not None


def hear(*told: Any) -> None:
    """For the engine: of each call that was answered its ticket, its error, and its answer, which may be a pair."""
    for ticket, js_error, first, second in zip(*[iter(told)] * 4, strict=True):
        answer = _unanswered.pop(ticket, None)
        if answer is None or answer.done():
            continue  # it was forgotten, or cancelled
        if js_error is None:
            answer.set_result((first, second))
        else:
            answer.set_exception(error_of(js_error))
        _going_on.extend((answer, fn, context) for fn, context in answer._waiters)
    if len(_going_on) > 1:
        # one that is suspended (by run_sync) before it ends must not keep the others
        _soon(_going_on[-1][0].get_loop(), _go_on)
    _go_on()


def _go_on() -> None:
    while _going_on:
        answer, fn, context = _going_on.popleft()
        loop = answer.get_loop()
        if asyncio._get_running_loop() is not loop or asyncio.current_task(loop) is not None:
            _soon(loop, fn, answer, context=context)
            continue
        try:
            context.run(fn, answer)
        except BaseException as error:
            # an end of the whole program; the loop knows what to do
            _soon(loop, _raise, error)


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *given: Any, context: Any = None) -> None:
    with suppress(RuntimeError):  # the loop is closed, and nobody waits there any more
        loop.call_soon(callback, *given, context=context)


def _raise(error: BaseException) -> None:
    raise error
