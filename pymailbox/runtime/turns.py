"""How long calls may keep an event loop to themselves.

A coroutine that never suspends keeps everything else from running: timers, other tasks, the page. So verbs that wait
for nothing give the event loop a turn every few milliseconds.

In a browser such a turn is a message that the page posts to itself. While messages keep coming, Chromium delays timers
and rendering by tens of milliseconds and more, so now and then a turn lasts until a browser timer has fired.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Final

from ..contract.location import IN_PYODIDE

TURN: Final = 0.005
"""Seconds that calls may run without suspending before their event loop gets a turn."""


PAUSE_INTERVAL: Final = 0.075
"""In a browser, seconds after which the next turn lasts until a timer has fired, which costs some 5 milliseconds."""

PAUSE: Final = 0.003
"""Seconds until that timer fires. Pyodide uses a message instead of a timer for 2 milliseconds or less."""


class _Thread(threading.local):
    """What a thread knows about its event loop; a thread runs one at a time."""

    next_turn = 0.0
    next_pause = 0.0


_thread = _Thread()


def turn_is_due() -> bool:
    """Whether the event loop of this thread is due for a turn."""
    return time.monotonic() >= _thread.next_turn


def begin_turn() -> None:
    """The event loop of this thread has just had its turn."""
    _thread.next_turn = time.monotonic() + TURN


async def take_turn() -> None:
    """Gives the event loop of this thread a turn."""
    now = time.monotonic()
    _thread.next_turn = now + TURN  # so that calls made meanwhile take none
    if IN_PYODIDE and now >= _thread.next_pause and not _is_hidden():
        _thread.next_pause = now + PAUSE + PAUSE_INTERVAL
        await asyncio.sleep(PAUSE)
    else:
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # for tasks that the first round has woken, as a timer does
    begin_turn()


def _is_hidden() -> bool:
    """Whether this is a hidden page: its timers fire once a second, and it need not be drawn."""
    import js

    return bool(getattr(getattr(js, "document", None), "hidden", False))


async def take_turn_if_due() -> None:
    """Both, for callers to whom a microsecond does not matter."""
    if turn_is_due():
        await take_turn()
