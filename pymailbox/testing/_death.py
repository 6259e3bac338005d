"""How handles end without being closed: with their process, or when nothing refers to them any more."""

from __future__ import annotations

import asyncio
import gc
import warnings
import weakref
from typing import Any

from ..contract.mailbox import Mailbox
from ._expect import eventually

_TICKS = 3
"""Turns of the event loop after which it has forgotten calls that have ended."""


def let_die(handles: list[Mailbox]) -> None:
    """Lets handles die as if their process had ended, and empties the list. Other references then have a closed
    handle."""
    while handles:
        handles.pop()._die()


async def let_be_collected(handles: list[Mailbox]) -> None:
    """Empties the list, which must have the last references to the handles, so that they are collected without a
    ``close``.

    A backend's own thread may refer to them a moment longer.

    Raises:
        AssertionError: something else refers to a handle, or one went without a ``ResourceWarning``.
    """
    for _ in range(_TICKS):
        await asyncio.sleep(0)
    watched = [weakref.ref(handle) for handle in handles]
    categories: list[type[Warning]] = []

    def note(message: object, category: type[Warning], *rest: Any, **keywords: Any) -> None:
        # not the warning itself: it refers to its handle and would keep it alive
        categories.append(category)

    async def alive() -> list[str]:
        if any(reference() is not None for reference in watched):
            gc.collect()
        return [repr(handle) for reference in watched if (handle := reference()) is not None]

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        handles.clear()
        await eventually(alive, [], "handles that something still refers to, so that they cannot be collected")
    warned = sum(issubclass(category, ResourceWarning) for category in categories)
    if warned < len(watched):
        raise AssertionError(f"{len(watched)} handles were collected unclosed, with {warned} ResourceWarnings")
