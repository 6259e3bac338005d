"""Whether what runs should stop: because it was asked to, or was cancelled; and waiting that ends when it should."""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

LONGEST_TIMER = 86400.0
"""Seconds. A browser's timer of 25 days or more goes off at once."""

_STILL: Final = 3
"""After this many turns of the event loop without a cancellation, the next one counts as a new one."""


class Running(Coroutine[Any, Any, None]):
    """Something that runs until it is stopped: await it, or make it a task."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._coroutine = work

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        return self._coroutine.throw(typ if val is None else val)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()


class Interruptions:
    """Cancellations of a task, each of which counts once: a cancelled scope (anyio) delivers its own in every turn of
    the event loop, until it is left.
    """

    def __init__(self) -> None:
        self._turns_to_stillness = 0
        """Until then, a cancellation is the previous one, delivered again."""

    def is_new(self) -> bool:
        """Takes note of a cancellation; whether it is another one."""
        repeated, self._turns_to_stillness = self._turns_to_stillness > 0, _STILL
        if not repeated:
            asyncio.get_running_loop().call_soon(self._turn)
        return not repeated

    def _turn(self) -> None:
        self._turns_to_stillness -= 1
        if self._turns_to_stillness > 0:
            asyncio.get_running_loop().call_soon(self._turn)


class Stop:
    """A stop, which is asked for once and for good."""

    def __init__(self) -> None:
        self.asked = False
        self._told: asyncio.Future[None] | None = None
        """Done when it is asked for; whoever waits for that shares it."""
        self._hurried = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """What is to be stopped begins, in this event loop."""
        self._loop = asyncio.get_running_loop()

    def reach(self, work: Callable[[], None]) -> None:
        """Asks for a stop, and does what that takes, which is quick: here, or, if this is another thread, in the event
        loop; there a handler that blocks it may be waiting for nothing else.

        The loop is woken either way: a signal handler of Python's (``signal.signal``) runs while it sleeps.
        """
        self.asked = True
        loop = self._loop
        if loop is not None and loop.is_closed():
            return  # nothing is left that could end
        if loop is None or not loop.is_running():
            work()
            return
        here = _get_running_loop() is loop
        if here:
            work()
        with suppress(RuntimeError):  # it has just been closed
            loop.call_soon_threadsafe(_nothing if here else work)

    def ask(self) -> None:
        self.asked = True
        if self._told is not None and not self._told.done():
            self._told.set_result(None)

    def _until_asked(self) -> asyncio.Future[None]:
        if self._told is None:
            self._told = asyncio.get_running_loop().create_future()
            if self.asked:
                self._told.set_result(None)
        return self._told

    def hurry(self) -> None:
        """Ends the pauses that there are."""
        self._hurried.set()
        self._hurried.clear()

    async def pause(self, seconds: float) -> None:
        """Waits that many seconds, or until a stop is asked for or ``hurry`` called; others have a turn at least."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        hurried = asyncio.ensure_future(self._hurried.wait())
        over: list[asyncio.Future[Any]] = [self._until_asked(), hurried]
        try:
            # not ``asyncio.timeout``, which sets its timer to a time: Pyodide's loop refuses one that has just passed
            while True:
                left = max(0.0, min(seconds, LONGEST_TIMER))
                await asyncio.wait(over, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if (seconds := deadline - loop.time()) <= 0 or any(one.done() for one in over):
                    return
        finally:
            hurried.cancel()

    async def first(self, work: asyncio.Future[Any], seconds: float | None = None) -> None:
        """Waits until that is done, or until a stop is asked for, or for that many seconds."""
        if not work.done():
            await asyncio.wait([work, self._until_asked()], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _nothing() -> None: ...
