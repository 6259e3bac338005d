"""How long calls may keep an event loop to themselves.

A coroutine that never suspends keeps everything else from running: timers, other tasks, a page. Where verbs are done
without waiting for anything, they let the event loop have its turn every few milliseconds.

In a browser such a turn is a message that the page posts to itself. Chromium lets timers and rendering wait for tens of
milliseconds and more while messages keep coming, so now and then a turn lasts until a timer of the browser has fired.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Final

from ._location import IN_PYODIDE

TURN: Final = 0.005
"""Seconds in which calls may run without suspending; then their event loop has its turn."""


PAUSE_INTERVAL: Final = 0.075
"""Seconds after which the next turn, in a browser, lasts until a timer has fired, which costs some 5 milliseconds."""

PAUSE: Final = 0.003
"""Seconds until that timer fires. Pyodide makes a message of what takes 2 milliseconds or less."""


class _Thread(threading.local):
    """What a thread knows of its event loop; it runs one at a time."""

    next_turn = 0.0
    next_pause = 0.0


_thread = _Thread()


def turn_is_due() -> bool:
    """Whether the event loop of this thread is to have its turn."""
    return time.monotonic() >= _thread.next_turn


async def take_turn() -> None:
    """Lets the event loop of this thread have its turn."""
    now = time.monotonic()
    _thread.next_turn = now + TURN  # who calls meanwhile need not
    if IN_PYODIDE and now >= _thread.next_pause and not _is_hidden():
        _thread.next_pause = now + PAUSE + PAUSE_INTERVAL
        await asyncio.sleep(PAUSE)
    else:
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # for those whom the first round has woken: a timer wakes a task
    _thread.next_turn = time.monotonic() + TURN


def _is_hidden() -> bool:
    """Whether this is a page that is not seen: the browser lets its timers fire once a second, and need not draw it."""
    import js

    return bool(getattr(getattr(js, "document", None), "hidden", False))


async def take_turn_if_due() -> None:
    """Both, where nothing counts on every microsecond."""
    if turn_is_due():
        await take_turn()
