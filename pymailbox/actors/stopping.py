"""Whether a consumer should stop, and pauses that end when it should."""

from __future__ import annotations

import asyncio

LONGEST_TIMER = 86400.0
"""Seconds. A browser's timer of 25 days or more goes off at once."""


class Stop:
    """A stop, which is asked for once and for good."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        self._asked.set()

    async def pause(self, seconds: float) -> None:
        """Waits that many seconds, or until a stop is asked for; others have their turn at least."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            # not ``asyncio.timeout``, which sets its timer to a time: Pyodide's loop refuses one that has just passed
            while not asked.done():
                await asyncio.wait([asked], timeout=max(0.0, min(seconds, LONGEST_TIMER)))
                if (seconds := deadline - loop.time()) <= 0:
                    return
        finally:
            asked.cancel()
