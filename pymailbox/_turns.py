"""How long calls may keep an event loop to themselves.

A coroutine that never suspends keeps everything else from running: timers, other tasks, a page. Where verbs are done
without waiting for anything, they let the event loop have its turn every few milliseconds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Final

TURN: Final = 0.005
"""Seconds in which calls may run without suspending; then their event loop has its turn."""


class _Thread(threading.local):
    """What a thread knows of its event loop; it runs one at a time."""

    next_turn = 0.0


_thread = _Thread()


def turn_is_due() -> bool:
    """Whether the event loop of this thread is to have its turn."""
    return time.monotonic() >= _thread.next_turn


async def take_turn() -> None:
    """Lets the event loop of this thread have its turn."""
    _thread.next_turn = time.monotonic() + TURN  # who calls meanwhile need not
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # for those whom the first round has woken: a timer wakes a task
    _thread.next_turn = time.monotonic() + TURN


async def take_turn_if_due() -> None:
    """Both, where nothing counts on every microsecond."""
    if turn_is_due():
        await take_turn()
