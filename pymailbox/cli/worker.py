"""The command that runs a handler for every message, until a signal stops it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import queue
import signal
import sys
import threading
import traceback
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from ..actors import Context
from ..actors.handlers import is_async, to_call
from ..contract.mailbox import Mailbox
from ..contract.values import MessageRecord
from ..sync.consuming import HandlerThreads, end_of
from ..sync.loop import Caller
from ..sync.mailbox import SyncMailbox
from .errors import OK, PROBLEM, SIGNALLED, UsageError
from .locations import location_of, opening
from .streams import warn
from .text import counted, one_line

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_LATE: Final = 2.0
"""Seconds that handlers which were cut off, and the mailbox, have to finish."""

_Call = Callable[[MessageRecord, Context], Awaitable[object]]


async def work(arguments: Namespace) -> int:
    location = location_of(arguments.location, arguments.mailbox)
    handler = load_handler(arguments.handler)
    _check_timeout(arguments.timeout, arguments.handler, handler)
    # unless the module has set it up: else nobody hears of a handler that fails
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    async with await opening(location, make=True, max_deliveries=arguments.max_deliveries) as mailbox:
        running = _Running(_awaitable(handler, mailbox, arguments.concurrency))
        consumer = mailbox.consume(
            running,
            concurrency=arguments.concurrency,
            ordered_by_sender=arguments.ordered_by_sender,
            timeout=arguments.timeout,
        )
        ending = asyncio.ensure_future(end_of(consumer))
        stop = _Stop(ending, consumer.stop, running, arguments.grace)
        with stop.on_signals():
            name = getattr(mailbox, "name", location.name)
            warn(f"{one_line(arguments.handler)} works on {location.named(str(name))}. Ctrl-C stops it")
            await asyncio.wait([ending])
            if not ending.cancelled() and (error := ending.result()) is not None:
                raise error
    return stop.exit_code


def _check_timeout(timeout: float | None, name: str, handler: Any) -> None:
    if timeout is None:
        return
    if not timeout:
        raise UsageError("--timeout must be more than 0 seconds")
    if not is_async(handler):
        raise UsageError(f"--timeout is for async handlers: {name} is a function that no timeout can end")


class _Running:
    """A handler, and how many calls of it are under way."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self.count = 0

    async def __call__(self, message: MessageRecord, context: Context) -> None:
        self.count += 1
        try:
            await self._call(message, context)
        finally:
            self.count -= 1


class _Stop:
    """What signals ask for. The first one stops cleanly, for a while; then, and with the second one, all is cut off.

    A handler that blocks the event loop can be neither finished nor cut off: then the process exits at once,
    and what it held comes back as after a crash.
    """

    def __init__(self, ending: asyncio.Task[Any], stop: Callable[[], None], running: _Running, grace: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = ending
        self._stop = stop
        self._running = running
        self._grace = grace
        self._signals = 0
        self._heard: queue.SimpleQueue[int] = queue.SimpleQueue()
        """Each signal, and 0 at the end; for the thread that watches."""
        self.exit_code = OK

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Receives signals, however this process was told to treat them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        threading.Thread(target=self._watch, name="pymailbox grace", daemon=True).start()
        before = [signal.getsignal(number) for number in _SIGNALS]
        for number in _SIGNALS:
            with suppress(NotImplementedError):  # on Windows
                # only for its wake-up: one that comes just before the loop begins to wait must not be slept through
                self._loop.add_signal_handler(number, _nothing)
            signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            self._heard.put(0)
            for number, handler in zip(_SIGNALS, before, strict=True):
                with suppress(NotImplementedError):
                    self._loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signals += 1
        self._heard.put(number)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._begin if self._signals == 1 else self._cut_off, number)

    def _begin(self, number: int) -> None:
        self._stop()
        if self._running.count:
            some = "handler that runs has" if self._running.count == 1 else "handlers that run have"
            count = "the" if self._running.count == 1 else f"the {self._running.count:,}"
            warn(f"stopping: {count} {some} {self._grace:g} s to finish; another signal ends it at once")
        self._loop.call_later(self._grace, self._cut_off, None)

    def _cut_off(self, number: int | None) -> None:
        if self._ending.done():
            return
        if self._running.count:
            when = "" if number is not None else f" within {self._grace:g} s"
            warn(f"{counted(self._running.count, 'handler')} did not finish{when}; the messages went back")
            self.exit_code = PROBLEM
        if number is not None:
            self.exit_code = SIGNALLED + number
        self._ending.cancel()

    def _watch(self) -> None:
        """In a thread: exits if the event loop does not."""
        number = self._heard.get()
        wait, code = self._grace + _LATE, PROBLEM
        while number:
            try:
                number = self._heard.get(timeout=wait)
                wait, code = _LATE, SIGNALLED + number
            except queue.Empty:
                warn("a handler blocks the event loop: ending without it; its messages come back as after a crash")
                os._exit(code)


def _nothing() -> None: ...


def _awaitable(handler: Any, mailbox: Mailbox, concurrency: int) -> _Call:
    """The handler as one that is awaited; a synchronous one runs in threads, where it may block."""
    if is_async(handler):
        return to_call(handler)
    threads = HandlerThreads()
    caller = Caller(asyncio.get_running_loop())
    call = threads.handler(handler, SyncMailbox(caller, mailbox, None), caller, awaits=True)
    threads.start(concurrency)
    return call


def load_handler(text: str) -> Any:
    """What ``MODULE:HANDLER`` names; modules in the current folder are found, as with ``python -m``.

    Raises:
        UsageError: there is no such module, it cannot be imported, or what is named there is no handler.
    """
    module_name, _, path = text.partition(":")
    if not (path and all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")])):
        hint = ". Leave '.py' out" if module_name.endswith(".py") else ""
        raise UsageError(f"MODULE:HANDLER must look like tasks:handle, not {text!r}{hint}")
    if not sys.flags.safe_path and str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(
                f"MODULE:HANDLER {text}: there is no module {error.name} in {Path.cwd()}, nor among those installed"
            ) from error
        traceback.print_exception(error)
        raise UsageError(
            f"MODULE:HANDLER {text}: {module_name} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            close = get_close_matches(part, dir(found), 1)
            meant = f". Did you mean {close[0]}?" if close else ""
            raise UsageError(f"MODULE:HANDLER {text}: {module_name} has no {path}{meant}") from error
    try:
        to_call(found)
    except TypeError as error:
        raise UsageError(f"MODULE:HANDLER {text}: {error}") from error
    return found
