"""Whether a consumer should stop, and pauses that end when it should."""

from __future__ import annotations

import asyncio

_LONGEST_PAUSE = 86400.0
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
        """Waits that many seconds, or until a stop is asked for; at most a day."""
        try:
            async with asyncio.timeout(min(seconds, _LONGEST_PAUSE)):
                await self._asked.wait()
        except TimeoutError:
            pass
